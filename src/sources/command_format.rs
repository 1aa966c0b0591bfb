//! [`CommandFormat`]: what a command prints, and how the token is read from it.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::parse::parse_token;
use crate::{
    AccessToken, Expiry,
    json::{describe_position, seconds},
};

/// Selects how a [`CommandToken`](super::CommandToken) reads the output of its command. Defaults to
/// [`Token`](Self::Token).
///
/// ```
/// use tower_auth_refresh::sources::{CommandFormat, CommandToken};
///
/// let azure = CommandToken::new("az")
///     .args(["account", "get-access-token", "--resource", "https://management.azure.com"])
///     .format(CommandFormat::Json);
/// let google = CommandToken::new("gcloud")
///     .args(["config", "config-helper", "--format=json"])
///     .format(CommandFormat::Json);
/// let kubernetes = CommandToken::new("aws-iam-authenticator")
///     .args(["token", "-i", "my-cluster"])
///     .format(CommandFormat::ExecCredential);
/// # let _ = (azure, google, kubernetes);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CommandFormat {
    /// The token alone. White space around it is ignored. The expiry is read from the token if it is a JWT.
    #[default]
    Token,
    /// A JSON object, as OAuth 2 servers (RFC 6749, section 5.1) and the helpers of cloud providers print it.
    ///
    /// The token is `access_token`, `accessToken` (`az`) or `token`. The expiry is the earliest of:
    ///
    /// - `expires_in`: a number of seconds from the start of the command;
    /// - `expires_at`, `expires_on`, `expiresOn`, `expiry` (Go) or `token_expiry` (`gcloud`): a time of RFC 3339, or a
    ///   number of seconds since 1970.
    ///
    /// Numbers can be strings. The fields can be in an object `credential` (`gcloud config config-helper`). The year 1
    /// means that there is no expiry (Go). `az` prints `expiresOn` without a time zone; such a time is ignored. If
    /// there is no valid expiry, it is read from the token if that is a JWT. An invalid expiry is an error only if no
    /// other is known.
    Json,
    /// An `ExecCredential` of `client.authentication.k8s.io`, as a credential plugin of Kubernetes prints it, with
    /// `status.token` and perhaps `status.expirationTimestamp`. The command gets the variable `KUBERNETES_EXEC_INFO`.
    ExecCredential,
}

/// The names of a point in time.
const TIMES: [&str; 5] = ["expires_at", "expires_on", "expiry", "token_expiry", LOCAL_TIME];
/// Can be a local time without a time zone.
const LOCAL_TIME: &str = "expiresOn";
/// 9999-12-31T23:59:59Z. A larger number is not a count of seconds.
const MAX_SECONDS: u64 = 253_402_300_799;

#[derive(Deserialize)]
struct ExecCredential {
    status: Option<ExecStatus>,
}

#[derive(Deserialize)]
struct ExecStatus {
    token: Option<String>,
    #[serde(rename = "expirationTimestamp")]
    expires_at: Option<Value>,
}

impl CommandFormat {
    /// Reads the token. The error never shows the output.
    pub(super) fn read(self, output: &[u8]) -> Result<AccessToken, String> {
        match self {
            Self::Token => parse_token(output).map_err(|error| error.to_string()),
            Self::Json => {
                let output: Map<String, Value> = json(output)?;
                let fields = output.get("credential").and_then(Value::as_object).unwrap_or(&output);
                let secret = ["access_token", "accessToken", "token"]
                    .iter()
                    .find_map(|name| fields.get(*name)?.as_str());
                with_stated_expiry(bearer(secret)?, fields)
            }
            Self::ExecCredential => {
                let status =
                    json::<ExecCredential>(output)?.status.ok_or("output contains no status")?;
                let token = bearer(status.token.as_deref())?;
                match status.expires_at.map(|time| point_in_time(&time)) {
                    None | Some(Ok(None)) => Ok(token),
                    Some(Ok(Some(expires))) => Ok(token.with_expiry(Expiry::At(expires))),
                    Some(Err(Invalid)) => {
                        Err("output contains an invalid expirationTimestamp".to_owned())
                    }
                }
            }
        }
    }
}

/// For the fuzz target, which cannot start a process for each input.
#[cfg(fuzzing)]
impl CommandFormat {
    #[doc(hidden)]
    pub fn read_output(self, output: &[u8]) -> Result<AccessToken, String> {
        self.read(output)
    }
}

fn json<T: DeserializeOwned>(output: &[u8]) -> Result<T, String> {
    serde_json::from_slice(output)
        .map_err(|error| format!("output is {}", describe_position(&error)))
}

fn bearer(secret: Option<&str>) -> Result<AccessToken, String> {
    let secret = secret.ok_or("output contains no token")?;
    parse_token(secret.as_bytes()).map_err(|error| error.to_string())
}

/// Sets the earliest of the expiries that the fields state.
fn with_stated_expiry(
    token: AccessToken,
    fields: &Map<String, Value>,
) -> Result<AccessToken, String> {
    let mut invalid = None;
    let lifetime = stated(fields, "expires_in").and_then(|value| {
        let lifetime = seconds(value);
        invalid = lifetime.is_none().then_some("expires_in");
        lifetime
    });
    let mut expires: Option<SystemTime> = None;
    for name in TIMES {
        match stated(fields, name).map(point_in_time) {
            None | Some(Ok(None)) => {}
            Some(Ok(Some(time))) => {
                expires = Some(expires.map_or(time, |earliest| earliest.min(time)))
            }
            Some(Err(Invalid)) if name == LOCAL_TIME => {}
            Some(Err(Invalid)) => invalid = Some(name),
        }
    }
    match (expires, lifetime, invalid) {
        (Some(expires), lifetime, _) => {
            Ok(token.with_expiry(Expiry::At(expires)).with_max_lifetime(lifetime))
        }
        (None, Some(lifetime), _) => Ok(token.with_expires_in(lifetime)),
        (None, None, Some(name)) if token.expiry() == Expiry::Unknown => {
            Err(format!("output contains an invalid {name}"))
        }
        (None, None, _) => Ok(token),
    }
}

fn stated<'a>(fields: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    fields.get(name).filter(|value| !value.is_null())
}

/// Not a point in time.
struct Invalid;

/// Reads a time of RFC 3339, or a number of seconds since 1970. Returns `None` for the zero time of Go.
fn point_in_time(value: &Value) -> Result<Option<SystemTime>, Invalid> {
    let since_epoch = match value.as_str().map(|text| OffsetDateTime::parse(text.trim(), &Rfc3339))
    {
        Some(Ok(time)) if time.year() == 1 => return Ok(None),
        // A time before 1970 has expired too.
        Some(Ok(time)) => Duration::from_secs(time.unix_timestamp().try_into().unwrap_or_default()),
        _ => seconds(value).filter(|seconds| seconds.as_secs() <= MAX_SECONDS).ok_or(Invalid)?,
    };
    SystemTime::UNIX_EPOCH
        .checked_add(Duration::from_secs(since_epoch.as_secs()))
        .map(Some)
        .ok_or(Invalid)
}
