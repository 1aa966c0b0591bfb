//! Loom models of what threads do to one refresher at the same time. `.ci/loom` runs them.
//!
//! A model runs the code itself, in any order of its critical sections and atomic operations. Only tokio's task is
//! replaced: a model calls what the task calls. The time is paused.

use std::{
    sync::LazyLock,
    time::{Duration, SystemTime},
};

use loom::{future::block_on, thread};
use tokio::{
    runtime::{self, Builder, Runtime as TokioRuntime},
    time::Instant,
};

use super::{
    State,
    handle::AuthRefresher,
    state::{
        active_worker::Runtime,
        caller_events::{CallerRuntimes, Progress, Ticket, WaitFor},
        worker_events::Step,
    },
    wait::NewWorker,
    worker::Worker,
};
use crate::{clock::Clock, login::LoginRequest, telemetry::RejectionEffect, token::AccessToken};

fn paused_runtime() -> TokioRuntime {
    Builder::new_current_thread().enable_time().start_paused(true).build().unwrap()
}

/// Explores a model in paused time.
pub(crate) fn explore(model: impl Fn() + Send + Sync + 'static) {
    let runtime = paused_runtime();
    // loom runs all threads of a model on this one.
    let _paused = runtime.enter();
    loom::model(model);
}

/// The runtimes of callers: the first worker's, and another.
#[derive(Clone, Copy)]
enum CallerOn {
    FirstRuntime,
    OtherRuntime,
}

impl CallerOn {
    fn caller(self) -> CallerRuntimes {
        static IDS: LazyLock<[runtime::Id; 2]> =
            LazyLock::new(|| [(), ()].map(|()| paused_runtime().handle().id()));
        let id = IDS[self as usize];
        CallerRuntimes { runtime: Some(id), target: Some(Runtime { id, can_stand_still: false }) }
    }
}

/// A wall clock that advances with the paused time.
#[derive(Debug)]
struct PausedClock(Instant);

impl Clock for PausedClock {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000) + self.0.elapsed()
    }
}

fn token(secret: u64) -> AccessToken {
    AccessToken::bearer(secret.to_string()).unwrap().with_expires_in(Duration::from_secs(3600))
}

/// One refresher, and what its tasks would do.
#[derive(Clone)]
pub(crate) struct ModelRefresher(pub(crate) AuthRefresher);

impl ModelRefresher {
    /// Starts with a worker that has not polled the state yet.
    fn with_worker() -> (Self, Worker) {
        let login =
            tower::service_fn(|_: LoginRequest| async { Err::<AccessToken, _>("not called") });
        let builder = AuthRefresher::builder(login).min_rejection_age(Duration::ZERO).rng(|| 0);
        let model = Self(builder.clock(PausedClock(Instant::now())).build().unwrap());
        let (progress, worker) =
            model.poll(&mut Ticket::new(WaitFor::AnyToken), CallerOn::FirstRuntime);
        assert!(matches!(progress, Progress::Pending { .. }));
        (model, worker.unwrap())
    }

    /// Starts with a worker and its first token.
    pub(crate) fn with_token() -> (Self, Worker) {
        let (model, mut worker) = Self::with_worker();
        model.start_login(&mut worker);
        model.finish_login(&mut worker, 1);
        (model, worker)
    }

    /// Starts with a worker, its first token, and a login for the second under way.
    pub(crate) fn refreshing() -> (Self, Worker) {
        let (model, mut worker) = Self::with_token();
        model.poll(&mut Ticket::new(WaitFor::NextLogin), CallerOn::FirstRuntime);
        model.pass_pauses();
        model.start_login(&mut worker);
        (model, worker)
    }

    /// Lets the pause between two logins pass, and the time after which a worker is late. Call it before
    /// the second thread starts, because the order of threads must not change the time.
    fn pass_pauses(&self) {
        block_on(tokio::time::advance(Duration::from_secs(1)));
    }

    fn poll(&self, ticket: &mut Ticket, on: CallerOn) -> (Progress, Option<Worker>) {
        let shared = self.0.shared();
        let (progress, new_worker) = shared.poll_state(ticket, on.caller(), shared.now());
        let worker = new_worker.map(|NewWorker { id, wake, .. }| Worker::new(shared, id, wake));
        (progress.unwrap(), worker)
    }

    fn start_login(&self, worker: &mut Worker) {
        assert!(matches!(worker.next_step(), Step::Login(_)));
    }

    pub(crate) fn finish_login(&self, worker: &mut Worker, secret: u64) {
        worker
            .finish_login(self.0.shared(), Ok(token(secret)), Duration::ZERO)
            .expect("the worker is the current one");
    }

    fn reject_first_token(&self) -> RejectionEffect {
        self.0
            .shared()
            .event(|locked, now, actions| locked.state.on_rejection(1, None, now, actions))
            .1
    }

    /// Waits for a token as a call does, and performs the login if it has to start the worker. Returns that worker.
    fn wait_for_token(&self, on: CallerOn) -> Option<Worker> {
        let mut ticket = Ticket::new(WaitFor::AnyToken);
        let mut changes = self.0.shared().status.subscribe();
        let mut started = None;
        loop {
            match self.poll(&mut ticket, on) {
                (Progress::Ready(_), None) => return started,
                (Progress::Ready(_), Some(_)) => panic!("a call with a token replaced the worker"),
                (Progress::Pending { .. }, Some(mut worker)) => {
                    self.start_login(&mut worker);
                    self.finish_login(&mut worker, 1);
                    assert!(started.replace(worker).is_none(), "the caller started two workers");
                }
                (Progress::Pending { .. }, None) => {
                    block_on(changes.changed()).expect("the refresher lives")
                }
            }
        }
    }

    /// Returns the generation of the token in the cell.
    fn generation(&self) -> Option<u64> {
        self.0.shared().current.load().usable().map(|token| token.generation)
    }

    /// Subscribers see the last status, although the statuses of two events can cross.
    fn assert_subscribers_see_the_last_status(&self) {
        let seen = self.0.shared().status.borrow().status.clone();
        let status = self.0.status();
        assert_eq!((seen.state, seen.generation), (status.state, status.generation));
    }
}

#[test]
fn rejected_token_leaves_the_cell_and_its_successor_stays() {
    explore(|| {
        let (model, mut worker) = ModelRefresher::refreshing();
        let rejecter = thread::spawn({
            let model = model.clone();
            move || {
                let effect = model.reject_first_token();
                assert_ne!(model.generation(), Some(1));
                assert!(matches!(
                    effect,
                    RejectionEffect::TriggeredLogin | RejectionEffect::AlreadyReplaced
                ));
            }
        });
        model.finish_login(&mut worker, 2);
        assert_eq!(model.generation(), Some(2));
        rejecter.join().unwrap();
        assert_eq!(model.generation(), Some(2));
        model.assert_subscribers_see_the_last_status();
    });
}

#[test]
fn two_rejections_of_one_token_count_once() {
    explore(|| {
        let (model, _worker) = ModelRefresher::with_token();
        let other = thread::spawn({
            let model = model.clone();
            move || model.reject_first_token()
        });
        let effects = [model.reject_first_token(), other.join().unwrap()];
        let count = |effect| effects.iter().filter(|found| **found == effect).count();
        assert_eq!(count(RejectionEffect::TriggeredLogin), 1);
        assert_eq!(count(RejectionEffect::AlreadyReplaced), 1);
        assert_eq!(model.generation(), None);
        model.assert_subscribers_see_the_last_status();
    });
}

#[test]
fn caller_replaces_worker_that_ends_during_login() {
    explore(|| {
        let (model, mut ending) = ModelRefresher::with_worker();
        model.start_login(&mut ending);
        model.pass_pauses();
        let ender = thread::spawn(move || drop(ending));
        // Only one caller waits: tokio wakes several in a random order, and a model must be deterministic.
        let worker = model.wait_for_token(CallerOn::OtherRuntime);
        ender.join().unwrap();
        assert!(worker.is_some());
        assert_eq!(model.generation(), Some(1));
        model.assert_subscribers_see_the_last_status();
    });
}

#[test]
fn one_of_two_callers_replaces_a_worker_that_ended() {
    explore(|| {
        let (model, ended) = ModelRefresher::with_token();
        drop(ended);
        let poll = |model: &ModelRefresher| {
            model.poll(&mut Ticket::new(WaitFor::NextLogin), CallerOn::OtherRuntime).1
        };
        let other = thread::spawn({
            let model = model.clone();
            move || poll(&model)
        });
        let workers = [poll(&model), other.join().unwrap()];
        assert_eq!(workers.iter().flatten().count(), 1);
        assert_eq!(model.generation(), Some(1), "the token is in the cell again");
        model.assert_subscribers_see_the_last_status();
    });
}

#[test]
fn late_worker_and_its_replacement_never_both_log_in() {
    explore(|| {
        let (model, mut late) = ModelRefresher::with_worker();
        model.pass_pauses();
        let returning = thread::spawn(move || (matches!(late.next_step(), Step::Login(_)), late));
        let (progress, mut replacement) =
            model.poll(&mut Ticket::new(WaitFor::AnyToken), CallerOn::OtherRuntime);
        assert!(matches!(progress, Progress::Pending { .. }));
        if let Some(replacement) = &mut replacement {
            model.start_login(replacement);
        }
        let (late_logs_in, mut late) = returning.join().unwrap();
        match replacement {
            // The end of the late worker must not end its replacement.
            Some(mut replacement) => {
                assert!(!late_logs_in);
                drop(late);
                model.finish_login(&mut replacement, 1);
                assert_eq!((model.generation(), model.0.status().state), (Some(1), State::Ready));
            }
            None => {
                assert!(late_logs_in, "a worker that is not replaced logs in");
                model.finish_login(&mut late, 1);
                assert_eq!((model.generation(), model.0.status().state), (Some(1), State::Ready));
            }
        }
        model.assert_subscribers_see_the_last_status();
    });
}
