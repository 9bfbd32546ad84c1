//! The filter itself: what Envoy calls, and what we ask of Envoy.

use proxy_wasm::hostcalls;
use proxy_wasm::traits::*;
use proxy_wasm::types::*;

use crate::config::{self, Level};
use crate::text;

#[link(wasm_import_module = "env")]
unsafe extern "C" {
    // The SDK's own wrapper reads the answer into an enum that ends at Critical (5), but an
    // Envoy whose wasm logger is off answers 6. A plain number holds any answer.
    fn proxy_get_log_level(level: *mut u32) -> u32;
}

/// Whether the host would keep a line of `level`. It is asked each time, because
/// `istioctl proxy-config log` changes the answer while the plugin runs.
fn host_keeps(level: Level) -> bool {
    let mut threshold: u32 = 0;
    // SAFETY: the host writes one u32 to the address of a living u32.
    let status = unsafe { proxy_get_log_level(&mut threshold) };
    // A host that cannot answer may well keep the line: do the work rather than lose it.
    status != 0 || level as u32 >= threshold
}

fn log(level: Level, line: &str) {
    let level = match level {
        Level::Trace => LogLevel::Trace,
        Level::Debug => LogLevel::Debug,
        Level::Info => LogLevel::Info,
        Level::Warn => LogLevel::Warn,
        Level::Error => LogLevel::Error,
        Level::Critical => LogLevel::Critical,
    };
    // A line that could not be written is no reason to fail a request.
    hostcalls::log(level, line).unwrap_or(());
}

struct Root {
    level: Level,
}

impl Context for Root {}

impl RootContext for Root {
    fn on_configure(&mut self, _configuration_size: usize) -> bool {
        let bytes = self.get_plugin_configuration().unwrap_or_default();
        match config::log_level(&bytes) {
            Ok(level) => {
                self.level = level;
                log(Level::Info, "HeaderLogger configured");
                true
            }
            Err(refusal) => {
                log(Level::Error, &refusal);
                false
            }
        }
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }

    fn create_http_context(&self, _context_id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Stream { level: self.level }))
    }
}

struct Stream {
    level: Level,
}

impl Context for Stream {}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _headers: usize, _end_of_stream: bool) -> Action {
        if host_keeps(self.level) {
            // The map, not one value: when a client sends the header twice, Envoy joins the two
            // with a comma, but the ABI lets a host keep both and answer with the first only.
            // Names are ASCII, the host saw to that.
            for (name, value) in self.get_http_request_headers_bytes() {
                if name == "user-agent" {
                    let mut line = String::with_capacity(16 + value.len());
                    line.push_str("User-Agent: ");
                    text::push_readable(&mut line, &value);
                    log(self.level, &line);
                }
            }
        }
        Action::Continue
    }
}

#[unsafe(no_mangle)]
pub extern "C" fn _initialize() {
    proxy_wasm::set_root_context(|_| Box::new(Root { level: Level::Info }));
}
