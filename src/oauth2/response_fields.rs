//! [`ResponseFields`]: the fields of a token response, each read for itself.

use std::collections::BTreeMap;

use http::{HeaderMap, header::CONTENT_TYPE};
use serde::Deserialize;
use serde_json::{Deserializer, Map, Value, value::RawValue};
use url::form_urlencoded;

use crate::json::describe_position;

/// One of these is in every token response, and in every device authorization response.
const KNOWN_FIELDS: [&str; 4] = ["access_token", "id_token", "device_code", "error"];
/// What the hook for further fields does not get.
const TOKENS: [&str; 3] = ["access_token", "id_token", "refresh_token"];

/// The fields of a token response. A field that cannot be read is null, and does not hide the others.
pub(super) struct ResponseFields(Map<String, Value>);

/// The error code and its description. Either can be missing.
pub(super) type ErrorFields<'a> = (Option<&'a str>, Option<&'a str>);

impl ResponseFields {
    /// Reads JSON (RFC 6749, section 5.1), or the form encoding that some servers use.
    pub(super) fn parse(headers: &HeaderMap, body: &[u8]) -> Result<Self, String> {
        from_json(body).or_else(|error| {
            let form = if may_be_form(headers) { from_form(body) } else { None };
            form.ok_or_else(|| describe_position(&error))
        })
    }

    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    /// Returns the text of a field, unless it is empty.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.get(name)?.as_str().filter(|text| !text.is_empty())
    }

    /// Returns the error (RFC 6749, section 5.2), if there is one. Some servers return it as an object.
    pub(super) fn error(&self) -> Option<ErrorFields<'_>> {
        let description = self.text("error_description");
        match self.get("error")? {
            Value::String(code) if !code.is_empty() => Some((Some(code), description)),
            Value::Object(error) => {
                let first = |names: &[&str]| {
                    let text =
                        |name: &&str| error.get(*name)?.as_str().filter(|text| !text.is_empty());
                    names.iter().find_map(text)
                };
                let code = first(&["code", "error", "type", "status"]);
                let description =
                    first(&["message", "error_description", "description"]).or(description);
                (code.is_some() || description.is_some()).then_some((code, description))
            }
            _ => None,
        }
    }

    /// Returns the fields that are not tokens.
    pub(super) fn without_tokens(mut self) -> Map<String, Value> {
        self.0.retain(|name, _| !TOKENS.contains(&&**name));
        self.0
    }
}

fn from_json(body: &[u8]) -> serde_json::Result<ResponseFields> {
    // A byte in another encoding, a number out of range or a deep value may spoil its own field only.
    let text = String::from_utf8_lossy(body);
    let fields = BTreeMap::<String, &RawValue>::deserialize(&mut Deserializer::from_str(&text))?;
    let value = |value: &RawValue| serde_json::from_str(value.get()).unwrap_or_default();
    Ok(ResponseFields(fields.into_iter().map(|(name, raw)| (name, value(raw))).collect()))
}

fn may_be_form(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(CONTENT_TYPE) else { return true };
    let media_type =
        value.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
    ["application/x-www-form-urlencoded", "text/plain"]
        .iter()
        .any(|form| media_type.eq_ignore_ascii_case(form))
}

fn from_form(body: &[u8]) -> Option<ResponseFields> {
    let fields: Map<_, _> = form_urlencoded::parse(body)
        .map(|(name, value)| (name.into_owned(), Value::String(value.into_owned())))
        .collect();
    KNOWN_FIELDS.iter().any(|name| fields.contains_key(*name)).then_some(ResponseFields(fields))
}
