//! What is done in a callback: reading what can be read, and what pluginConfig asks for.

use std::time::Duration;

use proxy_wasm::hostcalls;

use crate::config::Config;
use crate::edit::{Edit, Target};
use crate::{host, text};

const MAPS: [(u32, &str); 6] = [
    (host::REQUEST_HEADERS, "request_headers"),
    (host::REQUEST_TRAILERS, "request_trailers"),
    (host::RESPONSE_HEADERS, "response_headers"),
    (host::RESPONSE_TRAILERS, "response_trailers"),
    (host::CALL_HEADERS, "call_headers"),
    (host::CALL_TRAILERS, "call_trailers"),
];

const BODIES: [(u32, &str); 3] = [
    (host::REQUEST_BODY, "request_body"),
    (host::RESPONSE_BODY, "response_body"),
    (host::CALL_BODY, "call_body"),
];

/// Logs the maps and bodies that `place` is about or, if so configured, each one there is.
pub fn observe(config: &Config, place: &str) {
    let about = |name: &str| match place {
        "on_log" => !name.contains("body") && !name.starts_with("call"),
        "http_call_response" => name.starts_with("call"),
        other => other == name,
    };
    for (kind, name) in MAPS {
        if config.read_all || about(name) {
            match host::map(kind) {
                Ok(pairs) if pairs.is_empty() => host::log(&format!("{name} empty")),
                Ok(pairs) => {
                    for (key, value) in pairs {
                        let (key, value) = (text::escaped(&key), text::escaped(&value));
                        host::log(&format!("{name} {key}: {value}"));
                    }
                }
                Err(status) => host::log(&format!("{name} {}", host::status_name(status))),
            }
        }
    }
    for (kind, name) in BODIES {
        if config.read_all || about(name) {
            show(config, name, host::buffer(kind));
        }
    }
    if config.properties_at.iter().any(|at| at == place) {
        for path in &config.properties {
            let found = host::property(&path.replace('.', "\0"));
            show(config, &format!("property {path}"), found);
        }
    }
}

/// Logs the length and the first bytes of what the host gave, or why it gave nothing.
pub fn show(config: &Config, name: &str, found: Result<Vec<u8>, u32>) {
    match found {
        Ok(bytes) => {
            let cut = bytes.len().min(config.most_bytes);
            let more = if cut < bytes.len() { " ..." } else { "" };
            let shown = text::escaped(&bytes[..cut]);
            host::log(&format!("{name} {} bytes: {shown}{more}", bytes.len()));
        }
        Err(status) => host::log(&format!("{name} {}", host::status_name(status))),
    }
}

/// Makes the edits that belong to `place`, and logs what the host said to each.
pub fn edit(config: &Config, place: &str, ends: bool) {
    for edit in config.edits.iter().filter(|edit| edit.at == place) {
        if edit.at_end && !ends {
            continue;
        }
        let status = match edit.target {
            Target::Map(map) => edit_map(edit, map),
            Target::Body(body) => edit_body(edit, body),
        };
        let name = if edit.name.is_empty() { String::new() } else { format!(" {}", edit.name) };
        let answer = host::status_name(status);
        host::log(&format!("edit {} {}{name}: {answer}", edit.op, edit.place));
    }
}

fn edit_map(edit: &Edit, map: u32) -> u32 {
    match edit.op.as_str() {
        "add" => host::add(map, &edit.name, &edit.value),
        "replace" => host::replace(map, &edit.name, &edit.value),
        "remove" => host::remove(map, &edit.name),
        _ => host::set_map(map, &edit.pairs),
    }
}

fn edit_body(edit: &Edit, body: u32) -> u32 {
    let (start, size) = match edit.op.as_str() {
        "append" => (u32::MAX, 0),
        "prepend" => (0, 0),
        "replace" => (0, u32::MAX),
        _ => (edit.start, edit.size),
    };
    host::set_buffer(body, start, size, &edit.value)
}

/// Which stream a callback belongs to, as the ABI counts them: 0 the request, 1 the response.
fn stream_of(place: &str) -> u32 {
    u32::from(place.starts_with("response"))
}

/// Resumes or closes the stream if that is asked for at `place`.
pub fn steer(config: &Config, place: &str) {
    if config.resume_at.as_deref() == Some(place) {
        let status = host::resume(stream_of(place));
        host::log(&format!("continue_stream: {}", host::status_name(status)));
    }
    if config.close_at.as_deref() == Some(place) {
        let status = host::close(stream_of(place));
        host::log(&format!("close_stream: {}", host::status_name(status)));
    }
}

pub fn reply(config: &Config) {
    if let Some(reply) = &config.reply {
        let status = host::reply(
            reply.status,
            &reply.details,
            &reply.body,
            &reply.headers,
            reply.grpc_status,
        );
        host::log(&format!("local_reply {}: {}", reply.status, host::status_name(status)));
    }
}

/// Starts the callout if it belongs to `place`; whether its answer has to be waited for.
pub fn call(config: &Config, place: &str) -> bool {
    let Some(callout) = config.callout.as_ref().filter(|callout| callout.at == place) else {
        return false;
    };
    let headers = callout.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let started = hostcalls::dispatch_http_call(
        &callout.cluster,
        headers.collect(),
        Some(callout.body.as_bytes()),
        Vec::new(),
        Duration::from_millis(callout.timeout.into()),
    );
    match started {
        Ok(_) => {
            host::log(&format!("http_call {}: OK", callout.cluster));
            true
        }
        Err(status) => {
            let answer = host::status_name(status as u32);
            host::log(&format!("http_call {}: {answer}", callout.cluster));
            false
        }
    }
}

/// What the answer to the callout leads to.
pub fn answered(config: &Config) {
    let Some(callout) = &config.callout else {
        return;
    };
    match callout.then.as_str() {
        "resume" => {
            let status = host::resume(stream_of(&callout.at));
            host::log(&format!("continue_stream: {}", host::status_name(status)));
        }
        "reply" => reply(config),
        _ => (),
    }
}
