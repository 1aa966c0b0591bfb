//! [`Error`]: why a call failed.

use std::fmt;

use super::destination::UnsafeDestination;
#[cfg(feature = "keyed")]
use crate::KeyError;
use crate::{error::BoxError, login::LoginError};

/// The error of a call of [`AuthRefresh`](crate::AuthRefresh).
///
/// Its [source](std::error::Error::source) is the cause: a [`LoginError`], an [`UnsafeDestination`], or the error of
/// the inner service. [`into_source`](Self::into_source) returns the cause itself, for a stack that inspects the inner
/// service's errors:
///
/// ```
/// use tower::{BoxError, ServiceBuilder, ServiceExt, service_fn};
/// use tower_auth_refresh::{AccessToken, AuthRefreshLayer, Error, LoginRequest};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let login = service_fn(|_: LoginRequest| async { AccessToken::bearer("abc") });
/// let client = ServiceBuilder::new()
///     .map_err(Error::into_source)
///     .layer(AuthRefreshLayer::with_login(login))
///     .service_fn(|_: http::Request<()>| async { Err::<http::Response<()>, BoxError>("connection reset".into()) });
///
/// let request = http::Request::get("https://api.example.com/").body(()).unwrap();
/// assert_eq!(client.oneshot(request).await.unwrap_err().to_string(), "connection reset");
/// # }
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// No token became available. The request was not sent.
    Login(LoginError),
    /// The destination is not allowed to receive the token. The request was not sent.
    Destination(UnsafeDestination),
    /// There is no refresher for the request's key, or the request has no key. The request was not sent.
    #[cfg(feature = "keyed")]
    #[cfg_attr(docsrs, doc(cfg(feature = "keyed")))]
    Key(KeyError),
    /// The inner service failed.
    Inner(BoxError),
}

impl Error {
    pub(crate) fn from_inner(error: impl Into<BoxError>) -> Self {
        Self::Inner(error.into())
    }

    /// Returns the cause, without this error around it.
    pub fn into_source(self) -> BoxError {
        match self {
            Self::Login(error) => error.into(),
            Self::Destination(error) => error.into(),
            #[cfg(feature = "keyed")]
            Self::Key(error) => error.into(),
            Self::Inner(error) => error,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Login(_) => "no access token available",
            #[cfg(feature = "keyed")]
            Self::Key(_) => "no identity for the request",
            Self::Destination(_) => "destination not allowed for the access token",
            Self::Inner(_) => "inner service failed",
        })
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(match self {
            Self::Login(error) => error,
            Self::Destination(error) => error,
            #[cfg(feature = "keyed")]
            Self::Key(error) => error,
            Self::Inner(error) => &**error,
        })
    }
}
