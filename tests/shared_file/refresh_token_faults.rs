//! A refresh token whose store loses a write or fails, and programs that load the token during a login.

use std::{
    convert::Infallible,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use serde_json::json;
use tower::{BoxError, Service, ServiceExt, service_fn};
use tower_auth_refresh::{
    LoginReason, LoginRequest,
    oauth2::{
        AuthorizationServer, ClientAuthentication, Grant, OAuth2Login, RefreshToken,
        RefreshTokenStore,
    },
    shared::{
        ClaimId, ClaimOutcome, NewRecord, Record, RecordKey, Revision, SharedRefreshTokenStore,
        StoreFuture, TokenIdentity, TokenStore,
    },
    test_util::InMemoryTokenStore,
};

fn shared(store: impl TokenStore) -> SharedRefreshTokenStore {
    let identity = TokenIdentity::new("https://login.example.com", "cli", "refresh_token");
    SharedRefreshTokenStore::danger_unsealed(store, identity)
        .lock_time_to_live(Duration::from_secs(1))
}

async fn loaded(store: &SharedRefreshTokenStore) -> Option<String> {
    store.load().await.unwrap().map(|token| token.secret().to_owned())
}

/// Logs in twice, and goes back to an earlier state in between. Returns the refresh tokens that were sent.
async fn log_in_before_and_after_a_failover(state: State) -> Vec<String> {
    let memory = InMemoryTokenStore::default();
    let store = shared(memory.clone());
    store.save(RefreshToken::new("r0")).await.unwrap();
    let replica = Arc::new(Mutex::new(memory.snapshot()));
    let sent = Arc::new(Mutex::new(Vec::new()));
    let (at_send, primary, log) = (replica.clone(), memory.clone(), sent.clone());
    let http = service_fn(move |request: Request<Full<Bytes>>| {
        let (at_send, primary, log) = (at_send.clone(), primary.clone(), log.clone());
        async move {
            let form = request.into_body().collect().await?.to_bytes();
            let token = url::form_urlencoded::parse(&form)
                .find_map(|(name, value)| (name == "refresh_token").then(|| value.into_owned()));
            let nth = {
                let mut log = log.lock().unwrap();
                log.extend(token);
                log.len()
            };
            if nth == 1 && state == State::TokenInUse {
                *at_send.lock().unwrap() = primary.snapshot();
            }
            let body = json!({
                "access_token": format!("a{nth}"),
                "token_type": "Bearer",
                "refresh_token": format!("r{nth}"),
            });
            Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(body.to_string())))
        }
    });
    let server = AuthorizationServer::token_endpoint("https://login.example.com/token").unwrap();
    let client = ClientAuthentication::public("cli");
    let mut login = OAuth2Login::new(http, server, client, Grant::refresh_token_store(store));
    login.ready().await.unwrap().call(LoginRequest::new(LoginReason::First)).await.unwrap();
    let replica = replica.lock().unwrap().clone();
    memory.restore(&replica);
    login.ready().await.unwrap().call(LoginRequest::new(LoginReason::Expiring)).await.unwrap();
    sent.lock().unwrap().clone()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    BeforeTheLogin,
    TokenInUse,
}

#[tokio::test(start_paused = true)]
async fn process_sends_its_next_refresh_token_after_a_failover() {
    for state in [State::BeforeTheLogin, State::TokenInUse] {
        let sent = log_in_before_and_after_a_failover(state).await;
        assert_eq!(sent, ["r0", "r1"], "{state:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn load_waits_for_the_login_of_another_process() {
    let memory = InMemoryTokenStore::default();
    let (one, two) = (shared(memory.clone()), shared(memory.clone()));
    one.save(RefreshToken::new("r0")).await.unwrap();
    let lock = one.lock().await.unwrap();
    let token = one.load().await.unwrap().unwrap();
    one.before_send(token).await.unwrap();
    let other = tokio::spawn(async move { loaded(&two).await });
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(!other.is_finished());
    one.save(RefreshToken::new("r1")).await.unwrap();
    drop(lock);
    assert_eq!(other.await.unwrap().as_deref(), Some("r1"));
}

#[tokio::test(start_paused = true)]
async fn load_after_the_death_of_the_sender_requires_a_login() {
    let memory = InMemoryTokenStore::default();
    let (one, two) = (shared(memory.clone()), shared(memory.clone()));
    one.save(RefreshToken::new("r0")).await.unwrap();
    let lock = one.lock().await.unwrap();
    let token = one.load().await.unwrap().unwrap();
    one.before_send(token).await.unwrap();
    drop(lock);
    assert_eq!(loaded(&two).await, None);
}

#[tokio::test(start_paused = true)]
async fn token_that_can_be_resent_is_found_although_one_put_failed() {
    let (memory, is_full) = (InMemoryTokenStore::default(), Arc::new(AtomicBool::new(false)));
    let handle = || shared(FullStore { store: memory.clone(), is_full: is_full.clone() });
    let (one, two) = (handle(), handle());
    one.save(RefreshToken::new("r0")).await.unwrap();
    let lock = one.lock().await.unwrap();
    let token = one.load().await.unwrap().unwrap();
    one.before_send(token.clone()).await.unwrap();
    is_full.store(true, SeqCst);
    // The server has not replaced the token.
    one.after_send(token).await.unwrap_err();
    is_full.store(false, SeqCst);
    drop(lock);
    let _lock = two.lock().await.unwrap();
    assert_eq!(loaded(&two).await.as_deref(), Some("r0"));
}

/// A store without space for records, at times.
struct FullStore {
    store: InMemoryTokenStore,
    is_full: Arc<AtomicBool>,
}

impl TokenStore for FullStore {
    fn load<'a>(&'a self, key: &'a RecordKey) -> StoreFuture<'a, Option<Record>> {
        self.store.load(key)
    }

    fn claim<'a>(
        &'a self,
        key: &'a RecordKey,
        expected: Option<Revision>,
        claim: ClaimId,
        time_to_live: Duration,
    ) -> StoreFuture<'a, ClaimOutcome> {
        self.store.claim(key, expected, claim, time_to_live)
    }

    fn extend<'a>(
        &'a self,
        key: &'a RecordKey,
        claim: ClaimId,
        time_to_live: Duration,
    ) -> StoreFuture<'a, bool> {
        self.store.extend(key, claim, time_to_live)
    }

    fn release<'a>(&'a self, key: &'a RecordKey, claim: ClaimId) -> StoreFuture<'a, ()> {
        self.store.release(key, claim)
    }

    fn put<'a>(
        &'a self,
        key: &'a RecordKey,
        expected: Option<Revision>,
        claim: ClaimId,
        record: NewRecord,
    ) -> StoreFuture<'a, bool> {
        if self.is_full.load(SeqCst) {
            return Box::pin(async { Err(BoxError::from("no space left on device")) });
        }
        self.store.put(key, expected, claim, record)
    }
}
