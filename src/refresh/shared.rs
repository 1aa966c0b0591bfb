//! [`Shared`]: the state behind its lock, and the one function that reports an event to it.

use std::{
    mem,
    sync::{Arc, PoisonError},
};

use http::HeaderValue;
use tokio::sync::{Notify, watch};

use super::{
    cached_token::CachedToken,
    core::Core,
    current::CurrentToken,
    registry::Registry,
    settings::Settings,
    state::{
        actions::{Actions, Notice},
        active_worker::WorkerId,
        refresh_state::{Policy, RefreshState},
        view::View,
    },
    status::{State, Status},
    token_id::{RefresherId, TokenId},
};
use crate::{
    clock::Timestamp,
    login::{LoginError, trigger::Refreshable},
    panic,
    sync::{Mutex, MutexGuard},
    telemetry::{ExpiryGauge, RejectionEffect},
    token::AccessToken,
};

static REFRESHERS: Registry<Shared> = Registry::new();

/// What the handles of one refresher share. Its worker has a weak reference.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) current: CurrentToken,
    pub(crate) settings: Settings,
    pub(crate) id: RefresherId,
    /// Changes with everything that a waiter or a subscriber can see.
    pub(crate) status: watch::Sender<NumberedStatus>,
    locked: Mutex<Locked>,
}

/// A status, numbered under the lock. Numbered statuses leave after the lock is released and can arrive out of order;
/// the higher revision wins.
#[derive(Debug)]
pub(crate) struct NumberedStatus {
    revision: u64,
    pub(crate) status: Status,
}

/// What the lock protects. Under it no user code runs and no waker is woken, so nothing can panic or re-enter.
#[derive(Debug)]
pub(crate) struct Locked {
    pub(crate) state: RefreshState,
    slot: Slot,
    /// Wakes the current worker. Each worker has its own, so that a replaced one cannot consume its successor's
    /// wake-up.
    wake: Option<Arc<Notify>>,
    /// What was visible after the last event.
    view: View,
    revision: u64,
}

/// Where the core is.
#[derive(Debug)]
enum Slot {
    Idle(Box<Core>),
    /// A worker has borrowed the core for a login.
    LoggingIn,
    ShutDown,
}

/// What follows an event after the lock is released.
struct Effects {
    actions: Actions,
    wake: Option<Arc<Notify>>,
    gauge: Option<ExpiryGauge>,
    snapshot: Option<NumberedStatus>,
}

impl Locked {
    /// Lends the core to a login.
    pub(crate) fn borrow_core(&mut self) -> Option<Box<Core>> {
        match mem::replace(&mut self.slot, Slot::LoggingIn) {
            Slot::Idle(core) => Some(core),
            other => {
                self.slot = other;
                None
            }
        }
    }

    /// Returns the core to its slot. If the refresher has been shut down, the caller drops it without the lock.
    pub(crate) fn return_core(&mut self, core: Box<Core>) -> Option<Box<Core>> {
        match self.slot {
            Slot::ShutDown => Some(core),
            Slot::LoggingIn | Slot::Idle(_) => match mem::replace(&mut self.slot, Slot::Idle(core))
            {
                Slot::Idle(core) => Some(core),
                Slot::LoggingIn | Slot::ShutDown => None,
            },
        }
    }

    /// Creates the wake-up of a new worker. Returns it, and that of the worker it replaces.
    pub(crate) fn new_wake(&mut self) -> (Arc<Notify>, Option<Arc<Notify>>) {
        let wake = Arc::new(Notify::new());
        (wake.clone(), self.wake.replace(wake))
    }
}

impl Shared {
    pub(crate) fn new(
        mut core: Core,
        initial_token: Option<AccessToken>,
        policy: Policy,
        settings: Settings,
    ) -> Arc<Self> {
        let mut state = RefreshState::new(policy);
        if let Some(token) = initial_token {
            let random = core.random();
            state.set_initial_token(token, Timestamp::now(&*settings.clock), random);
        }
        let snapshot = NumberedStatus { revision: 0, status: state.status() };
        let view = state.view();
        let slot = Slot::Idle(Box::new(core));
        Arc::new_cyclic(|shared| Self {
            current: CurrentToken::new(),
            settings,
            id: REFRESHERS.register(shared.clone()),
            status: watch::Sender::new(snapshot),
            locked: Mutex::new(Locked { state, slot, wake: None, view, revision: 0 }),
        })
    }

    /// Nothing panics under this lock, so a poisoned one is still valid.
    fn lock(&self) -> MutexGuard<'_, Locked> {
        self.locked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads both clocks. This is user code, so do not call it under a lock.
    pub(crate) fn now(&self) -> Timestamp {
        Timestamp::now(&*self.settings.clock)
    }

    /// Reports an event that happens now.
    pub(crate) fn event<R>(
        &self,
        event: impl FnOnce(&mut Locked, Timestamp, &mut Actions) -> R,
    ) -> R {
        let now = self.now();
        self.event_at(now, event)
    }

    /// Reports an event to the state: under the lock the state and the cell change, after it everything else happens.
    pub(crate) fn event_at<R>(
        &self,
        now: Timestamp,
        event: impl FnOnce(&mut Locked, Timestamp, &mut Actions) -> R,
    ) -> R {
        self.event_without_tick(|locked, actions| {
            locked.state.on_tick(now, actions);
            event(locked, now, actions)
        })
    }

    fn event_without_tick<R>(&self, event: impl FnOnce(&mut Locked, &mut Actions) -> R) -> R {
        let mut actions = Actions::default();
        let (result, effects) = {
            let mut locked = self.lock();
            let result = event(&mut locked, &mut actions);
            (result, self.update_cell(&mut locked, actions))
        };
        self.perform(effects);
        result
    }

    /// Writes what is derived from the state into the cell. Returns what else has to follow.
    fn update_cell(&self, locked: &mut Locked, actions: Actions) -> Effects {
        self.current.set(locked.state.cell());
        let before = mem::replace(&mut locked.view, locked.state.view());
        let has_changed = before != locked.view;
        if has_changed {
            locked.revision += 1;
        }
        Effects {
            wake: locked.wake.clone().filter(|_| actions.wake_worker),
            gauge: Some(locked.view.gauge).filter(|gauge| *gauge != before.gauge),
            snapshot: has_changed.then(|| NumberedStatus {
                revision: locked.revision,
                status: locked.state.status(),
            }),
            actions,
        }
    }

    /// Performs what follows an event, in this order. All of it can run user code: wakers, recorders, subscribers,
    /// drops. A panic there is caught, because this also runs in destructors.
    fn perform(&self, effects: Effects) {
        let Effects { actions, wake, gauge, snapshot } = effects;
        if let Some(wake) = wake {
            panic::catch(|| wake.notify_one());
        }
        if let Some(gauge) = gauge {
            self.write_gauge(gauge);
        }
        if let Some(snapshot) = snapshot {
            panic::catch(|| self.send(snapshot));
        }
        for notice in &actions.notices {
            match *notice {
                Notice::TokenExpired { generation } => {
                    self.settings.telemetry.token_expired(generation)
                }
                Notice::TokenRejected { generation } => {
                    self.settings.telemetry.token_rejected(generation)
                }
            }
        }
        panic::catch(|| drop(actions));
    }

    /// Writes the gauge until it agrees with the state, because the writes of two events can cross.
    fn write_gauge(&self, mut value: ExpiryGauge) {
        loop {
            self.settings.telemetry.set_expiry_gauge(value);
            let current = self.lock().view.gauge;
            if current == value {
                return;
            }
            value = current;
        }
    }

    fn send(&self, mut snapshot: NumberedStatus) {
        self.status.send_if_modified(|latest| {
            let is_newer = latest.revision < snapshot.revision;
            if is_newer {
                // The replaced status is dropped after the channel's lock is released: its error is user code.
                mem::swap(latest, &mut snapshot);
            }
            is_newer
        });
    }

    pub(crate) fn status(&self) -> Status {
        self.event(|locked, _, _| locked.state.status())
    }

    /// Returns a token that is usable now, without requesting a login.
    pub(crate) fn usable_token(&self) -> Option<Arc<CachedToken>> {
        self.event(|locked, _, _| locked.state.usable_token().cloned())
    }

    #[cfg(feature = "keyed")]
    pub(crate) fn is_logging_in(&self) -> bool {
        self.lock().view.is_logging_in
    }

    #[cfg(feature = "keyed")]
    pub(crate) fn retire(&self) {
        self.lock().state.retire();
    }

    /// Returns whether no login was under way. In one step, so that none starts in between.
    #[cfg(feature = "keyed")]
    pub(crate) fn retire_unless_logging_in(&self) -> bool {
        let mut locked = self.lock();
        let retires = !locked.view.is_logging_in;
        if retires {
            locked.state.retire();
        }
        retires
    }

    pub(crate) fn last_error(&self) -> Option<LoginError> {
        self.lock().state.last_error().cloned()
    }

    pub(crate) fn invalidate(&self) {
        self.event(|locked, now, actions| locked.state.on_invalidate(now, actions));
    }

    /// Ends the worker permanently, and drops the login service. Reads no clock, which could panic.
    pub(crate) fn shut_down(&self) {
        let core = self.event_without_tick(|locked, actions| {
            locked.state.on_shutdown(actions);
            mem::replace(&mut locked.slot, Slot::ShutDown)
        });
        drop(core);
    }

    /// Puts back the core of a worker whose task has ended, so that the next call can start another worker. Reads no
    /// clock.
    pub(crate) fn worker_ended(&self, id: WorkerId, core: Option<Box<Core>>) {
        let core = self.event_without_tick(|locked, _| {
            let rest = core.and_then(|core| locked.return_core(core));
            locked.state.on_worker_ended(id);
            rest
        });
        panic::catch(|| drop(core));
    }

    /// Reports that a server has rejected this token. Returns whether a newer token exists or a login for it is due.
    pub(crate) fn reject(&self, rejected: TokenId, challenge: Option<HeaderValue>) -> bool {
        let (generation, effect, is_shut_down) = self.event(|locked, now, actions| {
            let (generation, effect) =
                locked.state.on_rejection(rejected.generation(), challenge, now, actions);
            (generation, effect, locked.state.is_shut_down())
        });
        self.settings.telemetry.rejection(generation, effect);
        !is_shut_down
            && matches!(effect, RejectionEffect::TriggeredLogin | RejectionEffect::AlreadyReplaced)
    }
}

/// Reports that a server has rejected this token. Returns whether a newer token exists or a login for it is due;
/// `false` if the last handle of the refresher has been dropped.
pub(crate) fn reject(rejected: TokenId, challenge: Option<HeaderValue>) -> bool {
    REFRESHERS
        .lookup(rejected.refresher_number())
        .is_some_and(|shared| shared.reject(rejected, challenge))
}

impl Refreshable for Shared {
    fn request_refresh(&self) {
        self.event(|locked, now, actions| locked.state.on_source_request(now, actions));
    }

    fn has_transient_failure(&self) -> bool {
        self.lock().state.has_transient_failure()
    }

    #[cfg(feature = "shared")]
    fn token_remaining(&self) -> Option<std::time::Duration> {
        let token = self.usable_token()?;
        Some(token.until_expired(self.now()).unwrap_or(std::time::Duration::MAX))
    }

    #[cfg(feature = "shared")]
    fn was_rejected(&self, token: &AccessToken) -> bool {
        self.lock().state.was_rejected(token)
    }

    fn source_stopped_reporting(&self) {
        self.event(|_, _, actions| actions.wake_worker = true);
    }
}

/// The last handle has been dropped. The woken worker detects that, and ends.
impl Drop for Shared {
    fn drop(&mut self) {
        REFRESHERS.unregister(self.id);
        let locked = self.locked.get_mut().unwrap_or_else(PoisonError::into_inner);
        let (wake, gauge, revision) = (locked.wake.take(), locked.view.gauge, locked.revision + 1);
        let status = locked.state.status();
        if let Some(wake) = wake {
            panic::catch(|| wake.notify_one());
        }
        if gauge != ExpiryGauge::Unset {
            self.settings.telemetry.set_expiry_gauge(ExpiryGauge::Unset);
        }
        // No worker refreshes this token, although the last snapshot may say so.
        let state = if status.state == State::ShutDown { State::ShutDown } else { State::Idle };
        panic::catch(|| self.send(NumberedStatus { revision, status: Status { state, ..status } }));
    }
}
