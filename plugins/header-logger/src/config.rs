//! What pluginConfig may say.

use serde_json::Value;

/// A log level, with the number that the proxy-wasm ABI gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u32)]
pub enum Level {
    Trace = 0,
    Debug = 1,
    Info = 2,
    Warn = 3,
    Error = 4,
    Critical = 5,
}

impl Level {
    /// The level called `name`; Envoy says `warning` where Rust says `warn`, so both will do.
    fn named(name: &str) -> Option<Level> {
        Some(match name {
            "trace" => Level::Trace,
            "debug" => Level::Debug,
            "info" => Level::Info,
            "warn" | "warning" => Level::Warn,
            "error" => Level::Error,
            "critical" => Level::Critical,
            _ => return None,
        })
    }
}

/// The level at which to log, from the bytes of pluginConfig.
///
/// No configuration, or one without `log_level`, means `info`. The error is a sentence that
/// names the value at fault: it goes to the log before the host is told to refuse the plugin.
pub fn log_level(bytes: &[u8]) -> Result<Level, String> {
    if bytes.is_empty() {
        return Ok(Level::Info);
    }
    let document: Value = serde_json::from_slice(bytes).map_err(|error| {
        let start: String = String::from_utf8_lossy(bytes).chars().take(80).collect();
        format!("pluginConfig is not JSON ({error}): {start}")
    })?;
    let Value::Object(settings) = &document else {
        return Err(format!("pluginConfig must be a JSON object, not {document}"));
    };
    let Some(wanted) = settings.get("log_level") else {
        return Ok(Level::Info);
    };
    wanted.as_str().and_then(Level::named).ok_or_else(|| {
        format!("log_level must be trace, debug, info, warn, error or critical, not {wanted}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_configuration_means_info() {
        assert_eq!(log_level(b""), Ok(Level::Info));
        assert_eq!(log_level(b"{}"), Ok(Level::Info));
        assert_eq!(log_level(br#"{"other": 1}"#), Ok(Level::Info));
    }

    #[test]
    fn every_level_of_the_abi_has_a_name_and_its_number() {
        let names = ["trace", "debug", "info", "warn", "error", "critical"];
        for (number, name) in names.iter().enumerate() {
            let document = format!(r#"{{"log_level": "{name}"}}"#);
            let level = log_level(document.as_bytes()).unwrap();
            assert_eq!(level as usize, number, "{name}");
        }
    }

    #[test]
    fn envoys_word_for_warn_is_taken_too() {
        assert_eq!(log_level(br#"{"log_level":"warning"}"#), Ok(Level::Warn));
    }

    #[test]
    fn an_unknown_level_is_named_in_the_refusal() {
        let refusal = log_level(br#"{"log_level": "chatty"}"#).unwrap_err();
        assert!(refusal.contains("\"chatty\""), "{refusal}");
    }

    #[test]
    fn a_level_that_is_no_text_is_named_in_the_refusal() {
        let refusal = log_level(br#"{"log_level": 7}"#).unwrap_err();
        assert!(refusal.ends_with("not 7"), "{refusal}");
        assert!(log_level(br#"{"log_level": null}"#).is_err());
    }

    #[test]
    fn what_is_not_json_is_quoted_in_the_refusal() {
        let refusal = log_level(b"log_level: info").unwrap_err();
        assert!(refusal.contains("log_level: info"), "{refusal}");
        assert!(log_level(b"{\"log_level\": \"inf").is_err());
        assert!(log_level(b"\xff\xfe").is_err());
    }

    #[test]
    fn what_is_json_but_no_object_is_refused() {
        for text in ["[]", "1", "null", "\"info\""] {
            assert!(log_level(text.as_bytes()).unwrap_err().contains(text));
        }
    }

    #[test]
    fn a_document_nested_without_end_is_refused_and_does_not_overflow_the_stack() {
        assert!(log_level("[".repeat(100_000).as_bytes()).is_err());
    }
}
