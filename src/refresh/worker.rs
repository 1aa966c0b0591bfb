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
    ledger::{Ledger, Step},
    shared::{Demand, Shared},
};
use crate::{
    AccessToken, LoginError, LoginReason, LoginRequest, events,
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

/// A duty being done. It holds no handle: the last one's drop ends it.
pub(crate) struct Worker {
    shared: Weak<Shared>,
    demand: watch::Receiver<Demand>,
    /// There until it is dropped.
    duty: Option<Box<Duty>>,
}

/// The last handle is gone, or has shut the refresher down.
struct Done;

impl Worker {
    pub(crate) fn new(shared: &Arc<Shared>, mut duty: Box<Duty>) -> Self {
        duty.ledger.start(shared.now());
        Self { shared: Arc::downgrade(shared), demand: shared.demand.subscribe(), duty: Some(duty) }
    }

    pub(crate) async fn run(mut self) {
        while let Ok(()) = self.step().await {}
    }

    async fn step(&mut self) -> Result<(), Done> {
        let Duty { ledger, .. } = self.duty.as_deref_mut().ok_or(Done)?;
        let next = {
            let shared = self.shared.upgrade().ok_or(Done)?;
            let demand = *self.demand.borrow_and_update();
            if demand.shut_down {
                return Err(Done);
            }
            let now = ledger.tidy(&shared, demand, false);
            ledger.next(now, demand)
        };
        match next {
            Step::Login(reason) => self.login(reason).await,
            Step::Sleep(None) => self.demand.changed().await.map_err(|_| Done),
            Step::Sleep(Some(limit)) => match timeout(limit, self.demand.changed()).await {
                Ok(changed) => changed.map_err(|_| Done),
                Err(_elapsed) => Ok(()),
            },
        }
    }

    async fn login(&mut self, reason: LoginReason) -> Result<(), Done> {
        let Duty { login, ledger } = self.duty.as_deref_mut().ok_or(Done)?;
        let request = LoginRequest { attempt: ledger.attempt(), ..LoginRequest::new(reason) };
        let (sent, limit, asked, id) = {
            let shared = self.shared.upgrade().ok_or(Done)?;
            let asked = *self.demand.borrow_and_update();
            (ledger.tidy(&shared, asked, true), shared.settings.login_timeout, asked, identity(&shared))
        };
        events::login_started(&request);
        let attempt = LOGGING_IN_FOR.scope(id, caught(login.login(request)));
        let mut attempt = pin!(timeout(limit, attempt));
        let mut now = sent;
        let outcome = loop {
            let heartbeat = ledger.heartbeat(now);
            select! {
                biased;
                _ = self.demand.wait_for(|demand| demand.shut_down) => return Err(Done),
                outcome = &mut attempt => break outcome,
                () = sleep(heartbeat.unwrap_or_default()), if heartbeat.is_some() => {}
            }
            let shared = self.shared.upgrade().ok_or(Done)?;
            now = ledger.tidy(&shared, asked, true);
        };
        let shared = self.shared.upgrade().ok_or(Done)?;
        let outcome = outcome.unwrap_or_else(|_elapsed| {
            let last = shared.status.borrow().last_error.clone();
            Err(LoginError::timed_out(Kind::LoginTimeout(limit), last.as_ref()))
        });
        let demand = *self.demand.borrow_and_update();
        ledger.tidy(&shared, demand, true);
        if outcome.is_ok() && demand.rejected != asked.rejected {
            // It was begun before the rejection: what it brought may be the very token that was rejected.
            events::superseded();
            return Ok(());
        }
        ledger.conclude(&shared, outcome, sent);
        Ok(())
    }
}

/// A runtime that ends drops its workers wherever they are.
impl Drop for Worker {
    fn drop(&mut self) {
        if let (Some(duty), Some(shared)) = (self.duty.take(), self.shared.upgrade()) {
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
