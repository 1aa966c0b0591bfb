//! [`LoginError`]: why there is no token.

use std::{error::Error, fmt, sync::Arc, time::Duration};

use crate::{
    error::{BoxError, chain},
    panic,
};

/// The longest chain of causes that a timeout retains.
const MAX_CAUSES: usize = 16;

/// Reports why a login, or a wait for a token, failed.
///
/// A login service returns a `LoginError` to state whether a retry can help, and when. Any other error of a login
/// service counts as [transient](Self::transient). Cloning is cheap, because all callers that wait for one login share
/// its error. The cause is the error's [source](std::error::Error::source).
///
/// ```
/// use std::{error::Error, time::Duration};
/// use tower_auth_refresh::LoginError;
///
/// let error = LoginError::transient("too many requests").with_retry_after(Duration::from_secs(30));
/// assert_eq!(error.to_string(), "login failed");
/// assert_eq!(error.source().unwrap().to_string(), "too many requests");
/// assert!(!error.is_permanent());
/// ```
#[derive(Clone)]
pub struct LoginError(Arc<Inner>);

struct Inner {
    kind: Kind,
    retry_after: Option<Duration>,
    source: Option<BoxError>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Transient,
    Permanent,
    /// The login exceeded `login_timeout`.
    LoginTimeout(Duration),
    /// The caller exceeded `wait_timeout`.
    WaitTimeout(Duration),
    /// The caller exceeded `wait_timeout`, and the worker's runtime is not driven.
    Undriven(Duration),
    Panicked,
    ExpiredOnArrival,
    /// The login returned the current token, or the rejected one.
    SameToken,
    /// The login service waits for the token of its own refresher.
    Reentrant,
    NoRuntime,
    WorkerEnded,
    ShutDown,
}

impl LoginError {
    /// Creates an error after which a retry can succeed: a network failure, an overloaded server, or an unknown cause.
    pub fn transient(cause: impl Into<BoxError>) -> Self {
        Self::new(Kind::Transient, Some(cause.into()))
    }

    /// Creates an error that lasts until a person acts, such as a wrong password or a revoked client.
    ///
    /// The refresher retries the login at most twice while the token is valid. Without a valid token, a call that needs
    /// one causes a login, at most once in each pause. So a corrected password needs no restart.
    ///
    /// A login that returns `anyhow::Result` or `eyre::Result` hides this error; see
    /// [`login_fn`](crate::login_fn).
    pub fn permanent(cause: impl Into<BoxError>) -> Self {
        Self::new(Kind::Permanent, Some(cause.into()))
    }

    /// Sets the delay that the issuer requests (`Retry-After`, RFC 9110, section 10.2.3). The refresher waits for at
    /// most 5 minutes.
    #[must_use]
    pub fn with_retry_after(self, delay: Duration) -> Self {
        let source = match Arc::try_unwrap(self.0) {
            Ok(inner) => {
                return Self(Arc::new(Inner { retry_after: Some(delay), ..inner }));
            }
            Err(shared) => Self(shared),
        };
        Self(Arc::new(Inner {
            kind: source.0.kind,
            retry_after: Some(delay),
            source: Some(source.into()),
        }))
    }

    pub(crate) fn new(kind: Kind, source: Option<BoxError>) -> Self {
        Self(Arc::new(Inner { kind, retry_after: None, source }))
    }

    /// Creates a timeout. `last` is the error of the last login.
    ///
    /// Bounds the chain: only the cause before a series of timeouts is retained. A chain of more than 16 causes is
    /// dropped. So is one with a `source` that panics. This calls `source` on user errors, so do not call it under a lock.
    pub(crate) fn timed_out(kind: Kind, last: Option<&Self>) -> Self {
        let cause = match last {
            Some(last) if last.is_timeout() => {
                last.0.source.as_ref().and_then(|source| source.downcast_ref::<Self>())
            }
            last => last,
        };
        let is_short =
            |cause: &Self| panic::catch(|| chain(cause).nth(MAX_CAUSES).is_none()).unwrap_or(false);
        let cause = cause.filter(|cause| is_short(cause));
        Self::new(kind, cause.map(|cause| cause.clone().into()))
    }

    /// Converts the error of a login service.
    ///
    /// A `LoginError` among its causes decides whether it is permanent, and when to retry. Other kinds of `LoginError`
    /// come from another refresher, and count as transient here.
    pub(crate) fn from_service(error: BoxError) -> Self {
        let error = match error.downcast::<Self>() {
            Ok(login) if matches!(login.0.kind, Kind::Transient | Kind::Permanent) => {
                return *login;
            }
            Ok(other) => other as BoxError,
            Err(other) => other,
        };
        let classified = chain(&*error).find_map(|error| error.downcast_ref::<Self>());
        let kind = if classified.is_some_and(Self::is_permanent) {
            Kind::Permanent
        } else {
            Kind::Transient
        };
        let retry_after = classified.and_then(Self::retry_after);
        Self(Arc::new(Inner { kind, retry_after, source: Some(error) }))
    }

    /// Returns the first `LoginError` among an error and its causes. It works for any error type that has
    /// [sources](Error::source), such as `anyhow::Error` or a `tonic::Status`.
    ///
    /// A wrapper that delegates its own `source` hides it: `#[error(transparent)]` over a `LoginError` itself, or a
    /// `BoxError` made of an `anyhow::Error`. Over [`Error`](crate::Error), `transparent` hides nothing.
    ///
    /// ```
    /// use tower_auth_refresh::{BoxError, Error, LoginError};
    ///
    /// let error: BoxError = Error::Login(LoginError::permanent("invalid_client")).into();
    /// assert!(LoginError::find(&*error).is_some_and(LoginError::is_permanent));
    /// ```
    pub fn find<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a Self> {
        chain(error).find_map(|error| error.downcast_ref())
    }

    #[cfg(feature = "tonic-0_14")]
    pub(crate) fn kind(&self) -> Kind {
        self.0.kind
    }

    /// Returns whether the error lasts until a person acts.
    pub fn is_permanent(&self) -> bool {
        self.0.kind == Kind::Permanent
    }

    /// Returns whether the login exceeded [`login_timeout`], or the wait exceeded [`wait_timeout`].
    ///
    /// [`login_timeout`]: crate::AuthRefresherBuilder::login_timeout
    /// [`wait_timeout`]: crate::AuthRefresherBuilder::wait_timeout
    pub fn is_timeout(&self) -> bool {
        matches!(self.0.kind, Kind::LoginTimeout(_) | Kind::WaitTimeout(_) | Kind::Undriven(_))
    }

    /// Returns whether the wait timed out because the login's runtime is not driven: nothing polls its tasks.
    ///
    /// A current-thread runtime makes progress only inside its `block_on`.
    /// [`AuthRefresherBuilder::runtime`](crate::AuthRefresherBuilder::runtime) names another runtime.
    pub fn is_undriven(&self) -> bool {
        matches!(self.0.kind, Kind::Undriven(_))
    }

    /// Returns whether the refresher has been [shut down](crate::AuthRefresher::shutdown).
    pub fn is_shut_down(&self) -> bool {
        self.0.kind == Kind::ShutDown
    }

    /// Returns whether the login returned the current token, or the rejected one.
    pub(crate) fn is_same_token(&self) -> bool {
        self.0.kind == Kind::SameToken
    }

    /// Returns the delay that the issuer requests, if any.
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }
}

impl fmt::Display for LoginError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.kind {
            Kind::Transient => f.write_str("login failed"),
            Kind::Permanent => f.write_str("login failed permanently"),
            Kind::LoginTimeout(limit) => write!(f, "login timed out after {limit:?}"),
            Kind::WaitTimeout(limit) => write!(f, "wait for a token timed out after {limit:?}"),
            Kind::Undriven(limit) => {
                write!(
                    f,
                    "wait for a token timed out because the login's runtime is not driven, after {limit:?}"
                )
            }
            Kind::Panicked => f.write_str("login service panicked"),
            Kind::ExpiredOnArrival => f.write_str("login returned an expired token"),
            Kind::SameToken => f.write_str("login returned the same token"),
            Kind::Reentrant => f.write_str("login service waits for its own token"),
            Kind::NoRuntime => f.write_str("login requires a tokio runtime"),
            Kind::WorkerEnded => f.write_str("worker aborted by its runtime"),
            Kind::ShutDown => f.write_str("refresher shut down"),
        }
    }
}

impl fmt::Debug for LoginError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoginError")
            .field("kind", &self.0.kind)
            .field("retry_after", &self.0.retry_after)
            .field("source", &self.0.source)
            .finish()
    }
}

impl Error for LoginError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}
