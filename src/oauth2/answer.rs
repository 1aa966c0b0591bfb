//! What a token endpoint's answer says (RFC 6749, sections 5.1 and 5.2).

use http::StatusCode;
use serde_json::{Map, Value};

use super::{
    RefreshToken,
    error::{Kind, Refusal, is_standard},
};
use crate::{
    AccessToken, Expiry,
    exchange::{Received, date, excerpt, retry_after},
    json::{describe_position, seconds},
};

/// An answer: the token, or why there is none.
pub(super) struct Answer {
    /// The next refresh token, which may be the only one that is good now, whatever is wrong with the rest.
    pub(super) refresh_token: Option<RefreshToken>,
    pub(super) token: Result<AccessToken, Kind>,
}

impl From<Kind> for Answer {
    fn from(kind: Kind) -> Self {
        Self { refresh_token: None, token: Err(kind) }
    }
}

/// Reads an answer, each field by itself; no error shows one of the `secrets`, nor what may be a token.
pub(super) fn read(received: Received, secrets: &[&str]) -> Answer {
    let Received { ref head, body, .. } = received;
    if head.status.is_redirection() && head.status != StatusCode::NOT_MODIFIED {
        return Kind::Redirect(head.status).into();
    }
    let success = head.status.is_success();
    let body = match body {
        Err(broken) if success => return Kind::Broken(broken).into(),
        // The status counts, though the body did not come whole or in time.
        body => body.unwrap_or_default(),
    };
    let shown = |text: &str| excerpt(text.as_bytes(), secrets);
    let server_time = date(&head.headers);
    let refused = |code: Option<&str>, said: Option<&str>| {
        let retry_after = retry_after(&head.headers, server_time.unwrap_or(received.now));
        let said = said.map(shown).unwrap_or_default();
        // A known code is no secret, though a secret may be a part of it.
        let code = code.map(|code| if is_standard(code) { code.to_owned() } else { shown(code) });
        Kind::Refused(Refusal { status: head.status, code, said, retry_after })
    };
    // An answer without a code is not the server's own.
    let foreign = || {
        let body = String::from_utf8_lossy(&body);
        refused(None, Some(&*body).filter(|body| !may_hold_token(body)))
    };
    let fields = match serde_json::from_slice::<Map<String, Value>>(&body) {
        Ok(fields) => fields,
        Err(_) if !success => return foreign().into(),
        Err(error) => return Kind::Malformed(describe_position(&error)).into(),
    };
    let text = |name: &str| fields.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    let token = match text("error") {
        // Some answer an error with 200.
        Some(code) => Err(refused(Some(code), text("error_description"))),
        None if !success => Err(foreign()),
        None => token(&fields, &shown).map(|token| match token.expiry() {
            Expiry::Unknown => {
                let expiry = Expiry::from_jwt(token.secret(), server_time, received.now);
                token.with_expiry(expiry)
            }
            _ => token,
        }),
    };
    Answer { refresh_token: text("refresh_token").filter(|_| success).map(RefreshToken::new), token }
}

fn token(fields: &Map<String, Value>, shown: &impl Fn(&str) -> String) -> Result<AccessToken, Kind> {
    let malformed = |what: &str| Kind::Malformed(what.to_owned());
    match fields.get("token_type") {
        // Required, and yet some leave it out where there is but one.
        None | Some(Value::Null) => {}
        Some(Value::String(said)) if said.eq_ignore_ascii_case("bearer") => {}
        Some(Value::String(said)) => return Err(Kind::TokenType(shown(said))),
        Some(_) => return Err(malformed("token_type is no text")),
    }
    let secret = match fields.get("access_token") {
        Some(Value::String(secret)) => secret,
        Some(Value::Null) | None => return Err(malformed("there is no access_token")),
        Some(_) => return Err(malformed("access_token is no text")),
    };
    let mut token = AccessToken::bearer(secret).map_err(Kind::InvalidToken)?;
    match fields.get("expires_in") {
        Some(Value::Null) | None => {}
        Some(value) => {
            let lifetime = seconds(value).ok_or_else(|| malformed("expires_in is no number of seconds"))?;
            token = token.with_expires_in(lifetime);
        }
    }
    // When the issuer would have the token refreshed. No standard, and so no error.
    if let Some(after) = fields.get("refresh_in").and_then(seconds) {
        token = token.with_refresh_in(after);
    }
    Ok(token)
}

/// Whether an answer that is no success may hold one all the same, such as a proxy's page around it.
fn may_hold_token(body: &str) -> bool {
    let body = body.to_ascii_lowercase();
    ["_token", "accesstoken", "refreshtoken"].iter().any(|name| body.contains(name))
}
