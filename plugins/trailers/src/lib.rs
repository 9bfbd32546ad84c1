//! Logs the trailers of requests and responses, and removes, sets and adds some.

mod settings;

use std::rc::Rc;

use proxy_wasm::hostcalls;
use proxy_wasm::traits::*;
use proxy_wasm::types::*;

type Pairs = Vec<(String, Vec<u8>)>;

fn log(level: LogLevel, line: &str) {
    // A line that could not be written is no reason to fail a request.
    hostcalls::log(level, line).unwrap_or(());
}

#[derive(Default)]
struct Changes {
    remove: Vec<String>,
    set: Pairs,
    add: Pairs,
    /// Trailers for a message that came with none.
    create: Pairs,
}

#[derive(Default)]
struct Config {
    request: Changes,
    response: Changes,
}

fn changes(all: &settings::Settings, name: &str) -> Result<Changes, String> {
    let Some(value) = all.get(name) else {
        return Ok(Changes::default());
    };
    let all = settings::members(name, value, &["remove", "set", "add", "create"])?;
    let changes = Changes {
        remove: settings::texts(all, "remove")?,
        set: settings::pairs(all, "set")?,
        add: settings::pairs(all, "add")?,
        create: settings::pairs(all, "create")?,
    };
    for name in &changes.remove {
        settings::check_header(name, b"")?;
    }
    for (name, value) in changes.set.iter().chain(&changes.add).chain(&changes.create) {
        settings::check_header(name, value)?;
    }
    Ok(changes)
}

fn read(bytes: &[u8]) -> Result<Config, String> {
    let all = settings::object(bytes, &["request", "response"])?;
    Ok(Config { request: changes(&all, "request")?, response: changes(&all, "response")? })
}

fn change(map: MapType, which: &str, changes: &Changes) -> Result<(), Status> {
    for (name, value) in hostcalls::get_map_bytes(map)? {
        log(LogLevel::Info, &format!("{which} trailer {name}: {}", value.escape_ascii()));
    }
    for name in &changes.remove {
        hostcalls::remove_map_value(map, name)?;
    }
    for (name, value) in &changes.set {
        hostcalls::set_map_value_bytes(map, name, Some(value))?;
    }
    for (name, value) in &changes.add {
        hostcalls::add_map_value_bytes(map, name, value)?;
    }
    Ok(())
}

fn create(map: MapType, pairs: &Pairs) -> Result<(), Status> {
    for (name, value) in pairs {
        hostcalls::add_map_value_bytes(map, name, value)?;
    }
    Ok(())
}

fn report(result: Result<(), Status>) -> Action {
    if let Err(status) = result {
        log(LogLevel::Error, &format!("the trailers were not changed: {status:?}"));
    }
    Action::Continue
}

#[derive(Default)]
struct Root {
    config: Rc<Config>,
}

struct Stream {
    config: Rc<Config>,
}

impl Context for Root {}
impl Context for Stream {}

impl RootContext for Root {
    fn on_configure(&mut self, _configuration_size: usize) -> bool {
        match read(&self.get_plugin_configuration().unwrap_or_default()) {
            Ok(config) => {
                self.config = Rc::new(config);
                true
            }
            Err(refusal) => {
                log(LogLevel::Error, &refusal);
                false
            }
        }
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }

    fn create_http_context(&self, _context_id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Stream { config: Rc::clone(&self.config) }))
    }
}

impl HttpContext for Stream {
    fn on_http_request_body(&mut self, _size: usize, end_of_stream: bool) -> Action {
        // The end of a body is the end of the message: it has no trailers, but may yet get some.
        if end_of_stream {
            return report(create(MapType::HttpRequestTrailers, &self.config.request.create));
        }
        Action::Continue
    }

    fn on_http_request_trailers(&mut self, _trailers: usize) -> Action {
        report(change(MapType::HttpRequestTrailers, "request", &self.config.request))
    }

    fn on_http_response_body(&mut self, _size: usize, end_of_stream: bool) -> Action {
        if end_of_stream {
            return report(create(MapType::HttpResponseTrailers, &self.config.response.create));
        }
        Action::Continue
    }

    fn on_http_response_trailers(&mut self, _trailers: usize) -> Action {
        report(change(MapType::HttpResponseTrailers, "response", &self.config.response))
    }
}

#[unsafe(no_mangle)]
pub extern "C" fn _initialize() {
    proxy_wasm::set_log_level(LogLevel::Info);
    proxy_wasm::set_root_context(|_| Box::new(Root::default()));
}
