//! The article's filter, with what its listing leaves out left out: the root context names no
//! context type and makes no HTTP context, so the first request panics; and headers are read
//! as `String`, so a byte that is not UTF-8 would panic, too. `header-logger` is the repair.

use proxy_wasm::hostcalls;
use proxy_wasm::traits::*;
use proxy_wasm::types::*;

struct HeaderLogger;

impl Context for HeaderLogger {}

impl HttpContext for HeaderLogger {
    fn on_http_request_headers(&mut self, _headers: usize, _end_of_stream: bool) -> Action {
        if let Some(agent) = self.get_http_request_header("user-agent") {
            hostcalls::log(LogLevel::Info, &format!("User-Agent: {agent}")).unwrap_or(());
        }
        Action::Continue
    }
}

impl RootContext for HeaderLogger {
    fn on_configure(&mut self, _configuration_size: usize) -> bool {
        hostcalls::log(LogLevel::Info, "HeaderLogger configured").unwrap_or(());
        true
    }
}

#[unsafe(no_mangle)]
pub fn _start() {
    proxy_wasm::set_root_context(|_| Box::new(HeaderLogger));
}
