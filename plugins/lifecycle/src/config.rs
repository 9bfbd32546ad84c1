//! What pluginConfig may ask for.

use serde_json::Value;

use crate::edit::{self, Edit};
use crate::settings::{self, Settings};

/// The callbacks at which something can be asked for.
const PLACES: [&str; 9] = [
    "request_headers",
    "request_body",
    "request_trailers",
    "response_headers",
    "response_body",
    "response_trailers",
    "http_call_response",
    "on_log",
    "on_done",
];

pub struct Reply {
    pub status: u32,
    pub details: String,
    pub body: Vec<u8>,
    pub headers: Vec<(String, Vec<u8>)>,
    pub grpc_status: i32,
}

pub struct Callout {
    pub at: String,
    pub cluster: String,
    pub headers: Vec<(String, String)>,
    pub body: String,
    pub timeout: u32,
    pub then: String,
}

#[derive(Default)]
pub struct Config {
    pub ids: bool,
    pub read_all: bool,
    pub most_bytes: usize,
    pub edits: Vec<Edit>,
    pub pause: Vec<String>,
    pub pause_body: bool,
    pub resume_at: Option<String>,
    pub close_at: Option<String>,
    pub reply_at: Option<String>,
    pub reply: Option<Reply>,
    pub callout: Option<Callout>,
    pub properties: Vec<String>,
    pub properties_at: Vec<String>,
    pub tick: u32,
}

pub fn read(bytes: &[u8]) -> Result<Config, String> {
    let all = settings::object(
        bytes,
        &[
            "ids",
            "read",
            "most_bytes",
            "edits",
            "pause",
            "pause_body",
            "resume_at",
            "close_at",
            "local_reply_at",
            "local_reply",
            "callout",
            "properties",
            "properties_at",
            "tick_ms",
        ],
    )?;
    let read = one_of(&all, "read", Some("own"), &["own", "all"])?;
    let edits = settings::list(&all, "edits")?.iter().map(edit::read).collect::<Result<_, _>>()?;
    let reply_at = place(&all, "local_reply_at")?;
    Ok(Config {
        ids: settings::switch(&all, "ids")?,
        read_all: read == "all",
        most_bytes: settings::number(&all, "most_bytes", 4096, 0..=u32::MAX)? as usize,
        edits,
        pause: places(&all, "pause")?,
        pause_body: settings::switch(&all, "pause_body")?,
        resume_at: place(&all, "resume_at")?,
        close_at: place(&all, "close_at")?,
        reply_at,
        reply: Some(reply(all.get("local_reply").unwrap_or(&Value::Object(Settings::new())))?),
        callout: all.get("callout").map(callout).transpose()?,
        properties: settings::texts(&all, "properties")?,
        properties_at: places(&all, "properties_at")?,
        tick: settings::number(&all, "tick_ms", 0, 0..=u32::MAX)?,
    })
}

pub fn one_of(
    all: &Settings,
    name: &str,
    default: Option<&str>,
    known: &[&str],
) -> Result<String, String> {
    let found = settings::text(all, name)?.or_else(|| default.map(str::to_owned));
    match found {
        Some(text) if known.contains(&text.as_str()) => Ok(text),
        Some(text) => Err(format!("{name} must be one of {}, not {text:?}", known.join(", "))),
        None => Err(format!("{name} is missing in {}", Value::Object(all.clone()))),
    }
}

pub fn place(all: &Settings, name: &str) -> Result<Option<String>, String> {
    if !all.contains_key(name) {
        return Ok(None);
    }
    one_of(all, name, None, &PLACES).map(Some)
}

fn places(all: &Settings, name: &str) -> Result<Vec<String>, String> {
    let found = settings::texts(all, name)?;
    match found.iter().find(|text| !PLACES.contains(&text.as_str())) {
        Some(text) => Err(format!("{name} holds some of {}, not {text:?}", PLACES.join(", "))),
        None => Ok(found),
    }
}

fn reply(value: &Value) -> Result<Reply, String> {
    let known = ["status", "details", "body", "headers", "grpc_status"];
    let all = settings::members("local_reply", value, &known)?;
    let grpc_status = all.get("grpc_status").map_or(Ok(-1), |value| {
        let number = value.as_i64().and_then(|number| i32::try_from(number).ok());
        number.ok_or_else(|| format!("grpc_status must be a whole number, not {value}"))
    })?;
    Ok(Reply {
        status: settings::number(all, "status", 403, 0..=u32::MAX)?,
        details: settings::text(all, "details")?.unwrap_or_default(),
        body: all.get("body").map_or(Ok(Vec::new()), |body| settings::bytes("body", body))?,
        headers: settings::pairs(all, "headers")?,
        grpc_status,
    })
}

fn callout(value: &Value) -> Result<Callout, String> {
    let known = ["at", "cluster", "headers", "body", "timeout_ms", "then"];
    let all = settings::members("callout", value, &known)?;
    let mut headers = Vec::new();
    for (name, value) in settings::pairs(all, "headers")? {
        // The SDK's function takes text, and registers the call so that the answer finds us.
        let value = String::from_utf8(value).map_err(|_| format!("{name} must be UTF-8"))?;
        headers.push((name, value));
    }
    if headers.is_empty() {
        for (name, value) in [(":method", "GET"), (":path", "/"), (":authority", "callout")] {
            headers.push((name.to_owned(), value.to_owned()));
        }
    }
    Ok(Callout {
        at: place(all, "at")?.unwrap_or_else(|| "request_headers".to_owned()),
        cluster: settings::text(all, "cluster")?.ok_or("callout names no cluster")?,
        headers,
        body: settings::text(all, "body")?.unwrap_or_default(),
        timeout: settings::number(all, "timeout_ms", 1000, 0..=u32::MAX)?,
        then: one_of(all, "then", Some("resume"), &["resume", "reply", "nothing"])?,
    })
}
