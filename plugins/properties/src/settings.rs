//! Reading pluginConfig. Each refusal is a sentence that names the value at fault: it goes to
//! the log before the host is told to refuse the plugin.
//!
//! The same file lies in each plugin that has settings, for a plugin must be able to stand alone
//! as a learner's crate.
#![allow(dead_code, reason = "each plugin uses the part that it needs")]

use std::ops::RangeInclusive;

use serde_json::{Map, Value};

pub type Settings = Map<String, Value>;

/// The JSON object in `bytes`; none at all counts as an empty one. `known` are its names.
pub fn object(bytes: &[u8], known: &[&str]) -> Result<Settings, String> {
    if bytes.is_empty() {
        return Ok(Settings::new());
    }
    let document: Value = serde_json::from_slice(bytes).map_err(|error| {
        let start: String = String::from_utf8_lossy(bytes).chars().take(80).collect();
        format!("pluginConfig is not JSON ({error}): {start}")
    })?;
    members("pluginConfig", &document, known).cloned()
}

/// The members of `value`, which must be an object with names out of `known`.
pub fn members<'a>(what: &str, value: &'a Value, known: &[&str]) -> Result<&'a Settings, String> {
    let Value::Object(settings) = value else {
        return Err(format!("{what} must be a JSON object, not {value}"));
    };
    match settings.keys().find(|name| !known.contains(&name.as_str())) {
        Some(name) => Err(format!("{what} knows {}, not {name:?}", known.join(", "))),
        None => Ok(settings),
    }
}

/// The text called `name`, if it is set.
pub fn text(settings: &Settings, name: &str) -> Result<Option<String>, String> {
    match settings.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(other) => Err(format!("{name} must be text, not {other}")),
    }
}

/// The whole number called `name`, or `default`.
pub fn number(
    settings: &Settings,
    name: &str,
    default: u32,
    allowed: RangeInclusive<u32>,
) -> Result<u32, String> {
    let Some(value) = settings.get(name) else {
        return Ok(default);
    };
    let number = value.as_u64().and_then(|number| u32::try_from(number).ok());
    number.filter(|number| allowed.contains(number)).ok_or_else(|| {
        let (least, most) = (allowed.start(), allowed.end());
        format!("{name} must be a whole number from {least} to {most}, not {value}")
    })
}

/// The switch called `name`; off when it is not set.
pub fn switch(settings: &Settings, name: &str) -> Result<bool, String> {
    match settings.get(name) {
        None => Ok(false),
        Some(Value::Bool(on)) => Ok(*on),
        Some(other) => Err(format!("{name} must be true or false, not {other}")),
    }
}

/// The list called `name`; empty when it is not set.
pub fn list<'a>(settings: &'a Settings, name: &str) -> Result<&'a [Value], String> {
    match settings.get(name) {
        None => Ok(&[]),
        Some(Value::Array(values)) => Ok(values),
        Some(other) => Err(format!("{name} must be a list, not {other}")),
    }
}

/// The list of texts called `name`; empty when it is not set.
pub fn texts(settings: &Settings, name: &str) -> Result<Vec<String>, String> {
    let values = list(settings, name)?.iter();
    let each = values.map(|value| match value {
        Value::String(text) => Ok(text.clone()),
        other => Err(format!("{name} must hold texts, not {other}")),
    });
    each.collect()
}

/// The bytes that `value` stands for: text as UTF-8, or `{"hex": "59a1"}` for any others.
pub fn bytes(what: &str, value: &Value) -> Result<Vec<u8>, String> {
    let refusal = || format!("{what} must be text or {{\"hex\": \"59a1\"}}, not {value}");
    match value {
        Value::String(text) => Ok(text.clone().into_bytes()),
        Value::Object(one) if one.len() == 1 => {
            let digits = one.get("hex").and_then(Value::as_str).ok_or_else(refusal)?;
            if digits.len() % 2 == 1 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                return Err(refusal());
            }
            let pairs = (0..digits.len()).step_by(2);
            let each = pairs.map(|at| u8::from_str_radix(&digits[at..at + 2], 16));
            each.collect::<Result<_, _>>().map_err(|_| refusal())
        }
        _ => Err(refusal()),
    }
}

/// The pairs called `name`: `{"a": "1"}`, or `[["a", "1"], ["a", "2"]]` where order counts.
pub fn pairs(settings: &Settings, name: &str) -> Result<Vec<(String, Vec<u8>)>, String> {
    match settings.get(name) {
        None => Ok(Vec::new()),
        Some(Value::Object(map)) => {
            let each = map.iter().map(|(key, value)| Ok((key.clone(), bytes(name, value)?)));
            each.collect()
        }
        Some(Value::Array(list)) => list.iter().map(|entry| pair(name, entry)).collect(),
        Some(other) => Err(format!("{name} must be an object or a list of pairs, not {other}")),
    }
}

fn pair(what: &str, entry: &Value) -> Result<(String, Vec<u8>), String> {
    match entry.as_array().map(Vec::as_slice) {
        Some([Value::String(key), value]) => Ok((key.clone(), bytes(what, value)?)),
        _ => Err(format!("{what} must hold pairs like [\"a\", \"1\"], not {entry}")),
    }
}

/// Refuses what may not stand in a header: Envoy does not look at what a plugin sets, and a
/// line end within a value would begin another header.
pub fn check_header(name: &str, value: &[u8]) -> Result<(), String> {
    let fit = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || !name.bytes().all(fit) {
        return Err(format!("{name:?} is no name for a header"));
    }
    if value.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
        let value = value.escape_ascii();
        return Err(format!("the value of {name} holds a line end or a zero byte: {value}"));
    }
    Ok(())
}
