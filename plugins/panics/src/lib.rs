//! Panics on a request that carries `x-panic: 1`; with the configuration
//! `{"panic_on": "every-request"}` it panics on all of them.

use proxy_wasm::hostcalls;
use proxy_wasm::traits::*;
use proxy_wasm::types::*;
use serde_json::Value;

#[derive(Default)]
struct Root {
    always: bool,
}

struct Stream {
    always: bool,
}

impl Context for Root {}
impl Context for Stream {}

impl RootContext for Root {
    fn on_configure(&mut self, _configuration_size: usize) -> bool {
        let bytes = self.get_plugin_configuration().unwrap_or_default();
        if bytes.is_empty() {
            return true;
        }
        let chosen = serde_json::from_slice::<Value>(&bytes)
            .ok()
            .and_then(|document| Some(document.get("panic_on")?.as_str()?.to_owned()));
        self.always = match chosen.as_deref() {
            Some("every-request") => true,
            Some("header") => false,
            _ => {
                let text = String::from_utf8_lossy(&bytes);
                let complaint =
                    format!("panic_on must be \"header\" or \"every-request\", not {text}");
                hostcalls::log(LogLevel::Error, &complaint).unwrap_or(());
                return false;
            }
        };
        true
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }

    fn create_http_context(&self, _context_id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Stream { always: self.always }))
    }
}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _headers: usize, _end_of_stream: bool) -> Action {
        let asked = self.get_http_request_header_bytes("x-panic");
        if self.always || asked.as_deref() == Some(b"1") {
            panic!("this plugin panics on purpose");
        }
        Action::Continue
    }
}

#[unsafe(no_mangle)]
pub extern "C" fn _initialize() {
    // The level also installs the SDK's panic hook, which logs the message before the trap.
    proxy_wasm::set_log_level(LogLevel::Info);
    proxy_wasm::set_root_context(|_| Box::new(Root::default()));
}
