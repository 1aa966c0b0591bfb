//! [`LoginError`]: why there is no token.

use std::{error::Error, fmt, sync::Arc, time::Duration};

use super::retry_advice::RetryAdvice;
use crate::{
    error::{BoxError, chain},
    panic,
};

/// The longest chain that a timeout retains. It includes the `LoginError` and its advice.
const MAX_CAUSES: usize = 16;

/// Reports why a login, or a wait for a token, failed.
///
/// A login service returns a `LoginError` to state whether a retry can help, and when. Any other error of a login
/// service counts as [transient](Self::transient). Cloning is cheap, because all callers that wait for one login share
/// its error. [`cause`](Self::cause) finds the cause in the chain of [sources](std::error::Error::source).
///
/// The first source of a permanent error is a text that states this: `permanent failure`. The same applies to an error
/// with a delay. The cause follows.
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
    /// Whether the advice is a link of the chain.
    is_advice_shown: bool,
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
        Self::of_service(cause.into(), false, None)
    }

    /// Creates an error that lasts until a person acts, such as a wrong password or a revoked client.
    ///
    /// The refresher retries the login at most twice while the token is valid. Without a valid token, only a call that
    /// needs one causes a login, after the pause that follows each failure. So a corrected password needs no restart.
    pub fn permanent(cause: impl Into<BoxError>) -> Self {
        Self::of_service(cause.into(), true, None)
    }

    /// Sets the delay that the issuer requests (`Retry-After`, RFC 9110, section 10.2.3). The refresher waits for at
    /// most 5 minutes.
    #[must_use]
    pub fn with_retry_after(self, delay: Duration) -> Self {
        let advice = RetryAdvice { retry_after: Some(delay), ..self.0.advice.clone() };
        Self::with_advice(self.0.kind, advice)
    }

    pub(crate) fn new(kind: Kind, cause: Option<BoxError>) -> Self {
        let cause = cause.map(Arc::from);
        Self::with_advice(kind, RetryAdvice { is_permanent: false, retry_after: None, cause })
    }

    /// Creates the error of a login service.
    pub(crate) fn of_service(
        cause: BoxError,
        is_permanent: bool,
        retry_after: Option<Duration>,
    ) -> Self {
        let advice = RetryAdvice { is_permanent, retry_after, cause: Some(cause.into()) };
        Self::with_advice(Kind::Failed, advice)
    }

    fn with_advice(kind: Kind, advice: RetryAdvice) -> Self {
        // The first advice in the chain decides, so a cause must not contradict this one. `source` is user code.
        let find = |cause| panic::catch(|| Self::find_advice(cause).map(RetryAdvice::terms));
        let of_cause = advice.cause.as_deref().and_then(|cause| find(cause)?);
        let is_advice_shown = advice.terms() != of_cause.unwrap_or_default();
        Self(Arc::new(Inner { kind, advice, is_advice_shown }))
    }

    /// Returns the first advice among an error and its causes: that of a `LoginError`, or of one that a wrapper hides.
    fn find_advice<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a RetryAdvice> {
        chain(error).find_map(|error| {
            Self::downcast(error).map(|login| &login.0.advice).or_else(|| error.downcast_ref())
        })
    }

    fn downcast<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a Self> {
        let boxed = || error.downcast_ref::<Box<Self>>().map(AsRef::as_ref);
        let shared = || error.downcast_ref::<Arc<Self>>().map(AsRef::as_ref);
        error.downcast_ref().or_else(boxed).or_else(shared)
    }

    /// Creates a timeout. `last` is the error of the last login.
    ///
    /// Bounds the chain: only the cause before a series of timeouts is retained. A chain of more than 16 errors is
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
    /// The first `LoginError` among its causes decides whether it is permanent, and when to retry. If a wrapper hides that
    /// `LoginError`, its advice decides. Other kinds of `LoginError` come from another refresher, and are transient here.
    pub(crate) fn from_service(error: BoxError) -> Self {
        let error = match error.downcast::<Self>() {
            Ok(login) if login.0.kind == Kind::Failed => return *login,
            Ok(other) => other as BoxError,
            Err(other) => other,
        };
        let advice = Self::find_advice(&*error).map(RetryAdvice::terms);
        let (is_permanent, retry_after) = advice.unwrap_or_default();
        Self::of_service(error, is_permanent, retry_after)
    }

    /// Returns the first cause of this type, such as the error of a ready-made login.
    pub fn cause<T: Error + 'static>(&self) -> Option<&T> {
        chain(self).skip(1).find_map(|error| error.downcast_ref())
    }

    /// Returns the first `LoginError` among an error and its [sources](Error::source). Convert an `anyhow::Error` or an
    /// `eyre::Report` with `as_ref`.
    ///
    /// It also finds a `LoginError` inside of a `Box`, an `Arc`, a [`std::io::Error`], or the crate's
    /// [`Error`](crate::Error). It does not find one behind a wrapper that passes on the text and the source of the
    /// `LoginError`:
    ///
    /// - `#[error(transparent)]` over a `LoginError`
    /// - a `BoxError` made of an `anyhow::Error` or an `eyre::Report` without context
    ///
    /// ```
    /// use tower_auth_refresh::{BoxError, Error, LoginError};
    ///
    /// let error: BoxError = Error::Login(LoginError::permanent("invalid_client")).into();
    /// assert!(LoginError::find(&*error).is_some_and(LoginError::is_permanent));
    /// ```
    pub fn find<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a Self> {
        chain(error).find_map(Self::downcast)
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
        let Inner { advice, is_advice_shown, .. } = &*self.0;
        if *is_advice_shown { Some(advice) } else { advice.source() }
    }
}
