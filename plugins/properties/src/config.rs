//! What pluginConfig may say, and how the bytes of a property become text.

use serde_json::Value;

use crate::settings;

const CALLBACKS: [&str; 4] = ["on_configure", "request_headers", "response_headers", "on_log"];

/// How the host packs a value: the ABI hands over bytes and does not say of which kind.
#[derive(Clone, Copy)]
pub enum Kind {
    Text,
    Number,
    Switch,
}

impl Kind {
    /// `bytes` as text; as escapes where they are not of this kind.
    pub fn render(self, bytes: &[u8]) -> String {
        match (self, bytes) {
            (Kind::Number, bytes) if bytes.len() == 8 => {
                let eight: [u8; 8] = bytes.try_into().unwrap_or_default();
                i64::from_le_bytes(eight).to_string()
            }
            (Kind::Switch, [0]) => "false".to_owned(),
            (Kind::Switch, [1]) => "true".to_owned(),
            (_, bytes) => bytes.escape_ascii().to_string(),
        }
    }
}

pub struct Wanted {
    pub path: Vec<String>,
    pub kind: Kind,
}

impl Wanted {
    pub fn shown(&self) -> String {
        self.path.join(".")
    }
}

#[derive(Default)]
pub struct Config {
    pub read: Vec<Wanted>,
    pub at: Vec<String>,
    pub set: Vec<(String, Vec<u8>)>,
}

pub fn read(bytes: &[u8]) -> Result<Config, String> {
    let all = settings::object(bytes, &["read", "at", "set"])?;
    let wanted = settings::list(&all, "read")?.iter().map(wanted).collect::<Result<_, _>>()?;
    let mut at = settings::texts(&all, "at")?;
    if let Some(other) = at.iter().find(|at| !CALLBACKS.contains(&at.as_str())) {
        return Err(format!("at holds some of {}, not {other:?}", CALLBACKS.join(", ")));
    }
    if at.is_empty() {
        at.push("request_headers".to_owned());
    }
    Ok(Config { read: wanted, at, set: settings::pairs(&all, "set")? })
}

/// `"request.path"`, or `{"path": ["xds", "node", "metadata", "a.b"], "as": "number"}`.
fn wanted(value: &Value) -> Result<Wanted, String> {
    if let Value::String(path) = value {
        let path = path.split('.').map(str::to_owned).collect();
        return Ok(Wanted { path, kind: Kind::Text });
    }
    let all = settings::members("an entry of read", value, &["path", "as"])?;
    let path = match all.get("path") {
        Some(Value::String(path)) => path.split('.').map(str::to_owned).collect(),
        _ => settings::texts(all, "path")?,
    };
    if path.is_empty() {
        return Err(format!("path is missing in {value}"));
    }
    let kind = match settings::text(all, "as")?.as_deref() {
        None | Some("text") => Kind::Text,
        Some("number") => Kind::Number,
        Some("bool") => Kind::Switch,
        Some(other) => return Err(format!("as must be text, number or bool, not {other:?}")),
    };
    Ok(Wanted { path, kind })
}
