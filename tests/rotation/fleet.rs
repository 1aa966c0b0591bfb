//! [`Fleet`]: starts the processes, kills them, and logs in as a person when that is required.

use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin},
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    thread,
    time::{Duration, Instant},
};

use tokio::runtime::Runtime;
use tower_auth_refresh::{oauth2::RefreshTokenStore, shared::SharedRefreshTokenStore};

use crate::{
    oidc_provider::OidcProvider,
    plan::{Kills, Plan},
    process::Settings,
    report::Report,
};

pub(crate) struct Fleet {
    plan: Plan,
    settings: Settings,
    provider: OidcProvider,
    session: SharedRefreshTokenStore,
    runtime: Runtime,
    places: Vec<Place>,
    /// One person, who logs in once at a time.
    person: Mutex<()>,
    /// The responses to token requests.
    responses: AtomicU64,
    is_killed_before_request: AtomicBool,
    is_finished: AtomicBool,
    report: Mutex<Report>,
}

/// The place of a process, which the next one takes after its death.
#[derive(Default)]
struct Place {
    /// `None` if it has been killed.
    child: Mutex<Option<Child>>,
    is_sending: AtomicBool,
}

impl Fleet {
    /// Returns `None` if the server cannot be started here.
    pub(crate) fn start(store: &str, plan: Plan) -> Option<Self> {
        let provider = OidcProvider::start(&[("TTL", plan.lifetime.as_secs().to_string())])?;
        let settings = Settings {
            issuer: provider.issuer.clone(),
            store: store.to_owned(),
            resend_interrupted: plan.resend_interrupted,
        };
        let session = settings.refresh_token_store();
        let runtime = Runtime::new().unwrap();
        runtime.block_on(async {
            session.save(provider.new_refresh_token().await).await.unwrap();
        });
        Some(Self {
            places: (0..plan.processes).map(|_| Place::default()).collect(),
            plan,
            settings,
            provider,
            session,
            runtime,
            person: Mutex::default(),
            responses: AtomicU64::new(0),
            is_killed_before_request: AtomicBool::new(false),
            is_finished: AtomicBool::new(false),
            report: Mutex::default(),
        })
    }

    pub(crate) fn run(self) -> Report {
        let started = Instant::now();
        thread::scope(|threads| {
            for place in 0..self.places.len() {
                let fleet = &self;
                threads.spawn(move || fleet.keep_running(place));
            }
            while !self.has_ended() {
                if started.elapsed() > self.plan.limit {
                    self.fail(format!("run exceeded {:?}", self.plan.limit));
                }
                match self.plan.kills {
                    Kills::AtRotations => thread::sleep(Duration::from_millis(20)),
                    Kills::EverySecond => {
                        thread::sleep(Duration::from_secs(1));
                        self.kill(fastrand::usize(..self.places.len()));
                    }
                }
            }
            self.is_finished.store(true, SeqCst);
            for place in &self.places {
                place.end();
            }
        });
        let seen = self.runtime.block_on(self.provider.seen());
        let mut report = self.report.into_inner().unwrap();
        report.add_seen(&seen);
        report
    }

    fn report(&self) -> MutexGuard<'_, Report> {
        self.report.lock().unwrap()
    }

    fn fail(&self, failure: String) {
        self.report().failures.push(failure);
    }

    fn has_ended(&self) -> bool {
        self.responses.load(SeqCst) >= self.plan.rotations || !self.report().failures.is_empty()
    }

    /// Starts a process, and another one after its death.
    fn keep_running(&self, place: usize) {
        while !self.is_finished.load(SeqCst) {
            let mut child = self.settings.spawn();
            let (input, lines) = (child.stdin.take().unwrap(), child.stderr.take().unwrap());
            *self.places[place].child.lock().unwrap() = Some(child);
            if self.is_finished.load(SeqCst) {
                self.places[place].end();
            }
            self.follow(place, input, BufReader::new(lines));
        }
    }

    /// Reads the lines of a process, until it has been killed.
    fn follow(&self, place: usize, mut input: ChildStdin, mut lines: impl BufRead) {
        let is_sending = &self.places[place].is_sending;
        let mut is_in_login = false;
        let mut line = String::new();
        while lines.read_line(&mut line).unwrap() > 0 {
            match line.trim_end() {
                "login" => is_in_login = true,
                "sending" => {
                    is_sending.store(true, SeqCst);
                    self.before_request(place, &mut input);
                }
                "received" => self.after_response(place, &mut input),
                "done" => {
                    is_in_login = false;
                    is_sending.store(false, SeqCst);
                }
                "accepted" => self.report().requests += 1,
                text if text.starts_with("login failed: ") => self.on_failed_login(text),
                text if text.starts_with("request failed: ") && requires_login(text) => {
                    self.report().requests_without_session += 1;
                }
                text => self.fail(text.to_owned()),
            }
            line.clear();
        }
        if self.is_finished.load(SeqCst) {
            return;
        }
        if self.places[place].child.lock().unwrap().is_some() {
            self.fail("process ended by itself".to_owned());
        }
        self.report().kills_in_login += u64::from(is_in_login);
        // Only now, so that a person logs in after that kill has been counted.
        let is_in_send = is_sending.swap(false, SeqCst);
        self.report().kills_in_send += u64::from(is_in_send);
    }

    fn before_request(&self, place: usize, input: &mut ChildStdin) {
        let is_due = self.plan.kills_before_request(self.responses.load(SeqCst))
            && !self.is_killed_before_request.swap(true, SeqCst);
        if is_due {
            self.kill(place);
        } else {
            self.proceed(input);
        }
    }

    fn after_response(&self, place: usize, input: &mut ChildStdin) {
        let number = self.responses.fetch_add(1, SeqCst) + 1;
        if self.plan.kills_after_response(number) {
            return self.kill(place);
        }
        if self.plan.kills_another(number) {
            self.kill((place + 1) % self.places.len());
        }
        self.proceed(input);
    }

    /// Lets the process continue, after a random time.
    fn proceed(&self, input: &mut ChildStdin) {
        thread::sleep(self.plan.max_delay.mul_f64(fastrand::f64()));
        // It may have been killed.
        let _ = writeln!(input, "continue");
    }

    fn on_failed_login(&self, text: &str) {
        self.report().failed_logins += 1;
        if requires_login(text) {
            self.log_in_as_person();
        } else if text.contains("invalid_grant") {
            self.fail(text.to_owned());
        } else {
            eprintln!("{text}");
        }
    }

    /// Saves a new session, unless there is one that can be used.
    fn log_in_as_person(&self) {
        let _person = self.person.lock().unwrap();
        self.runtime.block_on(async {
            while !self.is_finished.load(SeqCst) {
                let _lock = self.session.lock().await.unwrap();
                if self.session.load().await.unwrap().is_some() {
                    return;
                }
                // A process that lost its lock on a slow machine still saves the next token.
                let is_sent = self.places.iter().any(|place| place.is_sending.load(SeqCst));
                if !is_sent {
                    let token = self.provider.new_refresh_token().await;
                    // The clone has no lock, so it replaces any token.
                    self.session.clone().save(token).await.unwrap();
                    self.report().persons_logins += 1;
                    return;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
    }

    fn kill(&self, place: usize) {
        if self.places[place].end() {
            self.report().kills += 1;
        }
    }
}

impl Place {
    /// Sends SIGKILL, and waits for the end. Returns `false` if the process has been killed before.
    fn end(&self) -> bool {
        let Some(mut child) = self.child.lock().unwrap().take() else { return false };
        child.kill().unwrap();
        child.wait().unwrap();
        true
    }
}

fn requires_login(text: &str) -> bool {
    text.ends_with("login required")
}
