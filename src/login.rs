//! The contract of a login service: [`LoginRequest`] in, [`AccessToken`] or [`LoginError`] out.
//!
//! A login service is any `tower::Service<LoginRequest, Response = AccessToken>` whose error converts into
//! [`BoxError`]. It is called afresh for each login, one call at a time, and never in the way of a request; tower's own
//! layers (`Timeout`, `Retry`, …) go on it as on any service.
//!
//! ```
//! use std::time::Duration;
//! use tower::service_fn;
//! use tower_auth_refresh::{AccessToken, AuthRefresher, BoxError, LoginRequest};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), BoxError> {
//! let login = service_fn(|_: LoginRequest| async {
//!     let secret = "s3cr3t"; // asked of the identity provider
//!     Ok::<_, BoxError>(AccessToken::bearer(secret)?.with_expires_in(Duration::from_secs(3600)))
//! });
//! let refresher = AuthRefresher::new(login);
//! assert_eq!(refresher.token().await?.header_value(), "Bearer s3cr3t");
//! # Ok(())
//! # }
//! ```

use std::{
    error::Error,
    fmt,
    future::{Future, poll_fn},
    iter::successors,
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use http::HeaderValue;
use tower_service::Service;

use crate::{AccessToken, BoxError, WeakAuthRefresher};

/// What a login service is asked: why a token is wanted, and how often that has been tried.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LoginRequest {
    /// Why a token is wanted.
    pub reason: LoginReason,
    /// The attempt's number: 1, or one more than the logins that have failed since the last good one.
    pub attempt: u32,
    pub(crate) refresher: WeakAuthRefresher,
}

impl LoginRequest {
    /// A request for a token, for whoever calls a login service by hand.
    pub fn new(reason: LoginReason) -> Self {
        Self { reason, attempt: 1, refresher: WeakAuthRefresher::default() }
    }

    /// Who asks, for a login service that will know by itself when there is another token: it may have it
    /// [refreshed](crate::AuthRefresher::refresh) then, from a task of its own. Without a refresher in a request that was made
    /// by hand.
    pub fn refresher(&self) -> &WeakAuthRefresher {
        &self.refresher
    }
}

/// Why a token is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LoginReason {
    /// There has been none yet.
    First,
    /// The one in use is about to expire, or has expired.
    Expiring,
    /// The one in use was rejected, or [invalidated](crate::AuthRefresher::invalidate).
    #[non_exhaustive]
    Rejected {
        /// The rejection's `WWW-Authenticate` header, where there was one (RFC 9110, section 11.6.1); several as one.
        challenge: Option<HeaderValue>,
    },
    /// Somebody [asked for it](crate::AuthRefresher::refresh).
    Forced,
}

/// No error of ours has a longer chain of causes added to it.
const MOST_CAUSES: usize = 16;

/// Why there is no token.
///
/// A login service returns one to say more than "it failed": whether trying again can help, and when. Any other error
/// is taken as [transient](Self::transient). It is cheap to clone, since everybody who waited for one login is told of
/// the same failure. Its [source](std::error::Error::source) is the cause.
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
    /// The attempt took longer than it may.
    LoginTimeout(Duration),
    /// The caller waited longer than it may.
    WaitTimeout(Duration),
    Panicked,
    /// The token that came had already expired.
    ExpiredOnArrival,
    /// The token that came is the one there is, or the one that was rejected.
    SameToken,
    /// The login service asked its own refresher for a token.
    Reentrant,
    NoRuntime,
    WorkerEnded,
    ShutDown,
}

impl LoginError {
    /// A failure that may pass by itself: the network, an overloaded server, anything unknown.
    pub fn transient(cause: impl Into<BoxError>) -> Self {
        Self::new(Kind::Transient, Some(cause.into()))
    }

    /// A failure that lasts until somebody mends it: a wrong password, a revoked client.
    ///
    /// It is not retried without need, and still tried again: a corrected password is picked up by itself.
    pub fn permanent(cause: impl Into<BoxError>) -> Self {
        Self::new(Kind::Permanent, Some(cause.into()))
    }

    /// Says how long the issuer wants to be left alone (`Retry-After`, RFC 9110, section 10.2.3).
    #[must_use]
    pub fn with_retry_after(self, delay: Duration) -> Self {
        let source = match Arc::try_unwrap(self.0) {
            Ok(inner) => {
                return Self(Arc::new(Inner { retry_after: Some(delay), ..inner }));
            }
            Err(shared) => Self(shared),
        };
        Self(Arc::new(Inner { kind: source.0.kind, retry_after: Some(delay), source: Some(source.into()) }))
    }

    pub(crate) fn new(kind: Kind, source: Option<BoxError>) -> Self {
        Self(Arc::new(Inner { kind, retry_after: None, source }))
    }

    /// Time ran out; `last` is why there was no token before. Of a row of timeouts only the cause before them is kept, and
    /// of a chain that has grown too long, nothing: causes must not pile up while the trouble lasts.
    pub(crate) fn timed_out(kind: Kind, last: Option<&Self>) -> Self {
        let cause = match last {
            Some(last) if last.is_timeout() => last.0.source.as_ref().and_then(|source| source.downcast_ref::<Self>()),
            last => last,
        };
        let cause = cause.filter(|cause| chain(*cause).nth(MOST_CAUSES).is_none());
        Self::new(kind, cause.map(|cause| cause.clone().into()))
    }

    /// What the `LoginError` in `error`, or among its sources, says of trying again; else `error` is transient. What kind
    /// of trouble another refresher had is its own affair.
    pub(crate) fn from_service(error: BoxError) -> Self {
        let error = match error.downcast::<Self>() {
            Ok(login) if matches!(login.0.kind, Kind::Transient | Kind::Permanent) => return *login,
            Ok(other) => other as BoxError,
            Err(other) => other,
        };
        let said = chain(&*error).find_map(|error| error.downcast_ref::<Self>());
        let kind = if said.is_some_and(Self::is_permanent) { Kind::Permanent } else { Kind::Transient };
        let retry_after = said.and_then(Self::retry_after);
        Self(Arc::new(Inner { kind, retry_after, source: Some(error) }))
    }

    /// Whether trying again is no use until somebody mends something.
    pub fn is_permanent(&self) -> bool {
        self.0.kind == Kind::Permanent
    }

    /// Whether time ran out: the login's own ([`login_timeout`]) or the caller's ([`wait_timeout`]).
    ///
    /// [`login_timeout`]: crate::AuthRefresherBuilder::login_timeout
    /// [`wait_timeout`]: crate::AuthRefresherBuilder::wait_timeout
    pub fn is_timeout(&self) -> bool {
        matches!(self.0.kind, Kind::LoginTimeout(_) | Kind::WaitTimeout(_))
    }

    /// Whether the refresher has been [shut down](crate::AuthRefresher::shutdown).
    pub fn is_shut_down(&self) -> bool {
        self.0.kind == Kind::ShutDown
    }

    /// How long the issuer wants to be left alone, where it said so.
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }
}

impl fmt::Display for LoginError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.kind {
            Kind::Transient => f.write_str("the login failed"),
            Kind::Permanent => f.write_str("the login was refused"),
            Kind::LoginTimeout(limit) => write!(f, "the login took longer than {limit:?}"),
            Kind::WaitTimeout(limit) => write!(f, "no token came within {limit:?}"),
            Kind::Panicked => f.write_str("the login service panicked"),
            Kind::ExpiredOnArrival => f.write_str("the login brought a token that had already expired"),
            Kind::SameToken => f.write_str("the login brought the same token again"),
            Kind::Reentrant => f.write_str("the login service needs the very token it is asked for"),
            Kind::NoRuntime => f.write_str("a login needs a tokio runtime to run on"),
            Kind::WorkerEnded => f.write_str("the task that logs in was ended by its runtime"),
            Kind::ShutDown => f.write_str("the refresher has been shut down"),
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

/// An error and its causes.
fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    successors(Some(error), |error| (*error).source())
}

/// A login under way.
pub(crate) type LoginFuture<'a> = Pin<Box<dyn Future<Output = Result<AccessToken, LoginError>> + Send + 'a>>;

/// A login service without its type: made ready, then called.
pub(crate) trait Login: Send {
    fn login(&mut self, request: LoginRequest) -> LoginFuture<'_>;
}

impl<L> Login for L
where
    L: Service<LoginRequest, Response = AccessToken> + Send,
    L::Error: Into<BoxError>,
    L::Future: Send,
{
    fn login(&mut self, request: LoginRequest) -> LoginFuture<'_> {
        let failed = |error: L::Error| LoginError::from_service(error.into());
        Box::pin(async move {
            poll_fn(|cx| self.poll_ready(cx).map_err(failed)).await?;
            self.call(request).await.map_err(failed)
        })
    }
}
