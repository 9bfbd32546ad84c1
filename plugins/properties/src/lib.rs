//! Logs properties: what the host knows about the request, the connection, the node and the
//! plugin. Sets one of its own and reads it back.

mod config;
mod settings;

use std::rc::Rc;

use config::Config;
use proxy_wasm::hostcalls;
use proxy_wasm::traits::*;
use proxy_wasm::types::*;

fn log(level: LogLevel, line: &str) {
    // A line that could not be written is no reason to fail a request.
    hostcalls::log(level, line).unwrap_or(());
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
        match config::read(&self.get_plugin_configuration().unwrap_or_default()) {
            Ok(config) => {
                config.show("on_configure");
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

impl Config {
    /// Logs all properties if `callback` is one of those where that is wanted.
    fn show(&self, callback: &str) {
        if !self.at.iter().any(|at| at == callback) {
            return;
        }
        for wanted in &self.read {
            let path = wanted.path.iter().map(String::as_str).collect();
            let line = match hostcalls::get_property(path) {
                Ok(Some(bytes)) => format!("{} = {}", wanted.shown(), wanted.kind.render(&bytes)),
                Ok(None) => format!("{} is absent or empty", wanted.shown()),
                Err(status) => format!("{} cannot be had: {status:?}", wanted.shown()),
            };
            log(LogLevel::Info, &line);
        }
    }
}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _headers: usize, _end_of_stream: bool) -> Action {
        for (path, value) in &self.config.set {
            let path: Vec<&str> = path.split('.').collect();
            self.set_property(path, Some(value));
        }
        self.config.show("request_headers");
        Action::Continue
    }

    fn on_http_response_headers(&mut self, _headers: usize, _end_of_stream: bool) -> Action {
        self.config.show("response_headers");
        Action::Continue
    }

    fn on_log(&mut self) {
        self.config.show("on_log");
    }
}

#[unsafe(no_mangle)]
pub extern "C" fn _initialize() {
    proxy_wasm::set_log_level(LogLevel::Info);
    proxy_wasm::set_root_context(|_| Box::new(Root::default()));
}
