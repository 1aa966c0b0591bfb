//! Tests of the token that processes share. Each simulated process has a service, and a refresher, of its own.
#![cfg(feature = "shared")]
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

#[path = "../support/lifecycle.rs"]
mod support;

mod claims;
#[path = "../support/dispatch.rs"]
mod dispatch;
mod events;
mod failures;
mod fleet;
mod leader;
mod link;
mod outage;
mod records;
mod simulation;
mod unknown_lifetime;

use std::{
    future::Future,
    sync::Mutex,
    time::{Duration, SystemTime},
};

use futures::FutureExt;
use tower::{BoxError, Layer, Service, ServiceExt};
use tower_auth_refresh::{
    AccessToken, AuthRefresher, AuthRefresherBuilder, Expiry, LoginError, LoginReason,
    LoginRequest,
    shared::{SealingKey, SealingKeys, SharedToken, SharedTokenLayer, TokenIdentity, TokenStore},
    test_util::{InMemoryTokenStore, MockLogin, TestClock},
};

pub(crate) const TIME_TO_LIVE: Duration = Duration::from_secs(5);

pub(crate) const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(crate) fn identity() -> TokenIdentity {
    TokenIdentity::new("https://login.example.com", "orders", "client_credentials")
}

pub(crate) fn keys() -> SealingKeys {
    SealingKeys::new(SealingKey::new([1; 32]))
}

pub(crate) fn layer(store: impl TokenStore) -> SharedTokenLayer {
    SharedTokenLayer::new(store, identity(), keys())
}

/// Calls a login service directly.
pub(crate) async fn log_in(
    service: &mut SharedToken,
    reason: LoginReason,
) -> Result<AccessToken, LoginError> {
    service.ready().await?.call(LoginRequest::new(reason)).await
}

/// Processes with one store, one issuer and one wall clock.
#[derive(Default)]
pub(crate) struct Fleet {
    pub(crate) store: InMemoryTokenStore,
    pub(crate) logins: MockLogin,
    pub(crate) clock: TestClock,
}

impl Fleet {
    /// Creates the builder of a process. `seed` is that of its random numbers.
    pub(crate) fn builder<F, R>(&self, seed: u64, login: F) -> AuthRefresherBuilder
    where
        F: Fn(usize) -> R + Send + 'static,
        R: Future<Output = Result<AccessToken, BoxError>> + Send + 'static,
    {
        self.builder_with(self.store.clone(), seed, login)
    }

    pub(crate) fn builder_with<F, R>(
        &self,
        store: impl TokenStore,
        seed: u64,
        login: F,
    ) -> AuthRefresherBuilder
    where
        F: Fn(usize) -> R + Send + 'static,
        R: Future<Output = Result<AccessToken, BoxError>> + Send + 'static,
    {
        let random = Mutex::new(fastrand::Rng::with_seed(seed));
        let layer = layer(store).rng(move || random.lock().unwrap().u64(..));
        let mut random = fastrand::Rng::with_seed(seed + 1_000_000);
        AuthRefresher::builder(layer.layer(self.logins.service(login)))
            .rng(move || random.u64(..))
            .clock(self.clock.clone())
    }

    /// Creates processes whose logins take 200 milliseconds.
    pub(crate) fn processes(&self, count: u64, lifetime: Duration) -> Vec<AuthRefresher> {
        let login = move |nth| async move {
            tokio::time::sleep(millis(200)).await;
            support::token(nth, lifetime)
        };
        (0..count).map(|seed| self.builder(seed, login).build().unwrap()).collect()
    }
}

/// Returns the secret of a token that a request gets without waiting.
pub(crate) fn at_once(process: &AuthRefresher) -> String {
    let token = process.token().now_or_never().expect("a request waits").unwrap();
    token.secret().to_owned()
}

/// Returns the secrets that the processes return, all requested at once.
pub(crate) async fn secrets(processes: &[AuthRefresher]) -> Vec<String> {
    let tokens = futures::future::join_all(processes.iter().map(AuthRefresher::token)).await;
    tokens.into_iter().map(|token| token.unwrap().secret().to_owned()).collect()
}

pub(crate) fn expires(process: &AuthRefresher) -> SystemTime {
    match process.status().expires {
        Some(Expiry::At(time)) => time,
        other => panic!("{other:?}"),
    }
}
