//! [`Worker`]: the task that polls the state for its next step, and performs it.
//!
//! Between two steps the worker owns nothing: no handle, no token, no login service. For one login it borrows the
//! [`Core`]. Its destructor returns the core, so the worker can end at any step. The next call then starts another
//! worker.

use std::{
    future::{Future, pending, poll_fn},
    mem,
    ops::ControlFlow,
    sync::{Arc, Weak},
    time::Duration,
};

use tokio::{
    runtime::Handle,
    select,
    sync::Notify,
    time::{Instant, sleep, timeout},
};

use super::{
    clock_task::ClockRegistration,
    core::Core,
    login_line::{Arrival, Pace},
    login_permits::Place,
    settings::Settings,
    shared::Shared,
    state::{
        active_worker::WorkerId,
        worker_events::{LoginOutcome, LoginStart, LoginSummary, Permit, Step},
    },
};
use crate::{
    login::{
        LoginError, LoginRequest, current, erased::catch_panic, error::Kind,
        trigger::RefreshTrigger,
    },
    panic::{self, CatchDrop},
    telemetry::LoginSpan,
    token::AccessToken,
};

pub(crate) struct Worker {
    shared: Weak<Shared>,
    id: WorkerId,
    wake: Arc<Notify>,
    /// Borrowed for the login under way.
    core: Option<Box<Core>>,
    /// The place in line for a permit, and then the permit of the login under way.
    place: Option<Place>,
}

/// What a login needs of its refresher, without keeping the refresher alive.
struct LoginContext {
    start: LoginStart,
    timeout: Duration,
    refresher: u32,
    span: LoginSpan,
    request: LoginRequest,
}

impl Worker {
    /// Spawns a worker that `wake` wakes.
    pub(crate) fn spawn(shared: &Arc<Shared>, id: WorkerId, wake: Arc<Notify>, runtime: &Handle) {
        let worker = Self::new(shared, id, wake);
        // A runtime that is shutting down drops the worker immediately.
        runtime.spawn(worker.run());
    }

    pub(super) fn new(shared: &Arc<Shared>, id: WorkerId, wake: Arc<Notify>) -> Self {
        Self { shared: Arc::downgrade(shared), id, wake, core: None, place: None }
    }

    async fn run(mut self) {
        let Some(_clock) = self.register() else { return };
        while self.step().await.is_continue() {}
    }

    /// `None`: the last handle has been dropped.
    fn register(&self) -> Option<Option<ClockRegistration>> {
        let shared = self.shared.upgrade()?;
        shared.settings.telemetry.register_metrics();
        Some(ClockRegistration::register(&shared.settings.clock, &self.wake))
    }

    async fn step(&mut self) -> ControlFlow<()> {
        match self.next_step() {
            Step::End => ControlFlow::Break(()),
            Step::Wait(None) => {
                self.wake.notified().await;
                ControlFlow::Continue(())
            }
            Step::Wait(Some(limit)) | Step::AwaitPermit { limit, .. } => {
                let _ = timeout(limit, self.wake.notified()).await;
                ControlFlow::Continue(())
            }
            // Boxed, so that a worker that sleeps is small.
            Step::Login(start) => {
                let flow = Box::pin(self.login(start)).await;
                self.place = None;
                flow
            }
        }
    }

    pub(super) fn next_step(&mut self) -> Step {
        let Some(shared) = self.shared.upgrade() else { return Step::End };
        loop {
            let permit = match &shared.settings.login_permits {
                Some(permits) if !self.place.as_ref().is_some_and(Place::has_permit) => {
                    Permit::Awaited { next_arrival: permits.next_arrival() }
                }
                _ => Permit::Granted,
            };
            let (step, core) = shared.event(|locked, now, _| {
                match locked.state.on_worker_ready(self.id, now, permit) {
                    Step::Login(start) => (Step::Login(start), locked.borrow_core()),
                    step => (step, None),
                }
            });
            self.core = core;
            match &step {
                Step::AwaitPermit { arrival, last_login, .. }
                    if self.poll_permit(&shared, *arrival, *last_login) =>
                {
                    continue;
                }
                Step::AwaitPermit { .. } | Step::Login(_) => {}
                // The login that the place was for is no longer due.
                Step::Wait(_) | Step::End => self.place = None,
            }
            return step;
        }
    }

    /// Polls for a permit to log in, at the refresher's position in line.
    fn poll_permit(
        &mut self,
        shared: &Shared,
        arrival: Arrival,
        last_login: Option<Duration>,
    ) -> bool {
        let Settings { login_permits: Some(permits), login_timeout, .. } = &shared.settings else {
            return true;
        };
        let place = self.place.get_or_insert_with(|| permits.enter(arrival, self.wake.clone()));
        place.poll(Pace::of(last_login, *login_timeout), *login_timeout);
        place.has_permit()
    }

    async fn login(&mut self, start: LoginStart) -> ControlFlow<()> {
        let Some(mut login) = self.login_context(start) else { return ControlFlow::Break(()) };
        let Some(core) = self.core.as_deref_mut() else { return ControlFlow::Break(()) };
        let request = login.request.clone();
        let attempt = async { core.login.login(request).await };
        let attempt = login.span.instrument(catch_panic(current::scope(login.refresher, attempt)));
        let mut attempt = Box::pin(timeout(login.timeout, attempt));
        let mut login_poll_time = Duration::ZERO;
        let result = loop {
            // During the login, the current token may expire, or a server may reject it.
            let Some(limit) =
                tick_login(&self.shared, self.id, &login, mem::take(&mut login_poll_time))
            else {
                return ControlFlow::Break(());
            };
            let attempt = poll_fn(|cx| {
                #[expect(
                    clippy::disallowed_methods,
                    reason = "measures how long user code blocks the worker"
                )]
                let start = Instant::now();
                let result = attempt.as_mut().poll(cx);
                login_poll_time += start.elapsed();
                result
            });
            select! {
                biased;
                result = attempt => break result,
                () = self.wake.notified() => {}
                () = sleep_or_pend(limit) => {}
            }
        };
        // The login service's future is user code.
        drop(attempt);
        let Some(shared) = self.shared.upgrade() else { return ControlFlow::Break(()) };
        let result = result.unwrap_or_else(|_elapsed| {
            Err(LoginError::timed_out(
                Kind::LoginTimeout(login.timeout),
                shared.last_error().as_ref(),
            ))
        });
        match self.finish_login(&shared, result, login_poll_time) {
            Some(summary) => {
                record(&mut login.span, summary);
                ControlFlow::Continue(())
            }
            None => ControlFlow::Break(()),
        }
    }

    /// Reports how the login has ended, and returns the core in the same event.
    pub(super) fn finish_login(
        &mut self,
        shared: &Shared,
        result: Result<AccessToken, LoginError>,
        login_poll_time: Duration,
    ) -> Option<LoginSummary> {
        // The random source and the clock can panic, so they run while the worker owns the core. The result's drop can
        // panic too.
        let mut result = CatchDrop::new(Some(result));
        let core = self.core.as_deref_mut()?;
        let random = [core.random(), core.random()];
        let now = shared.now();
        let (core, result) = (self.core.take(), result.take()?);
        let (summary, core) = shared.event_at(now, |locked, now, actions| {
            let summary = locked.state.on_login_finished(
                self.id,
                result,
                login_poll_time,
                random,
                now,
                actions,
            );
            (summary, core.and_then(|core| locked.return_core(core)))
        });
        drop(core);
        summary
    }

    fn login_context(&self, start: LoginStart) -> Option<LoginContext> {
        let shared = self.shared.upgrade()?;
        let trigger = RefreshTrigger::new(self.shared.clone());
        let request = LoginRequest::with_trigger(start.reason.clone(), start.attempt, trigger);
        let span = shared.settings.telemetry.login_started(&request, start.requested_at.monotonic);
        let timeout = shared.settings.login_timeout;
        Some(LoginContext { start, timeout, refresher: shared.id.number(), span, request })
    }
}

/// Polls the state during a login. Returns the time until the next poll, or `None` if the worker must end.
fn tick_login(
    shared: &Weak<Shared>,
    id: WorkerId,
    login: &LoginContext,
    login_poll_time: Duration,
) -> Option<Option<Duration>> {
    let shared = shared.upgrade()?;
    let now = shared.now();
    let until_timeout = login
        .timeout
        .saturating_sub(now.monotonic.duration_since(login.start.requested_at.monotonic));
    match shared.event_at(now, |locked, now, _| {
        locked.state.on_login_tick(id, until_timeout, login_poll_time, now)
    }) {
        Step::Wait(limit) => Some(limit),
        Step::End | Step::Login(_) | Step::AwaitPermit { .. } => None,
    }
}

async fn sleep_or_pend(limit: Option<Duration>) {
    match limit {
        Some(limit) => sleep(limit).await,
        None => pending().await,
    }
}

fn record(span: &mut LoginSpan, LoginSummary { elapsed, outcome }: LoginSummary) {
    match outcome {
        LoginOutcome::Succeeded { generation } => span.succeeded(generation, elapsed),
        LoginOutcome::Failed { error, failures, retry_in } => {
            span.failed(&error, failures, elapsed, retry_in)
        }
        LoginOutcome::Discarded { error } => span.discarded(error.as_ref(), elapsed),
    }
}

/// A runtime that shuts down drops its workers at any step, perhaps while a panic unwinds.
impl Drop for Worker {
    fn drop(&mut self) {
        let core = self.core.take();
        panic::catch(|| match self.shared.upgrade() {
            // The upgraded reference can be the last.
            Some(shared) => shared.worker_ended(self.id, core),
            None => drop(core),
        });
    }
}
