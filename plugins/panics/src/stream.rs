//! The context of one request.

use std::rc::Rc;
use std::time::Duration;

use proxy_wasm::hostcalls;
use proxy_wasm::traits::*;
use proxy_wasm::types::*;

use crate::place::{Place, panic_at};

pub struct Stream {
    place: Rc<Place>,
}

impl Stream {
    pub fn new(place: Rc<Place>) -> Stream {
        Stream { place }
    }

    /// Starts what the callbacks that come on their own need in order to come.
    fn prepare(&self) -> Action {
        match self.place.name.as_str() {
            "on_http_call_response" => {
                let headers = vec![(":method", "GET"), (":path", "/"), (":authority", "panics")];
                let (cluster, timeout) = (&self.place.cluster, Duration::from_secs(1));
                match self.dispatch_http_call(cluster, headers, None, vec![], timeout) {
                    Ok(_) => return Action::Pause,
                    Err(status) => {
                        let line = format!("cannot ask {cluster:?}: {status:?}");
                        hostcalls::log(LogLevel::Error, &line).unwrap_or(());
                    }
                }
            }
            "on_queue_ready" => {
                let queue = self.register_shared_queue("panics");
                let _ = self.enqueue_shared_queue(queue, Some(b"one"));
            }
            _ => (),
        }
        Action::Continue
    }
}

impl Context for Stream {
    fn on_http_call_response(&mut self, _: u32, _: usize, _: usize, _: usize) {
        panic_at(&self.place, "on_http_call_response");
    }

    fn on_done(&mut self) -> bool {
        panic_at(&self.place, "on_done");
        true
    }
}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _headers: usize, _end_of_stream: bool) -> Action {
        let asked = self.get_http_request_header_bytes("x-panic");
        if self.place.every_request() || asked.as_deref() == Some(b"1") {
            panic!("this plugin panics on purpose");
        }
        self.prepare()
    }

    fn on_http_request_body(&mut self, _size: usize, _end_of_stream: bool) -> Action {
        panic_at(&self.place, "request_body");
        Action::Continue
    }

    fn on_http_request_trailers(&mut self, _trailers: usize) -> Action {
        panic_at(&self.place, "request_trailers");
        Action::Continue
    }

    fn on_http_response_headers(&mut self, _headers: usize, _end_of_stream: bool) -> Action {
        panic_at(&self.place, "response_headers");
        Action::Continue
    }

    fn on_http_response_body(&mut self, _size: usize, _end_of_stream: bool) -> Action {
        panic_at(&self.place, "response_body");
        Action::Continue
    }

    fn on_http_response_trailers(&mut self, _trailers: usize) -> Action {
        panic_at(&self.place, "response_trailers");
        Action::Continue
    }

    fn on_log(&mut self) {
        panic_at(&self.place, "on_log");
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // The SDK has no on_delete: it drops the context.
        panic_at(&self.place, "on_delete");
    }
}
