//! One change of a header map or a body.

use serde_json::Value;

use crate::config::{one_of, place};
use crate::{host, settings};

const MAPS: [(&str, u32); 4] = [
    ("request_headers", host::REQUEST_HEADERS),
    ("request_trailers", host::REQUEST_TRAILERS),
    ("response_headers", host::RESPONSE_HEADERS),
    ("response_trailers", host::RESPONSE_TRAILERS),
];

const BODIES: [(&str, u32); 2] =
    [("request_body", host::REQUEST_BODY), ("response_body", host::RESPONSE_BODY)];

pub enum Target {
    Map(u32),
    Body(u32),
}

pub struct Edit {
    pub at: String,
    pub place: String,
    pub target: Target,
    pub op: String,
    pub name: String,
    pub value: Vec<u8>,
    pub pairs: Vec<(String, Vec<u8>)>,
    pub start: u32,
    pub size: u32,
    /// Only in the call that ends the stream.
    pub at_end: bool,
}

pub fn read(value: &Value) -> Result<Edit, String> {
    let all = settings::members(
        "an edit",
        value,
        &["where", "at", "op", "name", "value", "pairs", "start", "size", "at_end"],
    )?;
    let known = MAPS.iter().chain(&BODIES).map(|(name, _)| *name).collect::<Vec<_>>();
    let place_named = one_of(all, "where", None, &known)?;
    let number = |table: &[(&str, u32)]| {
        table.iter().find(|(name, _)| *name == place_named).map(|(_, number)| *number)
    };
    let (target, ops): (Target, &[&str]) = match (number(&MAPS), number(&BODIES)) {
        (Some(map), _) => (Target::Map(map), &["add", "replace", "remove", "set"]),
        (None, body) => {
            let body = body.unwrap_or_default();
            (Target::Body(body), &["append", "prepend", "replace", "splice"])
        }
    };
    Ok(Edit {
        at: place(all, "at")?.unwrap_or_else(|| place_named.clone()),
        target,
        op: one_of(all, "op", None, ops)?,
        name: settings::text(all, "name")?.unwrap_or_default(),
        value: all.get("value").map_or(Ok(Vec::new()), |value| settings::bytes("value", value))?,
        pairs: settings::pairs(all, "pairs")?,
        start: settings::number(all, "start", 0, 0..=u32::MAX)?,
        size: settings::number(all, "size", u32::MAX, 0..=u32::MAX)?,
        at_end: settings::switch(all, "at_end")?,
        place: place_named,
    })
}
