//! What happened in a run.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant, SystemTime},
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
    /// The earliest time at which a process refreshes the newest token.
    due: Option<SystemTime>,
    /// Tokens that were issued.
    pub(crate) logins: u32,
    /// Those of them that started during another login, or while the newest token was not due for a refresh in any process.
    pub(crate) unnecessary: u32,
    /// Logins that were started, but not completed.
    pub(crate) interrupted: u32,
    /// Requests whose token was not accepted.
    pub(crate) rejected: u32,
    /// Requests whose token had expired, but was accepted.
    pub(crate) accepted_late: u32,
    under_way: u32,
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

    /// Starts a login, whose request was sent at this time. It is interrupted if the returned value is dropped.
    pub(crate) fn start_login(&self, process: usize, sent_at: SystemTime) -> StartedLogin {
        self.login.send_replace(Some((process, Instant::now())));
        let mut recorded = self.lock();
        let is_unnecessary =
            recorded.under_way > 0 || recorded.due.is_some_and(|due| sent_at < due);
        recorded.under_way += 1;
        StartedLogin { counts: self.clone(), sent_at, is_unnecessary, is_complete: false }
    }

    /// Returns whether the API accepts a token.
    pub(crate) fn accepts(&self, token: &str) -> bool {
        let mut recorded = self.lock();
        let (now, expiry) = (Instant::now(), recorded.tokens.get(token).copied());
        let accepted = expiry.is_some_and(|expiry| now < expiry + LEEWAY);
        let is_late = accepted && expiry.is_some_and(|expiry| now >= expiry);
        recorded.rejected += u32::from(!accepted);
        recorded.accepted_late += u32::from(is_late);
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

/// Returns the least age at which a refresher with the default settings refreshes a token, counted from the request. Timers
/// and clocks have a tolerance.
fn least_refresh_age(lifetime: Duration) -> Duration {
    let lead = (lifetime / 4).min(Duration::from_secs(300));
    let max_jitter = (lifetime / 10).min(Duration::from_secs(30));
    let tolerance = Duration::from_millis(50);
    lifetime - lead - max_jitter - tolerance
}

/// A login that has started.
pub(crate) struct StartedLogin {
    counts: Counts,
    sent_at: SystemTime,
    is_unnecessary: bool,
    is_complete: bool,
}

impl Drop for StartedLogin {
    fn drop(&mut self) {
        let mut recorded = self.counts.lock();
        recorded.under_way -= 1;
        recorded.interrupted += u32::from(!self.is_complete);
    }
}

impl StartedLogin {
    /// Issues a token.
    pub(crate) fn complete(mut self) -> String {
        self.is_complete = true;
        let (counts, now) = (&self.counts, Instant::now());
        let second = counts.second();
        let mut recorded = counts.lock();
        recorded.logins += 1;
        recorded.unnecessary += u32::from(self.is_unnecessary);
        recorded.due = Some(self.sent_at + least_refresh_age(counts.lifetime));
        *recorded.logins_of_second.entry(second).or_default() += 1;
        let expiry = now + counts.lifetime;
        let token = format!("t{}", recorded.logins);
        recorded.tokens.insert(token.clone(), expiry);
        drop(recorded);
        token
    }
}
