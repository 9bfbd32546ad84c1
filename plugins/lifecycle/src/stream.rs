//! The context of one request.

use std::rc::Rc;

use proxy_wasm::traits::*;
use proxy_wasm::types::*;

use crate::config::Config;
use crate::{acts, host};

pub struct Stream {
    id: u32,
    config: Rc<Config>,
    replied: bool,
}

impl Stream {
    pub fn new(id: u32, config: Rc<Config>) -> Stream {
        let stream = Stream { id, config, replied: false };
        stream.say("on_context_create", "");
        stream
    }

    fn say(&self, callback: &str, arguments: &str) {
        let id = if self.config.ids { format!(" context={}", self.id) } else { String::new() };
        let space = if arguments.is_empty() { "" } else { " " };
        host::log(&format!("{callback}{id}{space}{arguments}"));
    }

    /// All that may happen in a callback but its own first line; `ends` with the stream.
    fn act(&mut self, place: &str, ends: bool) -> Action {
        let config = Rc::clone(&self.config);
        acts::observe(&config, place);
        acts::edit(&config, place, ends);
        acts::steer(&config, place);
        if config.reply_at.as_deref() == Some(place) && !self.replied {
            self.replied = true;
            acts::reply(&config);
            return Action::Pause;
        }
        let waits = acts::call(&config, place);
        let gathers = config.pause_body && place.ends_with("body") && !ends;
        if waits || gathers || config.pause.iter().any(|at| at == place) {
            host::log(&format!("{place} pauses"));
            return Action::Pause;
        }
        Action::Continue
    }
}

impl Context for Stream {
    fn on_http_call_response(&mut self, call: u32, headers: usize, size: usize, trailers: usize) {
        let id = if self.config.ids { format!("call={call} ") } else { String::new() };
        let arguments = format!("{id}headers={headers} size={size} trailers={trailers}");
        self.say("on_http_call_response", &arguments);
        self.act("http_call_response", true);
        acts::answered(&self.config);
    }

    fn on_foreign_function(&mut self, function: u32, size: usize) {
        self.say("on_foreign_function", &format!("function={function} size={size}"));
    }

    fn on_done(&mut self) -> bool {
        self.say("on_done", "");
        self.act("on_done", true);
        true
    }
}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, count: usize, ends: bool) -> Action {
        self.say("on_request_headers", &format!("count={count} end_of_stream={ends}"));
        self.act("request_headers", ends)
    }

    fn on_http_request_body(&mut self, size: usize, ends: bool) -> Action {
        self.say("on_request_body", &format!("size={size} end_of_stream={ends}"));
        self.act("request_body", ends)
    }

    fn on_http_request_trailers(&mut self, count: usize) -> Action {
        self.say("on_request_trailers", &format!("count={count}"));
        self.act("request_trailers", true)
    }

    fn on_http_response_headers(&mut self, count: usize, ends: bool) -> Action {
        self.say("on_response_headers", &format!("count={count} end_of_stream={ends}"));
        self.act("response_headers", ends)
    }

    fn on_http_response_body(&mut self, size: usize, ends: bool) -> Action {
        self.say("on_response_body", &format!("size={size} end_of_stream={ends}"));
        self.act("response_body", ends)
    }

    fn on_http_response_trailers(&mut self, count: usize) -> Action {
        self.say("on_response_trailers", &format!("count={count}"));
        self.act("response_trailers", true)
    }

    fn on_log(&mut self) {
        self.say("on_log", "");
        self.act("on_log", true);
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.say("on_delete", "");
    }
}
