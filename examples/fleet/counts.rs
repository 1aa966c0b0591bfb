//! What happened in a run.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::watch;

/// How long after its expiry a token is accepted, as by servers that allow for slow networks.
const LEEWAY: Duration = Duration::from_secs(1);

/// Counts the logins, and the requests of all processes. Clones share the counts.
#[derive(Clone)]
pub(crate) struct Counts {
    lifetime: Duration,
    started: Instant,
    recorded: Arc<Mutex<Recorded>>,
    /// The number of the process that has started a login last, and when.
    pub(crate) login: watch::Sender<Option<(usize, Instant)>>,
}

#[derive(Clone, Debug, Default)]
pub struct Recorded {
    /// The expiry of each token.
    tokens: HashMap<String, Instant>,
    newest: Option<Instant>,
    /// Tokens that were issued.
    pub(crate) logins: u32,
    /// Tokens that were issued while no other was in the first half of its lifetime. All other logins are unnecessary.
    pub(crate) lifetimes: u32,
    /// Logins that were started, but not completed.
    pub(crate) interrupted: u32,
    /// Requests whose token was not accepted.
    pub(crate) rejected: u32,
    logins_of_second: HashMap<u64, u32>,
    /// The requests of each process so far, and those that failed.
    requests: HashMap<usize, (u64, u64)>,
}

impl Recorded {
    /// Returns the number of requests, and of those that failed.
    pub(crate) fn requests(&self) -> (u64, u64) {
        self.requests.values().fold((0, 0), |sum, count| (sum.0 + count.0, sum.1 + count.1))
    }

    pub(crate) fn most_logins_in_a_second(&self) -> u32 {
        self.logins_of_second.values().copied().max().unwrap_or(0)
    }

    pub(crate) fn logins_of_second(&self, second: u64) -> u32 {
        self.logins_of_second.get(&second).copied().unwrap_or(0)
    }
}

impl Counts {
    pub(crate) fn new(lifetime: Duration) -> Self {
        Self {
            lifetime,
            started: Instant::now(),
            recorded: Arc::default(),
            login: watch::Sender::new(None),
        }
    }

    /// Starts a login. It is interrupted if the returned value is dropped.
    pub(crate) fn start_login(&self, process: usize) -> StartedLogin {
        self.login.send_replace(Some((process, Instant::now())));
        self.lock().interrupted += 1;
        StartedLogin(self.clone())
    }

    /// Returns whether the API accepts a token.
    pub(crate) fn accepts(&self, token: &str) -> bool {
        let mut recorded = self.lock();
        let expiry = recorded.tokens.get(token);
        let accepted = expiry.is_some_and(|expiry| Instant::now() < *expiry + LEEWAY);
        recorded.rejected += u32::from(!accepted);
        accepted
    }

    /// Sets the counts of a process.
    pub(crate) fn report(&self, process: usize, requests: u64, failed: u64) {
        self.lock().requests.insert(process, (requests, failed));
    }

    pub(crate) fn so_far(&self) -> Recorded {
        self.lock().clone()
    }

    pub(crate) fn second(&self) -> u64 {
        self.started.elapsed().as_secs()
    }

    fn lock(&self) -> MutexGuard<'_, Recorded> {
        self.recorded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A login that has started.
pub(crate) struct StartedLogin(Counts);

impl StartedLogin {
    /// Issues a token.
    pub(crate) fn complete(self) -> String {
        let (counts, now) = (&self.0, Instant::now());
        let second = counts.second();
        let mut recorded = counts.lock();
        recorded.interrupted -= 1;
        recorded.logins += 1;
        *recorded.logins_of_second.entry(second).or_default() += 1;
        let is_necessary = recorded.newest.is_none_or(|expiry| expiry < now + counts.lifetime / 2);
        let expiry = now + counts.lifetime;
        if is_necessary {
            recorded.lifetimes += 1;
            recorded.newest = Some(expiry);
        }
        let token = format!("t{}", recorded.logins);
        recorded.tokens.insert(token.clone(), expiry);
        token
    }
}
