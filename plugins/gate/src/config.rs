//! What pluginConfig may say, and lists of pairs as the ABI packs them.

use serde_json::Value;

use crate::settings::{self, Settings};

pub struct Reply {
    pub status: u32,
    pub details: String,
    pub body: Vec<u8>,
    pub headers: Vec<(String, Vec<u8>)>,
}

/// Each reply with the beginning of a path, or the status, that brings it about.
#[derive(Default)]
pub struct Config {
    pub paths: Vec<(String, Reply)>,
    pub statuses: Vec<(String, Reply)>,
}

const REPLY: [&str; 4] = ["status", "details", "body", "headers"];

pub fn read(bytes: &[u8]) -> Result<Config, String> {
    let all = settings::object(bytes, &["deny", "replace"])?;
    let mut config = Config::default();
    for rule in settings::list(&all, "deny")? {
        let rule = settings::members("a rule of deny", rule, &known("prefix"))?;
        let prefix = settings::text(rule, "prefix")?.filter(|prefix| prefix.starts_with('/'));
        let prefix = prefix.ok_or_else(|| {
            format!("prefix must be a path like \"/admin\", not {}", shown(rule, "prefix"))
        })?;
        config.paths.push((prefix, reply(rule, 403)?));
    }
    for rule in settings::list(&all, "replace")? {
        let rule = settings::members("a rule of replace", rule, &known("when_status"))?;
        let status = settings::number(rule, "when_status", 0, 100..=599)?;
        if status == 0 {
            return Err(format!("when_status is missing in {}", Value::Object(rule.clone())));
        }
        config.statuses.push((status.to_string(), reply(rule, 502)?));
    }
    Ok(config)
}

fn known(name: &'static str) -> Vec<&'static str> {
    std::iter::once(name).chain(REPLY).collect()
}

fn shown(rule: &Settings, name: &str) -> Value {
    rule.get(name).cloned().unwrap_or(Value::Null)
}

fn reply(rule: &Settings, status: u32) -> Result<Reply, String> {
    let reply = Reply {
        status: settings::number(rule, "status", status, 200..=599)?,
        details: settings::text(rule, "details")?.unwrap_or_default(),
        body: rule.get("body").map_or(Ok(Vec::new()), |body| settings::bytes("body", body))?,
        headers: settings::pairs(rule, "headers")?,
    };
    for (name, value) in &reply.headers {
        settings::check_header(name, value)?;
    }
    Ok(reply)
}

/// `pairs` as the ABI wants them: how many, all lengths, then all names and values.
pub fn packed(pairs: &[(String, Vec<u8>)]) -> Vec<u8> {
    let length = |part: usize| u32::try_from(part).unwrap_or(u32::MAX).to_le_bytes();
    let mut out = Vec::from(length(pairs.len()));
    for (name, value) in pairs {
        out.extend(length(name.len()));
        out.extend(length(value.len()));
    }
    for (name, value) in pairs {
        out.extend(name.as_bytes());
        out.push(0);
        out.extend(value);
        out.push(0);
    }
    out
}
