//! [`EnvToken`].

use std::{
    env::{self, VarError},
    future::{Ready, ready},
    task::{Context, Poll},
};

use tower_service::Service;

use crate::{AccessToken, Expiry, LoginError, LoginRequest};

/// The token in a variable of the environment, used as a bearer token for ever. White space around it is dropped.
///
/// # Errors
///
/// A permanent [`LoginError`] that names the variable: it is not set, is not Unicode, or holds nothing that a header can.
#[derive(Clone, Debug)]
pub struct EnvToken {
    name: String,
}

impl EnvToken {
    /// The variable of this name, which is read at each login.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into() }
    }

    fn read(&self) -> Result<AccessToken, String> {
        let name = &self.name;
        let value = env::var(name).map_err(|error| match error {
            VarError::NotPresent => format!("the variable {name} is not set"),
            // The error's own text has the value.
            VarError::NotUnicode(_) => format!("the variable {name} is not Unicode"),
        })?;
        let token = AccessToken::bearer(value.trim()).map_err(|error| format!("the variable {name}: {error}"))?;
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
