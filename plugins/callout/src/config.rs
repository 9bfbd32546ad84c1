//! What pluginConfig may say.

use crate::settings;

pub struct Config {
    pub cluster: String,
    pub method: String,
    pub path: String,
    pub authority: String,
    pub timeout_ms: u32,
    /// Request headers that the other service gets to see.
    pub send: Vec<String>,
    /// Headers of its answer that go on with the request.
    pub copy: Vec<String>,
    pub deny_status: u32,
    pub fail_status: u32,
}

pub fn read(bytes: &[u8]) -> Result<Config, String> {
    let all = settings::object(
        bytes,
        &[
            "cluster",
            "method",
            "path",
            "authority",
            "timeout_ms",
            "send",
            "copy",
            "deny_status",
            "fail_status",
        ],
    )?;
    let text = |name: &str, default: &str| {
        Ok::<_, String>(settings::text(&all, name)?.unwrap_or_else(|| default.to_owned()))
    };
    let cluster = text("cluster", "")?;
    if cluster.is_empty() {
        return Err("cluster is missing: it names the service to ask".to_owned());
    }
    let path = text("path", "/")?;
    if !path.starts_with('/') {
        return Err(format!("path must begin with a slash, not {path:?}"));
    }
    let config = Config {
        authority: text("authority", &cluster)?,
        cluster,
        method: text("method", "GET")?,
        path,
        timeout_ms: settings::number(&all, "timeout_ms", 1000, 1..=60_000)?,
        send: settings::texts(&all, "send")?,
        copy: settings::texts(&all, "copy")?,
        deny_status: settings::number(&all, "deny_status", 403, 400..=599)?,
        fail_status: settings::number(&all, "fail_status", 503, 400..=599)?,
    };
    for name in config.send.iter().chain(&config.copy) {
        settings::check_header(name, b"")?;
    }
    Ok(config)
}
