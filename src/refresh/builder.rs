//! How an [`AuthRefresher`] is made: its settings, their defaults and limits.

use std::{
    fmt,
    hash::{BuildHasher, RandomState},
    sync::Arc,
    time::Duration,
};

use tower_service::Service;

use super::{
    AuthRefresher, idle::Idle, lease::Moment, ledger::Ledger, rejections::RejectionLimit, schedule::Schedule,
    shared::Shared, worker::Duty,
};
use crate::{AccessToken, BoxError, Clock, LoginRequest, SystemClock, events::Events, login::Login};

/// The longest that any setting may be: no deadline of ours overflows.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// The settings of one identity, as they are shared.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) schedule: Schedule,
    pub(crate) login_timeout: Duration,
    pub(crate) wait_timeout: Duration,
    pub(crate) no_token: NoTokenPolicy,
    pub(crate) rejections: RejectionLimit,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) events: Events,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            schedule: Schedule {
                lead: Duration::from_secs(300),
                jitter: true,
                default_lifetime: None,
                serve_stale: Duration::ZERO,
                backoff: (Duration::from_millis(500), Duration::from_secs(60)),
            },
            login_timeout: Duration::from_secs(30),
            wait_timeout: Duration::from_secs(10),
            no_token: NoTokenPolicy::Fail,
            rejections: RejectionLimit { min_age: Duration::from_secs(1), burst: 6, per: Duration::from_secs(60) },
            clock: Arc::new(SystemClock),
            events: Events::default(),
        }
    }
}

/// Says when an [`AuthRefresher`] logs in. Every setting has a default; [`build`](Self::build) checks them all.
#[must_use]
pub struct AuthRefresherBuilder {
    login: Box<dyn Login>,
    random: Box<dyn FnMut() -> u64 + Send>,
    seed: Option<AccessToken>,
    pause_when_idle: Option<Duration>,
    settings: Settings,
}

/// What becomes of a call when there is no token: none has come, or the last one has expired and logins fail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum NoTokenPolicy {
    /// It fails with [`Error::Login`](crate::Error::Login). It was not sent.
    #[default]
    Fail,
    /// It waits as it would otherwise, and then is sent without an `Authorization` header of ours.
    SendUnauthenticated,
    /// An expired token is used on for a while, for servers that accept it. Afterwards, and before there is any, as
    /// [`Fail`](Self::Fail).
    #[non_exhaustive]
    ServeStale {
        /// How long after its end a token is used at most.
        at_most: Duration,
    },
}

impl NoTokenPolicy {
    /// [`ServeStale`](Self::ServeStale), for so long at most after the token's end.
    pub const fn serve_stale(at_most: Duration) -> Self {
        Self::ServeStale { at_most }
    }
}

impl AuthRefresherBuilder {
    pub(crate) fn new<L>(login: L) -> Self
    where
        L: Service<LoginRequest, Response = AccessToken> + Send + 'static,
        L::Error: Into<BoxError>,
        L::Future: Send,
    {
        Self {
            login: Box::new(login),
            // The standard library's hashers are seeded by the system, each one differently.
            random: Box::new(|| RandomState::new().hash_one(0)),
            seed: None,
            pause_when_idle: None,
            settings: Settings::default(),
        }
    }

    /// A name for this refresher, such as that of the API it is for. None by default.
    ///
    /// What is told of a refresher has its name: the label `refresher` of its [metrics](crate::observability) (`default`
    /// without a name), and the field `refresher` of its events and spans. Give each one a name if there are several.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.settings.events = Events::named(name.into().into());
        self
    }

    /// A token to start with, so that the first request need not wait for a login. Its lifetime counts from
    /// [`build`](Self::build). None by default.
    pub fn seed(mut self, token: AccessToken) -> Self {
        self.seed = Some(token);
        self
    }

    /// What becomes of a call when there is no token. It [fails](NoTokenPolicy::Fail) by default.
    pub fn when_no_token(mut self, policy: NoTokenPolicy) -> Self {
        self.settings.no_token = policy;
        self
    }

    /// After how long without requests the token is refreshed no more, until the next one. By default it is refreshed
    /// for as long as there is a handle.
    ///
    /// The time is kept to an eighth. The first request after a pause uses the token if it is still good, and waits for a
    /// login otherwise. With zero a token is only ever refreshed because a request came.
    pub fn pause_when_idle(mut self, after: Duration) -> Self {
        self.pause_when_idle = Some(after);
        self
    }

    /// How long before its end a token is refreshed: the lead. 5 minutes by default.
    ///
    /// The lead is cut to a quarter of the token's lifetime where that is shorter. The token in use serves all
    /// the while; no request waits for its successor.
    pub fn refresh_before_expiry(mut self, lead: Duration) -> Self {
        self.settings.schedule.lead = lead;
        self
    }

    /// Whether a refresh comes a random while earlier than the lead says, so that many processes that started together do
    /// not log in together. On by default; at most a tenth of the lifetime and 30 seconds.
    pub fn jitter(mut self, on: bool) -> Self {
        self.settings.schedule.jitter = on;
        self
    }

    /// How long a token of [unknown expiry](crate::Expiry::Unknown) is used. By default until it is rejected.
    pub fn default_lifetime(mut self, lifetime: Duration) -> Self {
        self.settings.schedule.default_lifetime = Some(lifetime);
        self
    }

    /// How long one login may take. 30 seconds by default.
    ///
    /// A login that takes longer is dropped and counts as a transient failure.
    pub fn login_timeout(mut self, limit: Duration) -> Self {
        self.settings.login_timeout = limit;
        self
    }

    /// How long one call may wait for a token where there is none. 10 seconds by default.
    ///
    /// The login goes on when its callers give up.
    pub fn wait_timeout(mut self, limit: Duration) -> Self {
        self.settings.wait_timeout = limit;
        self
    }

    /// The shortest and the longest pause after a failed login. Half a second and 60 seconds by default.
    ///
    /// The pause doubles with each failure in a row, with jitter; an issuer's `Retry-After` can make it longer, up to 5
    /// minutes. Without a token, calls fail at once during the pause. The shortest pause also keeps apart two logins that
    /// succeed.
    pub fn backoff(mut self, shortest: Duration, longest: Duration) -> Self {
        self.settings.schedule.backoff = (shortest, longest);
        self
    }

    /// How long a token must have been in use for a rejection to count: 1 second by default, and never more than an eighth
    /// of its lifetime.
    ///
    /// A token that has just been issued may not be valid everywhere yet, and another would be no better.
    pub fn min_rejection_age(mut self, age: Duration) -> Self {
        self.settings.rejections.min_age = age;
        self
    }

    /// How many rejections count in how long; each causes a login. 6 a minute by default: as many at once, and then one in
    /// each share of the time (10 seconds).
    ///
    /// An API may answer 401 for reasons of its own. What exceeds the limit is passed on to the caller, and the token is used
    /// on. With 0 no rejection counts.
    pub fn rejections(mut self, most: u32, per: Duration) -> Self {
        self.settings.rejections.burst = most;
        self.settings.rejections.per = per;
        self
    }

    /// The wall clock. The system's by default.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.settings.clock = Arc::new(clock);
        self
    }

    /// Where jitter comes from: uniformly distributed numbers. Seeded by the system by default.
    pub fn random(mut self, numbers: impl FnMut() -> u64 + Send + 'static) -> Self {
        self.random = Box::new(numbers);
        self
    }

    /// Makes the refresher. Nothing is spawned and nobody logs in before the first use, so this needs no runtime.
    ///
    /// # Errors
    ///
    /// A setting makes no sense; the error names it.
    pub fn build(self) -> Result<AuthRefresher, InvalidSetting> {
        let settings = &self.settings;
        let (shortest, longest) = settings.schedule.backoff;
        let limit = |name, value: Duration| match value {
            Duration::ZERO => Err(InvalidSetting { name, trouble: "must be more than zero" }),
            value if value > LONGEST => Err(InvalidSetting { name, trouble: "must be at most 24 hours" }),
            _ => Ok(()),
        };
        limit("login_timeout", settings.login_timeout)?;
        limit("wait_timeout", settings.wait_timeout)?;
        limit("backoff", shortest)?;
        limit("backoff", longest)?;
        limit("rejections", settings.rejections.per)?;
        if shortest > longest {
            return Err(InvalidSetting { name: "backoff", trouble: "the shortest pause must not exceed the longest" });
        }
        if settings.schedule.default_lifetime == Some(Duration::ZERO) {
            return Err(InvalidSetting { name: "default_lifetime", trouble: "must be more than zero" });
        }
        Ok(self.build_unchecked())
    }

    pub(crate) fn build_unchecked(self) -> AuthRefresher {
        let mut settings = self.settings;
        if let NoTokenPolicy::ServeStale { at_most } = settings.no_token {
            settings.schedule.serve_stale = at_most;
        }
        let mut ledger = Ledger::new(self.random, Idle::new(self.pause_when_idle));
        if let Some(token) = self.seed {
            ledger.seed(token, Moment::now(&*settings.clock), &settings.schedule);
        }
        let duty = Duty { login: self.login, ledger };
        AuthRefresher { shared: Shared::new(duty, settings) }
    }
}

impl fmt::Debug for AuthRefresherBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthRefresherBuilder").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// A setting that makes no sense.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidSetting {
    name: &'static str,
    trouble: &'static str,
}

impl fmt::Display for InvalidSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`: {}", self.name, self.trouble)
    }
}

impl std::error::Error for InvalidSetting {}
