//! Which text becomes which.

use serde_json::Value;

use crate::settings::{self, Settings};

/// One text and what stands in for it.
pub struct Rule {
    find: Vec<u8>,
    replace: Vec<u8>,
}

#[derive(Default)]
pub struct Rules {
    pub request: Vec<Rule>,
    pub response: Vec<Rule>,
}

/// The rules in the bytes of pluginConfig; the error names the value at fault.
pub fn read(bytes: &[u8]) -> Result<Rules, String> {
    let all = settings::object(bytes, &["request", "response"])?;
    Ok(Rules { request: rules(&all, "request")?, response: rules(&all, "response")? })
}

fn rules(all: &Settings, name: &str) -> Result<Vec<Rule>, String> {
    settings::list(all, name)?.iter().map(rule).collect()
}

fn rule(value: &Value) -> Result<Rule, String> {
    let all = settings::members("a rule", value, &["find", "replace"])?;
    let part = |name: &str| {
        let found = all.get(name).ok_or_else(|| format!("{name} is missing in {value}"))?;
        settings::bytes(name, found)
    };
    let rule = Rule { find: part("find")?, replace: part("replace")? };
    if rule.find.is_empty() {
        return Err(format!("find is empty in {value}: there is nothing to look for"));
    }
    Ok(rule)
}

/// Whether a body can come out longer or shorter than it went in.
pub fn change_length(rules: &[Rule]) -> bool {
    rules.iter().any(|rule| rule.find.len() != rule.replace.len())
}

/// `body` after all rules, one after the other; None when nothing was found.
pub fn apply(rules: &[Rule], body: &[u8]) -> Option<Vec<u8>> {
    rules.iter().fold(None, |done, rule| {
        let now = replaced(rule, done.as_deref().unwrap_or(body));
        now.or(done)
    })
}

fn replaced(rule: &Rule, body: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let mut rest = body;
    while let Some(at) = rest.windows(rule.find.len()).position(|part| part == rule.find) {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(&rule.replace);
        rest = &rest[at + rule.find.len()..];
    }
    if rest.len() == body.len() {
        return None;
    }
    out.extend_from_slice(rest);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(config: &str, body: &[u8]) -> Option<Vec<u8>> {
        apply(&read(config.as_bytes()).unwrap().request, body)
    }

    #[test]
    fn each_occurrence_is_replaced_and_the_rest_is_kept() {
        let config = r#"{"request": [{"find": "cat", "replace": "horse"}]}"#;
        assert_eq!(after(config, b"a cat, a cat.").unwrap(), b"a horse, a horse.");
        assert_eq!(after(config, b"catcat").unwrap(), b"horsehorse");
    }

    #[test]
    fn a_body_in_which_nothing_is_found_is_left_alone() {
        assert_eq!(after(r#"{"request": [{"find": "cat", "replace": "x"}]}"#, b"dog ca"), None);
        assert_eq!(after(r#"{"request": [{"find": "cat", "replace": "x"}]}"#, b""), None);
    }

    #[test]
    fn rules_follow_each_other_and_none_looks_at_its_own_work_again() {
        let config =
            r#"{"request": [{"find": "a", "replace": "aa"}, {"find": "aa", "replace": "b"}]}"#;
        assert_eq!(after(config, b"aXa").unwrap(), b"bXb");
        assert_eq!(
            after(
                r#"{"request": [{"find": "z", "replace": "y"}, {"find": "a", "replace": "b"}]}"#,
                b"a"
            )
            .unwrap(),
            b"b"
        );
        assert_eq!(
            after(
                r#"{"request": [{"find": "a", "replace": "b"}, {"find": "z", "replace": "y"}]}"#,
                b"a"
            )
            .unwrap(),
            b"b"
        );
    }

    #[test]
    fn bytes_that_are_no_text_can_be_found_and_put_in() {
        let config = r#"{"request": [{"find": {"hex": "ff00"}, "replace": {"hex": "A1"}}]}"#;
        assert_eq!(after(config, b"x\xff\x00y").unwrap(), b"x\xa1y");
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_the_value() {
        for (config, named) in [
            (r#"{"request": [{"find": "", "replace": "x"}]}"#, "nothing to look for"),
            (r#"{"request": [{"find": "x"}]}"#, "replace is missing"),
            (r#"{"request": {"find": "x"}}"#, "must be a list"),
            (r#"{"requests": []}"#, "\"requests\""),
            (r#"{"request": [{"find": {"hex": "f"}, "replace": ""}]}"#, "hex"),
            ("nonsense", "nonsense"),
        ] {
            let refusal = read(config.as_bytes()).err().unwrap();
            assert!(refusal.contains(named), "{refusal}");
        }
    }
}
