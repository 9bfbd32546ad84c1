//! Answers in the upstream's place: requests whose path begins as pluginConfig says never reach
//! it, and responses with a status that pluginConfig names are replaced.

mod config;
mod settings;

use std::rc::Rc;

use config::{Config, Reply};
use proxy_wasm::hostcalls;
use proxy_wasm::traits::*;
use proxy_wasm::types::*;

#[link(wasm_import_module = "env")]
unsafe extern "C" {
    // The SDK's wrapper leaves out the details, which is what an access log shows as the reason.
    fn proxy_send_local_response(
        status: u32,
        details: *const u8,
        details_size: usize,
        body: *const u8,
        body_size: usize,
        headers: *const u8,
        headers_size: usize,
        grpc_status: i32,
    ) -> u32;
}

fn send(reply: &Reply) {
    let headers = config::packed(&reply.headers);
    // SAFETY: the host reads the details, the body and the headers before the call returns.
    let status = unsafe {
        proxy_send_local_response(
            reply.status,
            reply.details.as_ptr(),
            reply.details.len(),
            reply.body.as_ptr(),
            reply.body.len(),
            headers.as_ptr(),
            headers.len(),
            -1,
        )
    };
    if status != 0 {
        let line = format!("the host would not send the local reply: status {status}");
        hostcalls::log(LogLevel::Error, &line).unwrap_or(());
    }
}

#[derive(Default)]
struct Root {
    config: Rc<Config>,
}

struct Stream {
    config: Rc<Config>,
    replied: bool,
}

impl Context for Root {}
impl Context for Stream {}

impl RootContext for Root {
    fn on_configure(&mut self, _configuration_size: usize) -> bool {
        match config::read(&self.get_plugin_configuration().unwrap_or_default()) {
            Ok(config) => {
                self.config = Rc::new(config);
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
        Some(Box::new(Stream { config: Rc::clone(&self.config), replied: false }))
    }
}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _headers: usize, _end_of_stream: bool) -> Action {
        let path = self.get_http_request_header_bytes(":path").unwrap_or_default();
        match self.config.paths.iter().find(|(prefix, _)| path.starts_with(prefix.as_bytes())) {
            Some((_, reply)) => {
                self.replied = true;
                send(reply);
                Action::Pause
            }
            None => Action::Continue,
        }
    }

    fn on_http_response_headers(&mut self, _headers: usize, _end_of_stream: bool) -> Action {
        // Our own reply comes by here, too.
        if self.replied {
            return Action::Continue;
        }
        let status = self.get_http_response_header_bytes(":status").unwrap_or_default();
        match self.config.statuses.iter().find(|(number, _)| number.as_bytes() == status) {
            Some((_, reply)) => {
                self.replied = true;
                send(reply);
                Action::Pause
            }
            None => Action::Continue,
        }
    }
}

#[unsafe(no_mangle)]
pub extern "C" fn _initialize() {
    proxy_wasm::set_log_level(LogLevel::Info);
    proxy_wasm::set_root_context(|_| Box::new(Root::default()));
}
