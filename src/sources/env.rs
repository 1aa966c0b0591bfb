//! [`EnvToken`]: the token in an environment variable.

use std::{
    env::{self, VarError},
    future::{Ready, ready},
    task::{Context, Poll},
};

use tower_service::Service;

use crate::{AccessToken, Expiry, LoginError, LoginRequest};

/// Reads a bearer token from an environment variable, as a login service. The token never expires.
///
/// Each login reads the variable. White space around the token is ignored.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), tower::BoxError> {
/// use tower_auth_refresh::{AuthRefresher, sources::EnvToken};
///
/// # let name = "CARGO_PKG_NAME";
/// # let _ = r#"
/// let name = "API_TOKEN";
/// # "#;
/// let refresher = AuthRefresher::new(EnvToken::new(name));
/// assert_eq!(refresher.token().await?.secret(), std::env::var(name)?);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// A login fails with a permanent [`LoginError`] if the variable is not set, is not Unicode, or is not a valid [bearer
/// token](AccessToken::bearer). The error names the variable.
#[derive(Clone, Debug)]
pub struct EnvToken {
    name: String,
}

impl EnvToken {
    /// Creates a login service for the variable of this name. Does not read it yet.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into() }
    }

    fn read(&self) -> Result<AccessToken, String> {
        let name = &self.name;
        let value = env::var(name).map_err(|error| match error {
            VarError::NotPresent => format!("environment variable {name} is not set"),
            // The error's own message contains the value.
            VarError::NotUnicode(_) => format!("environment variable {name} is not Unicode"),
        })?;
        let token = AccessToken::bearer(value.trim());
        let token = token.map_err(|error| format!("environment variable {name}: {error}"))?;
        Ok(token.with_expiry(Expiry::Never).with_unknown_age())
    }
}

impl Service<LoginRequest> for EnvToken {
    type Response = AccessToken;
    type Error = LoginError;
    type Future = Ready<Result<AccessToken, LoginError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), LoginError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: LoginRequest) -> Self::Future {
        ready(self.read().map_err(LoginError::permanent))
    }
}
