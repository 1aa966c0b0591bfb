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
    AccessToken, LoginError, LoginReason, LoginRequest,
    oauth2::{
        AuthorizationServer, ClientAuthentication, Grant, OAuth2Login, RefreshToken,
        RefreshTokenStore,
    },
    shared::{
        ClaimId, ClaimOutcome, NewRecord, Record, RecordKey, Revision, SharedRefreshTokenStore,
        StoreFuture, TokenIdentity, TokenStore,
    },
    test_util::InMemoryTokenStore,
    transport::HttpService,
};

fn shared(store: impl TokenStore) -> SharedRefreshTokenStore {
    let identity = TokenIdentity::new("https://login.example.com", "cli", "refresh_token");
    SharedRefreshTokenStore::danger_unsealed(store, identity)
        .lock_time_to_live(Duration::from_secs(1))
}

async fn loaded(store: &SharedRefreshTokenStore) -> Option<String> {
    store.load().await.unwrap().map(|token| token.secret().to_owned())
}

/// A login at a server that rotates the refresh token, and whose response to one request is lost. The store can fail over
/// to an earlier state.
struct Failover<S> {
    login: OAuth2Login<S>,
    memory: InMemoryTokenStore,
    replica: Arc<Mutex<InMemoryTokenStore>>,
    /// The refresh tokens that were sent.
    sent: Arc<Mutex<Vec<String>>>,
}

impl<S: HttpService> Failover<S> {
    async fn log_in(&mut self) -> Result<AccessToken, LoginError> {
        let request = LoginRequest::new(LoginReason::Expiring);
        self.login.ready().await?.call(request).await
    }

    fn fail_over(&self) {
        self.memory.restore(&self.replica.lock().unwrap().clone());
    }

    fn sent(&self) -> Vec<String> {
        self.sent.lock().unwrap().clone()
    }
}

/// `state` is the one to which the store fails over. The response to the request of this number is lost.
async fn failover(state: State, lost: Option<usize>) -> Failover<impl HttpService> {
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
            if Some(nth) == lost {
                return std::future::pending().await;
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
    let login = OAuth2Login::new(http, server, client, Grant::refresh_token_store(store));
    Failover { login, memory, replica, sent }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    BeforeTheLogin,
    TokenInUse,
}

#[tokio::test(start_paused = true)]
async fn process_sends_its_next_refresh_token_after_a_failover() {
    for state in [State::BeforeTheLogin, State::TokenInUse] {
        let mut failover = failover(state, None).await;
        failover.log_in().await.unwrap();
        failover.fail_over();
        failover.log_in().await.unwrap();
        assert_eq!(failover.sent(), ["r0", "r1"], "{state:?}");
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

/// The next token was sent too, with an unknown outcome. Then the store loses all of that.
#[tokio::test(start_paused = true)]
async fn next_token_with_an_unknown_outcome_is_not_resent_after_a_failover() {
    let memory = InMemoryTokenStore::default();
    let store = shared(memory.clone());
    store.save(RefreshToken::new("r0")).await.unwrap();
    let lock = store.lock().await.unwrap();
    let token = store.load().await.unwrap().unwrap();
    store.before_send(token).await.unwrap();
    let replica = memory.snapshot();
    store.save(RefreshToken::new("r1")).await.unwrap();
    drop(lock);
    // The response to r1 is lost.
    let lock = store.lock().await.unwrap();
    let token = store.load().await.unwrap().unwrap();
    assert_eq!(token.secret(), "r1");
    store.before_send(token).await.unwrap();
    drop(lock);
    assert_eq!(loaded(&store).await, None);
    memory.restore(&replica);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let lock = store.lock().await.unwrap();
    assert_eq!(loaded(&store).await, None, "r1 would be sent twice");
    drop(lock);
}

/// Another process has used the next token. Then the store loses both logins.
#[tokio::test(start_paused = true)]
async fn next_token_that_another_process_has_sent_is_not_resent_after_a_failover() {
    let memory = InMemoryTokenStore::default();
    let (store, other) = (shared(memory.clone()), shared(memory.clone()));
    store.save(RefreshToken::new("r0")).await.unwrap();
    let lock = store.lock().await.unwrap();
    let token = store.load().await.unwrap().unwrap();
    store.before_send(token).await.unwrap();
    let replica = memory.snapshot();
    store.save(RefreshToken::new("r1")).await.unwrap();
    drop(lock);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let lock = other.lock().await.unwrap();
    let token = other.load().await.unwrap().unwrap();
    other.before_send(token).await.unwrap();
    other.save(RefreshToken::new("r2")).await.unwrap();
    drop(lock);
    tokio::time::sleep(Duration::from_secs(2)).await;
    // This process has seen that r1 was replaced.
    assert_eq!(loaded(&store).await.as_deref(), Some("r2"));
    memory.restore(&replica);
    let lock = store.lock().await.unwrap();
    assert_eq!(loaded(&store).await, None, "r1 would be sent twice");
    drop(lock);
}

/// A person has logged in since, with this same store.
#[tokio::test(start_paused = true)]
async fn next_token_that_a_person_has_replaced_is_not_returned_after_a_failover() {
    let memory = InMemoryTokenStore::default();
    let store = shared(memory.clone());
    store.save(RefreshToken::new("r0")).await.unwrap();
    let lock = store.lock().await.unwrap();
    let token = store.load().await.unwrap().unwrap();
    store.before_send(token).await.unwrap();
    let replica = memory.snapshot();
    store.save(RefreshToken::new("r1")).await.unwrap();
    drop(lock);
    store.save(RefreshToken::new("person")).await.unwrap();
    memory.restore(&replica);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_ne!(loaded(&store).await.as_deref(), Some("r1"));
}

/// The response to the second request is lost.
#[tokio::test(start_paused = true)]
async fn login_sends_no_token_twice_after_a_failover() {
    for state in [State::BeforeTheLogin, State::TokenInUse] {
        let mut failover = failover(state, Some(2)).await;
        failover.log_in().await.unwrap();
        failover.log_in().await.unwrap_err();
        failover.fail_over();
        tokio::time::sleep(Duration::from_secs(10)).await;
        failover.log_in().await.unwrap_err();
        assert_eq!(failover.sent(), ["r0", "r1"], "{state:?}");
    }
}

/// A program that holds the lock of a clone, and asks whether a person has to log in.
#[tokio::test(start_paused = true)]
async fn load_ends_although_the_caller_has_the_lock_of_a_clone() {
    let memory = InMemoryTokenStore::default();
    let store = shared(memory.clone());
    store.save(RefreshToken::new("r0")).await.unwrap();
    let clone = store.clone();
    let lock = clone.lock().await.unwrap();
    let token = clone.load().await.unwrap().unwrap();
    clone.before_send(token).await.unwrap();
    let load = tokio::time::timeout(Duration::from_secs(3600), store.load()).await;
    load.unwrap().unwrap_err();
    drop(lock);
}
