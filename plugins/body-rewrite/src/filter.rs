//! What Envoy calls, and what we ask of Envoy.

use std::rc::Rc;

use proxy_wasm::hostcalls;
use proxy_wasm::traits::*;
use proxy_wasm::types::*;

use crate::rules::{self, Rules};

#[derive(Default)]
struct Root {
    rules: Rc<Rules>,
}

impl Context for Root {}

impl RootContext for Root {
    fn on_configure(&mut self, _configuration_size: usize) -> bool {
        match rules::read(&self.get_plugin_configuration().unwrap_or_default()) {
            Ok(rules) => {
                self.rules = Rc::new(rules);
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
        Some(Box::new(Stream { rules: Rc::clone(&self.rules) }))
    }
}

struct Stream {
    rules: Rc<Rules>,
}

impl Stream {
    fn rewrite_request(&self) {
        let body = self.get_http_request_body(0, usize::MAX).unwrap_or_default();
        if let Some(changed) = rules::apply(&self.rules.request, &body) {
            self.set_http_request_body(0, body.len(), &changed);
        }
    }

    fn rewrite_response(&self) {
        let body = self.get_http_response_body(0, usize::MAX).unwrap_or_default();
        if let Some(changed) = rules::apply(&self.rules.response, &body) {
            self.set_http_response_body(0, body.len(), &changed);
        }
    }
}

impl Context for Stream {}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _headers: usize, end_of_stream: bool) -> Action {
        // Once the headers have gone on they cannot be changed any more, and the new length is
        // not known before the end. Envoy frames a body without a length by itself.
        if !end_of_stream && rules::change_length(&self.rules.request) {
            self.set_http_request_header("content-length", None);
        }
        Action::Continue
    }

    fn on_http_request_body(&mut self, _size: usize, end_of_stream: bool) -> Action {
        if self.rules.request.is_empty() {
            return Action::Continue;
        }
        if !end_of_stream {
            return Action::Pause;
        }
        self.rewrite_request();
        Action::Continue
    }

    fn on_http_request_trailers(&mut self, _trailers: usize) -> Action {
        // With trailers no body call ends the stream: this is the end, and the body is still held.
        if !self.rules.request.is_empty() {
            self.rewrite_request();
        }
        Action::Continue
    }

    fn on_http_response_headers(&mut self, _headers: usize, end_of_stream: bool) -> Action {
        if !end_of_stream && rules::change_length(&self.rules.response) {
            self.set_http_response_header("content-length", None);
        }
        Action::Continue
    }

    fn on_http_response_body(&mut self, _size: usize, end_of_stream: bool) -> Action {
        if self.rules.response.is_empty() {
            return Action::Continue;
        }
        if !end_of_stream {
            return Action::Pause;
        }
        self.rewrite_response();
        Action::Continue
    }

    fn on_http_response_trailers(&mut self, _trailers: usize) -> Action {
        if !self.rules.response.is_empty() {
            self.rewrite_response();
        }
        Action::Continue
    }
}

#[unsafe(no_mangle)]
pub extern "C" fn _initialize() {
    proxy_wasm::set_log_level(LogLevel::Info);
    proxy_wasm::set_root_context(|_| Box::new(Root::default()));
}
