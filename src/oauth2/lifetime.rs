//! How long a granted token lives, by the fields of the response, its `Date` and the token itself.

use std::time::{Duration, SystemTime};

use super::response_fields::ResponseFields;
use crate::{Expiry, json::seconds, telemetry};

/// 9999-12-31T23:59:59Z. A larger number is not a count of seconds; most likely it counts milliseconds.
const MAX_SECONDS: u64 = 253_402_300_799;

/// The clocks at the time of the response.
#[derive(Clone, Copy)]
pub(super) struct ResponseTime {
    /// The `Date` of the response.
    pub(super) server: Option<SystemTime>,
    pub(super) local: SystemTime,
}

/// Returns the expiry of an access token.
///
/// By the server's clock, the least lifetime counts: a cached response repeats the full `expires_in` of an older token.
pub(super) fn of_access_token(fields: &ResponseFields, token: &str, time: ResponseTime) -> Expiry {
    let stated = expires_in(fields).or_else(|| expires_at(fields, time));
    match (stated, jwt(token, time)) {
        (Some(Expiry::In(stated)), Expiry::In(left)) if time.server.is_some() => {
            Expiry::In(stated.min(left))
        }
        (Some(stated), _) => stated,
        (None, jwt) => jwt,
    }
}

/// Returns the expiry of an ID token. The stated lifetime is that of the access token.
pub(super) fn of_id_token(fields: &ResponseFields, token: &str, time: ResponseTime) -> Expiry {
    match jwt(token, time) {
        Expiry::Unknown => of_access_token(fields, token, time),
        jwt => jwt,
    }
}

/// Returns when the refresh token expires. Zero means never (Keycloak).
pub(super) fn of_refresh_token(fields: &ResponseFields) -> Option<Duration> {
    ["refresh_expires_in", "refresh_token_expires_in"]
        .iter()
        .find_map(|name| fields.get(name).and_then(seconds))
        .filter(|lifetime| !lifetime.is_zero())
}

fn jwt(token: &str, time: ResponseTime) -> Expiry {
    Expiry::from_jwt(token, time.server, time.local)
}

/// Reads `expires_in` (RFC 6749, section 5.1).
fn expires_in(fields: &ResponseFields) -> Option<Expiry> {
    let lifetime = seconds(fields.get("expires_in")?);
    if lifetime.is_none() {
        telemetry::invalid_lifetime("expires_in");
    }
    lifetime.map(Expiry::In)
}

/// Reads the absolute expiry that some servers return, in seconds since 1970.
fn expires_at(fields: &ResponseFields, time: ResponseTime) -> Option<Expiry> {
    let (name, value) =
        ["expires_at", "expires_on"].iter().find_map(|name| Some((*name, fields.get(name)?)))?;
    let since_1970 = seconds(value).filter(|at| !at.is_zero() && at.as_secs() <= MAX_SECONDS);
    let Some(at) = since_1970.and_then(|since_1970| SystemTime::UNIX_EPOCH.checked_add(since_1970))
    else {
        telemetry::invalid_lifetime(name);
        return None;
    };
    Some(match time.server {
        Some(server) => Expiry::In(at.duration_since(server).unwrap_or_default()),
        None => Expiry::At(at),
    })
}
