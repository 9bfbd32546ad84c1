//! Removes, sets and adds response headers, in that order, as pluginConfig says.

mod settings;

use std::rc::Rc;

use proxy_wasm::hostcalls;
use proxy_wasm::traits::*;
use proxy_wasm::types::*;

type Pairs = Vec<(String, Vec<u8>)>;

#[derive(Default)]
struct Changes {
    remove: Vec<String>,
    set: Pairs,
    add: Pairs,
}

fn read(bytes: &[u8]) -> Result<Changes, String> {
    let all = settings::object(bytes, &["remove", "set", "add"])?;
    let changes = Changes {
        remove: settings::texts(&all, "remove")?,
        set: settings::pairs(&all, "set")?,
        add: settings::pairs(&all, "add")?,
    };
    for name in &changes.remove {
        settings::check_header(name, b"")?;
    }
    for (name, value) in changes.set.iter().chain(&changes.add) {
        settings::check_header(name, value)?;
    }
    Ok(changes)
}

#[derive(Default)]
struct Root {
    changes: Rc<Changes>,
}

struct Stream {
    changes: Rc<Changes>,
}

impl Context for Root {}
impl Context for Stream {}

impl RootContext for Root {
    fn on_configure(&mut self, _configuration_size: usize) -> bool {
        match read(&self.get_plugin_configuration().unwrap_or_default()) {
            Ok(changes) => {
                self.changes = Rc::new(changes);
                true
            }
            Err(refusal) => {
                hostcalls::log(LogLevel::Error, &refusal).unwrap_or(());
                false
            }
        }
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }

    fn create_http_context(&self, _context_id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Stream { changes: Rc::clone(&self.changes) }))
    }
}

impl HttpContext for Stream {
    fn on_http_response_headers(&mut self, _headers: usize, _end_of_stream: bool) -> Action {
        for name in &self.changes.remove {
            self.remove_http_response_header(name);
        }
        for (name, value) in &self.changes.set {
            self.set_http_response_header_bytes(name, Some(value));
        }
        for (name, value) in &self.changes.add {
            self.add_http_response_header_bytes(name, value);
        }
        Action::Continue
    }
}

#[unsafe(no_mangle)]
pub extern "C" fn _initialize() {
    proxy_wasm::set_log_level(LogLevel::Info);
    proxy_wasm::set_root_context(|_| Box::new(Root::default()));
}
