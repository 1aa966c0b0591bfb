//! [`TokenResponse`]: the response of a token endpoint (RFC 6749, sections 5.1 and 5.2).

use std::{fmt, sync::Arc, time::Duration};

use serde_json::{Map, Value};

use super::{
    RefreshToken,
    error_kind::{ErrorResponse, Kind, is_known_code},
    lifetime::{self, ResponseTime},
    response_fields::{ErrorFields, ResponseFields},
};
use crate::{
    AccessToken, Expiry,
    json::seconds,
    transport::{Received, date, redact},
};

/// The hook for the fields of a response.
type Inspect = Arc<dyn Fn(&Map<String, Value>) + Send + Sync>;

/// How token responses are read.
#[derive(Clone, Default)]
pub(super) struct ResponseSettings {
    pub(super) use_id_token: bool,
    /// The token types that are accepted beside `Bearer`.
    pub(super) token_types: Vec<String>,
    pub(super) inspect: Option<Inspect>,
}

/// A token response: the token, or why there is none.
pub(super) struct TokenResponse {
    /// The next refresh token. It can be the only valid one, even if the rest of the response is invalid.
    pub(super) refresh_token: Option<RefreshToken>,
    pub(super) token: Result<AccessToken, Kind>,
    /// The lifetime of the refresh token.
    pub(super) refresh_token_lifetime: Option<Duration>,
    /// The fields that are not tokens.
    pub(super) fields: Map<String, Value>,
}

impl From<Kind> for TokenResponse {
    fn from(kind: Kind) -> Self {
        Self {
            refresh_token: None,
            token: Err(kind),
            refresh_token_lifetime: None,
            fields: Map::new(),
        }
    }
}

impl ResponseSettings {
    /// Calls the hook of the user.
    pub(super) fn inspect(&self, fields: &Map<String, Value>) {
        if let Some(inspect) = &self.inspect {
            inspect(fields);
        }
    }

    /// Reads a response. No error shows one of the `secrets`, or what may be a token.
    pub(super) fn read(&self, response: Received, secrets: &[&str]) -> TokenResponse {
        let success = response.head.status.is_success();
        let time = ResponseTime { server: date(&response.head.headers), local: response.now };
        let (fields, error) = match read_fields(response, secrets) {
            Ok(read) => read,
            Err(kind) => return kind.into(),
        };
        let token = match error {
            Some(error) => Err(error),
            None => self.token(&fields, time, &|text: &str| redact(text.as_bytes(), secrets)),
        };
        let refresh_token = fields.text("refresh_token").filter(|_| success).map(RefreshToken::new);
        let refresh_token_lifetime = lifetime::of_refresh_token(&fields);
        TokenResponse {
            refresh_token,
            token,
            refresh_token_lifetime,
            fields: fields.without_tokens(),
        }
    }

    fn token(
        &self,
        fields: &ResponseFields,
        time: ResponseTime,
        redact: &impl Fn(&str) -> String,
    ) -> Result<AccessToken, Kind> {
        let (name, expiry): (_, fn(&_, &_, _) -> Expiry) = match self.use_id_token {
            true => ("id_token", lifetime::of_id_token),
            false => ("access_token", lifetime::of_access_token),
        };
        let secret = match fields.get(name) {
            Some(Value::String(secret)) => secret,
            Some(_) => return Err(Kind::InvalidResponse(format!("{name} is not a string"))),
            None => return Err(Kind::InvalidResponse(format!("{name} is missing"))),
        };
        if !self.use_id_token {
            self.check_type(fields, redact)?;
        }
        let token = AccessToken::bearer(secret).map_err(Kind::InvalidToken)?;
        let token = token.with_expiry(expiry(fields, secret, time));
        // Not standardized, so an invalid value is not an error.
        let refresh_in = fields.get("refresh_in").and_then(seconds);
        Ok(match refresh_in {
            Some(after) => token.with_refresh_in(after),
            None => token,
        })
    }

    /// Checks `token_type`. It is required, but some servers omit it or leave it empty.
    fn check_type(
        &self,
        fields: &ResponseFields,
        redact: &impl Fn(&str) -> String,
    ) -> Result<(), Kind> {
        let token_type = match fields.get("token_type") {
            None => return Ok(()),
            Some(Value::String(token_type)) => token_type.trim(),
            Some(_) => return Err(Kind::InvalidResponse("token_type is not a string".to_owned())),
        };
        let accepted =
            ["", "Bearer"].into_iter().chain(self.token_types.iter().map(String::as_str));
        match accepted.into_iter().any(|accepted| token_type.eq_ignore_ascii_case(accepted)) {
            true => Ok(()),
            false => Err(Kind::TokenType(redact(token_type))),
        }
    }
}

/// Reads the fields of a response, and the error that they state. Fails if there are no fields.
pub(super) fn read_fields(
    response: Received,
    secrets: &[&str],
) -> Result<(ResponseFields, Option<Kind>), Kind> {
    let retry_after = response.retry_after();
    let Received { head, body, .. } = response;
    let success = head.status.is_success();
    let body = match body {
        Ok(body) => body,
        Err(error) if success => return Err(Kind::Transport(error)),
        // The status of an error counts without a complete body.
        Err(error) => {
            return Err(Kind::ErrorResponse(ErrorResponse {
                status: head.status,
                code: None,
                description: error.to_string(),
                retry_after,
            }));
        }
    };
    let redact = |text: &str| redact(text.as_bytes(), secrets);
    let error_response = |(code, description): ErrorFields<'_>| {
        // A code of the standard is not secret, even if it contains a secret.
        let code =
            code.map(|code| if is_known_code(code) { code.to_owned() } else { redact(code) });
        Kind::ErrorResponse(ErrorResponse {
            status: head.status,
            code,
            description: description.map(redact).unwrap_or_default(),
            retry_after,
        })
    };
    // A response without an error code comes from another server, such as a proxy.
    let foreign = || {
        let text = String::from_utf8_lossy(&body);
        error_response((None, Some(&*text).filter(|text| !may_contain_token(text))))
    };
    let fields = match ResponseFields::parse(&head.headers, &body) {
        Ok(fields) => fields,
        Err(_) if !success => return Err(foreign()),
        Err(cause) => return Err(Kind::InvalidResponse(cause)),
    };
    let error = match fields.error() {
        // Some servers return an error with status 200.
        Some(error) => Some(error_response(error)),
        None => (!success).then(foreign),
    };
    Ok((fields, error))
}

/// Returns whether a response other than a success may contain a token, such as a proxy's page around a token response.
fn may_contain_token(body: &str) -> bool {
    let body = body.to_ascii_lowercase();
    ["_token", "accesstoken", "refreshtoken", "idtoken"].iter().any(|name| body.contains(name))
}

impl fmt::Debug for ResponseSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseSettings")
            .field("use_id_token", &self.use_id_token)
            .field("token_types", &self.token_types)
            .finish_non_exhaustive()
    }
}
