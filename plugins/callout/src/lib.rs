//! Holds each request until another service has said whether it may go on.

mod config;
mod settings;

use std::rc::Rc;
use std::time::Duration;

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
    config: Option<Rc<Config>>,
}

struct Stream {
    config: Rc<Config>,
}

impl Context for Root {}

impl RootContext for Root {
    fn on_configure(&mut self, _configuration_size: usize) -> bool {
        match config::read(&self.get_plugin_configuration().unwrap_or_default()) {
            Ok(config) => {
                self.config = Some(Rc::new(config));
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
        let config = self.config.as_ref()?;
        Some(Box::new(Stream { config: Rc::clone(config) }))
    }
}

impl Stream {
    fn refuse(&self, status: u32, reason: &str) {
        self.send_http_response(status, vec![("x-callout", reason)], None);
    }
}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _headers: usize, _end_of_stream: bool) -> Action {
        let config = &self.config;
        let mut sent = Vec::new();
        for name in &config.send {
            let Some(value) = self.get_http_request_header_bytes(name) else {
                continue;
            };
            match String::from_utf8(value) {
                Ok(value) => sent.push((name.as_str(), value)),
                // The SDK's function takes text only, and half a value would be another value.
                Err(_) => log(LogLevel::Warn, &format!("{name} is no UTF-8 and is not sent")),
            }
        }
        let mut headers = vec![
            (":method", config.method.as_str()),
            (":path", config.path.as_str()),
            (":authority", config.authority.as_str()),
        ];
        headers.extend(sent.iter().map(|(name, value)| (*name, value.as_str())));
        let timeout = Duration::from_millis(config.timeout_ms.into());
        match self.dispatch_http_call(&config.cluster, headers, None, vec![], timeout) {
            Ok(_) => log(LogLevel::Debug, &format!("asking {}", config.cluster)),
            Err(status) => {
                log(LogLevel::Error, &format!("cannot ask {}: {status:?}", config.cluster));
                self.refuse(config.fail_status, "impossible");
            }
        }
        Action::Pause
    }
}

impl Context for Stream {
    fn on_http_call_response(&mut self, _call: u32, headers: usize, size: usize, _trailers: usize) {
        let config = Rc::clone(&self.config);
        // Envoy makes up a 503 or a 504 for a service that it cannot reach or that is too slow; no
        // header at all means that the answer broke off. Neither is the service's own word.
        let status = match headers {
            0 => b"none".to_vec(),
            _ => self.get_http_call_response_header_bytes(":status").unwrap_or_default(),
        };
        let line = format!("{} answered {}, {size} bytes", config.cluster, status.escape_ascii());
        log(LogLevel::Info, &line);
        match status.first() {
            Some(b'2') => (),
            Some(b'3' | b'4') => return self.refuse(config.deny_status, "denied"),
            _ => return self.refuse(config.fail_status, "unanswered"),
        }
        for name in &config.copy {
            // A client could have sent it: what goes on is the answer's, or nothing.
            let value = self.get_http_call_response_header_bytes(name);
            self.set_http_request_header_bytes(name, value.as_deref());
        }
        self.resume_http_request();
    }
}

#[unsafe(no_mangle)]
pub extern "C" fn _initialize() {
    proxy_wasm::set_log_level(LogLevel::Info);
    proxy_wasm::set_root_context(|_| Box::new(Root::default()));
}
