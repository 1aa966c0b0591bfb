//! [`DeviceResponse`]: the response of the device authorization endpoint (RFC 8628, section 3.2).

use std::time::Duration;

use http::Uri;
use zeroize::Zeroizing;

use crate::{
    json::seconds,
    oauth2::{response_fields::ResponseFields, server::validate_url},
};

const DEFAULT_INTERVAL: Duration = Duration::from_secs(5);
/// A server that requests no pause at all must not be flooded.
const MIN_INTERVAL: Duration = Duration::from_secs(1);
/// The longest login. No person needs longer.
const MAX_LIFETIME: Duration = Duration::from_secs(60 * 60);
/// A person types the code.
const MAX_USER_CODE: usize = 64;

pub(super) struct DeviceResponse {
    pub(super) device_code: Zeroizing<String>,
    pub(super) user_code: String,
    pub(super) verification_uri: String,
    pub(super) verification_uri_complete: Option<String>,
    pub(super) lifetime: Duration,
    pub(super) interval: Duration,
}

impl DeviceResponse {
    /// Reads a response of this endpoint, or returns why it is invalid.
    ///
    /// The code and the URLs appear in a terminal, so they must not contain escape sequences for it.
    pub(super) fn read(
        fields: &ResponseFields,
        endpoint: &Uri,
        plaintext: bool,
    ) -> Result<Self, String> {
        let text = |name: &str| fields.text(name).ok_or_else(|| format!("{name} is missing"));
        let device_code = Zeroizing::new(text("device_code")?.to_owned());
        let user_code = text("user_code")?;
        let is_typable = |byte: u8| byte == b' ' || byte.is_ascii_graphic();
        if user_code.len() > MAX_USER_CODE || !user_code.bytes().all(is_typable) {
            return Err("user_code is not printable, or too long".to_owned());
        }
        // The second name is Google's, from before the standard.
        let uri = fields.text("verification_uri").or_else(|| fields.text("verification_url"));
        let uri = uri.ok_or("verification_uri is missing")?;
        let verification_uri = shown_url(uri, endpoint, plaintext)
            .map_err(|cause| format!("verification_uri {cause}"))?;
        // The login is possible without it.
        let verification_uri_complete = fields
            .text("verification_uri_complete")
            .and_then(|uri| shown_url(uri, endpoint, plaintext).ok());
        let lifetime = fields.get("expires_in").and_then(seconds);
        let lifetime = lifetime.ok_or("expires_in is missing or invalid")?.min(MAX_LIFETIME);
        let interval = fields.get("interval").and_then(seconds).unwrap_or(DEFAULT_INTERVAL);
        let interval = interval.max(MIN_INTERVAL);
        if interval >= lifetime {
            return Err("interval is not shorter than expires_in".to_owned());
        }
        Ok(Self {
            device_code,
            user_code: user_code.to_owned(),
            verification_uri,
            verification_uri_complete,
            lifetime,
            interval,
        })
    }
}

/// Checks a page that a person opens. Returns its URL in ASCII, with all other characters escaped.
fn shown_url(text: &str, endpoint: &Uri, plaintext: bool) -> Result<String, String> {
    let (url, _) = validate_url(text, plaintext).map_err(|reason| reason.to_string())?;
    // A remote server must not send a person to a service on the loopback.
    if url.scheme() == "http" && endpoint.scheme_str() != Some("http") && !plaintext {
        return Err("is plain http, but the endpoint is not".to_owned());
    }
    Ok(url.into())
}
