//! The one task that logs in, publishes, sleeps, and ends when the last handle drops.
//!
//! It is a loop without a terminal state: look at both clocks, at the token and at what has been asked for; do one
//! thing; look again.

use std::{
    fmt,
    future::{Future, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    sync::{Arc, Weak},
    task::Poll,
};

use tokio::{
    select,
    sync::watch,
    time::{sleep, timeout},
};

use super::{
    WeakAuthRefresher,
    lease::Moment,
    ledger::{Ledger, Step},
    shared::{Demand, Shared},
};
use crate::{
    AccessToken, LoginError, LoginReason, LoginRequest,
    events::Events,
    login::{Kind, Login},
};

tokio::task_local! {
    /// Which refresher the task is logging in for.
    static LOGGING_IN_FOR: usize;
}

/// Whether the caller is the login service of this very refresher: it would wait for itself.
pub(crate) fn is_logging_in_for(shared: &Arc<Shared>) -> bool {
    LOGGING_IN_FOR.try_with(|id| *id == identity(shared)).unwrap_or(false)
}

/// Spawns a part of a login that is to go on when the login is dropped. It is still that login: it may not wait for its own
/// token, and its events are in the login's span.
#[cfg(feature = "oauth2")]
pub(crate) fn detach<F>(part: F) -> tokio::task::JoinHandle<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    #[cfg(feature = "tracing")]
    let part = tracing::Instrument::in_current_span(part);
    match LOGGING_IN_FOR.try_with(|id| *id) {
        Ok(id) => tokio::spawn(LOGGING_IN_FOR.scope(id, part)),
        Err(_) => tokio::spawn(part),
    }
}

fn identity(shared: &Arc<Shared>) -> usize {
    Arc::as_ptr(shared).addr()
}

/// What is done for one identity, on whatever runtime: its login service, and all that is known.
pub(crate) struct Duty {
    pub(crate) login: Box<dyn Login>,
    pub(crate) ledger: Ledger,
}

impl fmt::Debug for Duty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Duty").field("ledger", &self.ledger).finish_non_exhaustive()
    }
}

/// A duty being done.
pub(crate) struct Worker {
    line: Line,
    events: Events,
    /// There until it is dropped.
    duty: Option<Box<Duty>>,
}

/// The worker's line to the handles. It holds none: the last one's drop ends the worker.
struct Line {
    shared: Weak<Shared>,
    demand: watch::Receiver<Demand>,
}

/// The last handle is gone, or has shut the refresher down.
struct Done;

impl Line {
    /// Looks at the clocks and at what has been asked for, and tells how things stand. What it returns must be gone before
    /// the next await.
    fn look(&mut self, ledger: &mut Ledger, logging_in: bool) -> Result<(Arc<Shared>, Demand, Moment), Done> {
        let shared = self.shared.upgrade().ok_or(Done)?;
        let demand = self.demand.borrow_and_update().clone();
        if demand.shut_down {
            return Err(Done);
        }
        let now = ledger.tidy(&shared, &demand, logging_in);
        Ok((shared, demand, now))
    }

    /// Waits until something has been asked for since the last look.
    async fn asked(&mut self) -> Result<(), Done> {
        self.demand.changed().await.map_err(|_| Done)
    }
}

impl Worker {
    pub(crate) fn new(shared: &Arc<Shared>, duty: Box<Duty>) -> Self {
        let line = Line { shared: Arc::downgrade(shared), demand: shared.demand.subscribe() };
        Self { line, events: shared.settings.events.clone(), duty: Some(duty) }
    }

    pub(crate) async fn run(mut self) {
        if let Some(duty) = &self.duty {
            self.events.worker_started(duty.ledger.lease().map(|lease| lease.end()));
        }
        while let Ok(()) = self.step().await {}
    }

    async fn step(&mut self) -> Result<(), Done> {
        let Duty { ledger, .. } = self.duty.as_deref_mut().ok_or(Done)?;
        let next = {
            let (_, demand, now) = self.line.look(ledger, false)?;
            ledger.next(now, &demand)
        };
        match next {
            Step::Login(reason) => self.login(reason).await,
            Step::Sleep(None) => self.line.asked().await,
            Step::Sleep(Some(limit)) => timeout(limit, self.line.asked()).await.unwrap_or(Ok(())),
        }
    }

    async fn login(&mut self, reason: LoginReason) -> Result<(), Done> {
        let Duty { login, ledger } = self.duty.as_deref_mut().ok_or(Done)?;
        let (limit, id, asked, sent) = {
            let (shared, asked, sent) = self.line.look(ledger, true)?;
            ledger.begin(&shared.settings.schedule, sent);
            (shared.settings.login_timeout, identity(&shared), asked, sent)
        };
        let refresher = WeakAuthRefresher::new(self.line.shared.clone());
        let request = LoginRequest { reason, attempt: ledger.attempt(), refresher };
        let mut span = self.events.login_started(&request, ledger.lease().is_some(), sent.monotonic);
        let attempt = span.instrument(LOGGING_IN_FOR.scope(id, caught(login.login(request))));
        let mut attempt = pin!(timeout(limit, attempt));
        let mut now = sent;
        let outcome = loop {
            // The token in use may end, or be rejected, while its successor is being fetched.
            let heartbeat = ledger.heartbeat(now);
            select! {
                biased;
                outcome = &mut attempt => break outcome,
                asked = self.line.asked() => asked?,
                () = sleep(heartbeat.unwrap_or_default()), if heartbeat.is_some() => {}
            }
            (_, _, now) = self.line.look(ledger, true)?;
        };
        let (shared, demand, _) = self.line.look(ledger, true)?;
        let outcome = outcome.unwrap_or_else(|_elapsed| {
            let last = shared.status.borrow().last_error.clone();
            Err(LoginError::timed_out(Kind::LoginTimeout(limit), last.as_ref()))
        });
        if outcome.is_ok() && demand.rejected != asked.rejected {
            // It was begun before the rejection: what it brought may be the very token that was rejected.
            span.superseded();
        } else {
            ledger.conclude(&shared, outcome, sent, &mut span);
        }
        Ok(())
    }
}

/// A runtime that ends drops its workers wherever they are.
impl Drop for Worker {
    fn drop(&mut self) {
        self.events.worker_ended();
        if let (Some(duty), Some(shared)) = (self.duty.take(), self.line.shared.upgrade()) {
            shared.put_back(duty);
        }
    }
}

/// Turns a panic into an error.
async fn caught(login: impl Future<Output = Result<AccessToken, LoginError>>) -> Result<AccessToken, LoginError> {
    let mut login = pin!(login);
    poll_fn(|cx| {
        catch_unwind(AssertUnwindSafe(|| login.as_mut().poll(cx)))
            .unwrap_or_else(|_| Poll::Ready(Err(LoginError::new(Kind::Panicked, None))))
    })
    .await
}
