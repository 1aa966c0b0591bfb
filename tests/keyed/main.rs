//! Tests of many identities behind one handle.
#![cfg(feature = "keyed")]
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

#[path = "../support/dispatch.rs"]
mod dispatch;
#[path = "../support/lifecycle.rs"]
mod support;

mod creation;
mod hand_written;
mod handle;
mod in_use;
mod isolation;
mod layer;
mod on_behalf_of;
mod permits;
mod removal;
mod simulation;
mod telemetry;

use std::{
    collections::HashMap,
    future::Future,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use tokio::time::Instant;
use tower::{BoxError, service_fn};
use tower_auth_refresh::{AccessToken, AuthRefresher, AuthRefresherBuilder, LoginRequest};

/// One login of a key.
#[derive(Clone, Copy, Debug)]
struct Started {
    at: Instant,
}

/// Records the logins of each key. The token of a key's first login is `<key>.1`.
#[derive(Debug)]
struct KeyedLogins<K>(Arc<Mutex<Record<K>>>);

#[derive(Debug)]
struct Record<K> {
    started: HashMap<K, Vec<Started>>,
    running: usize,
    most_running: usize,
}

impl<K> Clone for KeyedLogins<K> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

struct Running<K>(KeyedLogins<K>);

impl<K> Drop for Running<K> {
    fn drop(&mut self) {
        self.0.lock().running -= 1;
    }
}

impl<K> KeyedLogins<K> {
    fn lock(&self) -> MutexGuard<'_, Record<K>> {
        self.0.lock().unwrap()
    }
}

impl<K: Hash + Eq + ToString + Clone + Send + Sync + 'static> KeyedLogins<K> {
    fn new() -> Self {
        Self(Arc::new(Mutex::new(Record { started: HashMap::new(), running: 0, most_running: 0 })))
    }

    /// Returns the builder of a key's refresher, whose logins take as long as the future that `login` returns.
    fn builder<F>(&self, key: &K, login: impl Fn(&K) -> F + Send + 'static) -> AuthRefresherBuilder
    where
        F: Future<Output = Result<Duration, BoxError>> + Send + 'static,
    {
        let (logins, key) = (self.clone(), key.clone());
        let service = service_fn(move |_: LoginRequest| {
            let number = logins.start(&key);
            let running = Running(logins.clone());
            let (secret, login) = (format!("{}.{number}", key.to_string()), login(&key));
            async move {
                let _running = running;
                let lifetime = login.await?;
                Ok::<_, BoxError>(AccessToken::bearer(secret)?.with_expires_in(lifetime))
            }
        });
        AuthRefresher::builder(service).jitter(false)
    }

    fn start(&self, key: &K) -> usize {
        let mut record = self.lock();
        record.running += 1;
        record.most_running = record.most_running.max(record.running);
        let started = record.started.entry(key.clone()).or_default();
        started.push(Started { at: Instant::now() });
        started.len()
    }

    fn started(&self, key: &K) -> usize {
        self.lock().started.get(key).map_or(0, Vec::len)
    }

    fn all_started(&self) -> usize {
        self.lock().started.values().map(Vec::len).sum()
    }

    fn most_running(&self) -> usize {
        self.lock().most_running
    }
}
