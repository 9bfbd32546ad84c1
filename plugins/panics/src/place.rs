//! Where to panic.

use serde_json::Value;

/// The callbacks that can be named, besides "header" and "every-request".
const CALLBACKS: [&str; 17] = [
    "on_context_create",
    "on_vm_start",
    "on_configure",
    "on_tick",
    "on_queue_ready",
    "root_on_done",
    "create_http_context",
    "request_headers",
    "request_body",
    "request_trailers",
    "response_headers",
    "response_body",
    "response_trailers",
    "on_http_call_response",
    "on_log",
    "on_done",
    "on_delete",
];

/// The place, and the cluster to call where that place is the answer of a callout.
#[derive(Default)]
pub struct Place {
    pub name: String,
    pub cluster: String,
}

impl Place {
    /// The place in `bytes`; none at all means that only a request's header can ask for a panic.
    pub fn read(bytes: &[u8]) -> Result<Place, String> {
        if bytes.is_empty() {
            return Ok(Place::default());
        }
        let document = serde_json::from_slice::<Value>(bytes).unwrap_or_default();
        let text = |name: &str| document.get(name).and_then(Value::as_str).unwrap_or_default();
        let name = text("panic_on");
        if matches!(name, "header" | "every-request") || CALLBACKS.contains(&name) {
            return Ok(Place { name: name.to_owned(), cluster: text("cluster").to_owned() });
        }
        let given = String::from_utf8_lossy(bytes);
        let callbacks = CALLBACKS.join(", ");
        Err(format!(
            "panic_on must be \"header\" or \"every-request\" or a callback, not {given} \
             (the callbacks are {callbacks})"
        ))
    }

    pub fn every_request(&self) -> bool {
        matches!(self.name.as_str(), "every-request" | "request_headers")
    }
}

/// Panics if `callback` is the place, and says which it is.
pub fn panic_at(place: &Place, callback: &str) {
    if place.name == callback {
        panic!("this plugin panics on purpose, in {callback}");
    }
}
