//! [`LoginError`]: why there is no token.

use std::{error::Error, fmt, sync::Arc, time::Duration};

use super::retry_advice::RetryAdvice;
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
/// its error. [`cause`](Self::cause) finds the cause in the chain of [sources](std::error::Error::source).
///
/// ```
/// use std::{io, time::Duration};
/// use tower_auth_refresh::LoginError;
///
/// let cause = io::Error::other("too many requests");
/// let error = LoginError::transient(cause).with_retry_after(Duration::from_secs(30));
/// assert_eq!(error.to_string(), "login failed");
/// assert_eq!(error.cause::<io::Error>().unwrap().to_string(), "too many requests");
/// assert!(!error.is_permanent());
/// ```
#[derive(Clone)]
pub struct LoginError(Arc<Inner>);

struct Inner {
    kind: Kind,
    advice: RetryAdvice,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The login service failed. The advice states whether that is permanent.
    Failed,
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
        Self::failed(cause.into(), false, None)
    }

    /// Creates an error that lasts until a person acts, such as a wrong password or a revoked client.
    ///
    /// The refresher retries the login at most twice while the token is valid. Without a valid token, a call that needs
    /// one causes a login, at most once in each pause. So a corrected password needs no restart.
    pub fn permanent(cause: impl Into<BoxError>) -> Self {
        Self::failed(cause.into(), true, None)
    }

    /// Sets the delay that the issuer requests (`Retry-After`, RFC 9110, section 10.2.3). The refresher waits for at
    /// most 5 minutes.
    #[must_use]
    pub fn with_retry_after(self, delay: Duration) -> Self {
        let (kind, is_permanent) = (self.0.kind, self.is_permanent());
        let cause = match Arc::try_unwrap(self.0) {
            Ok(inner) => inner.advice.cause,
            Err(shared) => Some(Self(shared).into()),
        };
        Self::with_advice(kind, RetryAdvice { is_permanent, retry_after: Some(delay), cause })
    }

    pub(crate) fn new(kind: Kind, cause: Option<BoxError>) -> Self {
        Self::with_advice(kind, RetryAdvice { is_permanent: false, retry_after: None, cause })
    }

    /// Creates the error of a login service.
    pub(crate) fn failed(
        cause: BoxError,
        is_permanent: bool,
        retry_after: Option<Duration>,
    ) -> Self {
        let advice = RetryAdvice { is_permanent, retry_after, cause: Some(cause) };
        Self::with_advice(Kind::Failed, advice)
    }

    fn with_advice(kind: Kind, advice: RetryAdvice) -> Self {
        Self(Arc::new(Inner { kind, advice }))
    }

    /// Creates a timeout. `last` is the error of the last login.
    ///
    /// Bounds the chain: only the cause before a series of timeouts is retained. A chain of more than 16 causes is
    /// dropped. So is one with a `source` that panics. This calls `source` on user errors, so do not call it under a lock.
    pub(crate) fn timed_out(kind: Kind, last: Option<&Self>) -> Self {
        let cause = match last {
            Some(last) if last.is_timeout() => {
                last.0.advice.cause.as_ref().and_then(|cause| cause.downcast_ref::<Self>())
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
    /// A `LoginError` among its causes decides whether it is permanent, and when to retry. So does the advice of one
    /// that a wrapper hides. Other kinds of `LoginError` come from another refresher, and count as transient here.
    pub(crate) fn from_service(error: BoxError) -> Self {
        let error = match error.downcast::<Self>() {
            Ok(login) if login.0.kind == Kind::Failed => return *login,
            Ok(other) => other as BoxError,
            Err(other) => other,
        };
        let advice = chain(&*error).find_map(|error| {
            let login = error.downcast_ref::<Self>().map(|login| &login.0.advice);
            login.or_else(|| error.downcast_ref::<RetryAdvice>())
        });
        let is_permanent = advice.is_some_and(|advice| advice.is_permanent);
        let retry_after = advice.and_then(|advice| advice.retry_after);
        Self::failed(error, is_permanent, retry_after)
    }

    /// Returns the first cause of this type, such as the error of a ready-made login.
    pub fn cause<T: Error + 'static>(&self) -> Option<&T> {
        chain(self).find_map(|error| error.downcast_ref())
    }

    /// Returns the first `LoginError` among an error and its causes. It works for any error type that has
    /// [sources](Error::source), such as `anyhow::Error` or a `tonic::Status`.
    ///
    /// A wrapper that delegates its own `source` hides it: `#[error(transparent)]` over a `LoginError` itself, or a
    /// `BoxError` made of an `anyhow::Error`. Over [`Error`](crate::Error), `transparent` hides nothing. Neither does
    /// [`std::io::Error`].
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
        self.0.advice.is_permanent
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
        self.0.advice.retry_after
    }
}

impl fmt::Display for LoginError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.kind {
            Kind::Failed => f.write_str("login failed"),
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
            .field("is_permanent", &self.0.advice.is_permanent)
            .field("retry_after", &self.0.advice.retry_after)
            .field("source", &self.0.advice.cause)
            .finish()
    }
}

impl Error for LoginError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        let advice = &self.0.advice;
        if advice.is_default() { advice.source() } else { Some(advice) }
    }
}
