//! A refresh token in the store, with processes that rotate it, freeze and die.

use std::{
    collections::HashSet,
    convert::Infallible,
    fs, io,
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
use tokio::runtime::{Builder, Runtime};
use tower::{ServiceExt, service_fn};
use tower_auth_refresh::{
    AccessToken, LoginError, LoginReason, LoginRequest,
    oauth2::{
        AuthorizationServer, ClientAuthentication, Grant, OAuth2Error, OAuth2Login, RefreshToken,
        RefreshTokenStore,
    },
    shared::{FileTokenStore, SealingKey, SealingKeys, SharedRefreshTokenStore, TokenIdentity},
    test_util::TestClock,
    transport::{HttpService, TransportConfig},
};

use crate::{process::Process, support::TempDir};

/// Short, so that tests do not wait for long. A claim that is lost because the machine is slow breaks no promise.
const TTL: Duration = Duration::from_millis(100);

fn identity() -> TokenIdentity {
    TokenIdentity::new("https://as.example", "cli", "refresh_token")
}

fn keys() -> SealingKeys {
    SealingKeys::new(SealingKey::new([7; 32]))
}

fn shared(store: FileTokenStore) -> SharedRefreshTokenStore {
    SharedRefreshTokenStore::new(store, identity(), keys()).lock_time_to_live(TTL)
}

fn token(secret: &str) -> RefreshToken {
    RefreshToken::new(secret)
}

async fn loaded(store: &SharedRefreshTokenStore) -> Option<String> {
    store.load().await.unwrap().map(|token| token.secret().to_owned())
}

/// Waits for the lock, so that an earlier one is released, and then loads.
async fn loaded_with_lock(store: &SharedRefreshTokenStore) -> Option<String> {
    let _lock = store.lock().await.unwrap();
    loaded(store).await
}

fn token_endpoint() -> AuthorizationServer {
    AuthorizationServer::token_endpoint("https://as.example/token").unwrap()
}

async fn log_in(
    http: impl HttpService,
    store: SharedRefreshTokenStore,
) -> Result<AccessToken, LoginError> {
    log_in_to(http, token_endpoint(), store).await
}

async fn log_in_to(
    http: impl HttpService,
    server: AuthorizationServer,
    store: SharedRefreshTokenStore,
) -> Result<AccessToken, LoginError> {
    let client = ClientAuthentication::public("cli");
    let login = OAuth2Login::new(http, server, client, Grant::refresh_token_store(store));
    let config = TransportConfig::new().timeout(Duration::from_secs(60));
    login.transport_config(config).oneshot(LoginRequest::new(LoginReason::First)).await
}

/// A server that calls a function with the refresh token. The function returns the status and the response.
fn server<F>(respond: F) -> impl HttpService
where
    F: Fn(String) -> (u16, serde_json::Value) + Clone + Send + Sync + 'static,
{
    service_fn(move |request: Request<Full<Bytes>>| {
        let respond = respond.clone();
        async move {
            let form = request.into_body().collect().await?.to_bytes();
            let sent = url::form_urlencoded::parse(&form)
                .find_map(|(name, value)| (name == "refresh_token").then(|| value.into_owned()));
            // A test's server can wait for another process.
            let (status, body) =
                tokio::task::spawn_blocking(move || respond(sent.unwrap())).await.unwrap();
            let body = Full::<Bytes>::from(body.to_string());
            Ok::<_, Infallible>(Response::builder().status(status).body(body).unwrap())
        }
    })
}

/// Issues tokens `<session>.<n>`, and records each one that is sent twice.
#[derive(Default)]
struct Judge {
    sessions: u32,
    used: HashSet<String>,
    reused: Vec<String>,
}

impl Judge {
    fn new_session(&mut self) -> RefreshToken {
        self.sessions += 1;
        token(&format!("{}.0", self.sessions))
    }

    /// Returns the next token.
    fn rotate(&mut self, used: &str) -> String {
        if !self.used.insert(used.to_owned()) {
            self.reused.push(used.to_owned());
        }
        let (session, number) = used.split_once('.').unwrap();
        format!("{session}.{}", number.parse::<u32>().unwrap() + 1)
    }
}

fn granted(next: &str) -> (u16, serde_json::Value) {
    (200, json!({"access_token": "abc", "token_type": "Bearer", "refresh_token": next}))
}

#[tokio::test]
async fn logins_of_many_handles_use_no_token_twice() {
    let directory = TempDir::new();
    let judge = Arc::new(Mutex::new(Judge::default()));
    let first = judge.lock().unwrap().new_session();
    shared(directory.store()).save(first).await.unwrap();
    let mut logins = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let judge = judge.clone();
        let http = server(move |sent| granted(&judge.lock().unwrap().rotate(&sent)));
        let store = shared(directory.store()).lock_time_to_live(Duration::from_secs(60));
        logins.spawn(log_in(http, store));
    }
    for login in logins.join_all().await {
        login.unwrap();
    }
    assert!(judge.lock().unwrap().reused.is_empty());
    assert_eq!(loaded_with_lock(&shared(directory.store())).await.unwrap(), "1.20");
}

#[tokio::test]
async fn record_is_sealed_and_bound_to_its_identity() {
    let directory = TempDir::new();
    let store = shared(directory.store());
    store.save(token("s3cr3t")).await.unwrap();
    let contents = || -> Vec<u8> {
        let files = fs::read_dir(&directory.0).unwrap();
        files.flat_map(|file| fs::read(file.unwrap().path()).unwrap()).collect()
    };
    let contains = |contents: &[u8]| contents.windows(6).any(|window| window == b"s3cr3t");
    assert!(!contains(&contents()));
    assert!(!format!("{store:?}").contains("s3cr3t"));
    assert_eq!(loaded(&store).await.unwrap(), "s3cr3t");
    let other =
        SharedRefreshTokenStore::new(directory.store(), identity().parameter("user", "a"), keys());
    assert_eq!(loaded(&other).await, None);

    let unsealed = SharedRefreshTokenStore::danger_unsealed(
        directory.store(),
        identity().parameter("user", "b"),
    );
    unsealed.save(token("s3cr3t")).await.unwrap();
    assert!(contains(&contents()));
    assert_eq!(loaded(&unsealed).await.unwrap(), "s3cr3t");
}

#[tokio::test]
async fn login_of_a_person_replaces_a_token_that_cannot_be_opened() {
    let directory = TempDir::new();
    shared(directory.store()).save(token("old")).await.unwrap();
    let keys = SealingKeys::new(SealingKey::new([8; 32]));
    let store = SharedRefreshTokenStore::new(directory.store(), identity(), keys);
    let error = store.load().await.unwrap_err().to_string();
    assert!(error.starts_with("sealing key of record unknown: "), "{error}");
    store.save(token("new")).await.unwrap();
    assert_eq!(loaded(&store).await.unwrap(), "new");
}

#[tokio::test]
async fn lock_excludes_other_locks_until_it_is_dropped() {
    let directory = TempDir::new();
    let is_locked = Arc::new(AtomicBool::new(false));
    let mut tasks = tokio::task::JoinSet::new();
    // Some handles are clones, some are not.
    for store in [shared(directory.store()), shared(directory.store())] {
        for _ in 0..4 {
            let (store, is_locked) = (store.clone(), is_locked.clone());
            tasks.spawn(async move {
                let store = store.lock_time_to_live(Duration::from_secs(60));
                for _ in 0..3 {
                    let lock = store.lock().await.unwrap();
                    assert!(!is_locked.swap(true, SeqCst));
                    tokio::task::yield_now().await;
                    assert!(is_locked.swap(false, SeqCst));
                    drop(lock);
                }
            });
        }
    }
    tasks.join_all().await;
}

#[tokio::test(start_paused = true)]
async fn lock_outlives_its_time_to_live_while_the_guard_lives() {
    let (directory, clock) = (TempDir::new(), TestClock::default());
    let [first, second] = [(); 2].map(|()| {
        shared(directory.store().clock(clock.clone())).lock_time_to_live(Duration::from_secs(5))
    });
    let lock = first.lock().await.unwrap();
    let waiting = second.lock();
    tokio::pin!(waiting);
    assert!(tokio::time::timeout(Duration::from_secs(60), &mut waiting).await.is_err());
    drop(lock);
    waiting.await.unwrap();
}

#[tokio::test]
async fn dropped_lock_attempt_leaves_no_lock() {
    let directory = TempDir::new();
    let store = shared(directory.store()).lock_time_to_live(Duration::from_secs(3600));
    let lock = store.lock().await.unwrap();
    for delay in [0, 1, 5, 20] {
        let attempt = tokio::time::timeout(Duration::from_millis(delay), store.lock());
        assert!(attempt.await.is_err());
    }
    drop(lock);
    for delay in [0, 1, 2, 5, 20] {
        let attempt = tokio::time::timeout(Duration::from_millis(delay), store.lock());
        drop(attempt.await);
    }
    drop(store.lock().await.unwrap());
}

/// A program that ends right after its login, before its tasks can run.
fn log_in_and_exit(
    directory: &TempDir,
    http: impl HttpService,
    server: AuthorizationServer,
) -> Result<AccessToken, LoginError> {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(log_in_to(http, server, shared(directory.store())))
}

fn next_program_finds(directory: &TempDir) -> Option<String> {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(loaded(&shared(directory.store())))
}

fn failing(kind: io::ErrorKind) -> impl HttpService {
    service_fn(move |_: Request<Full<Bytes>>| async move {
        Err::<Response<Full<Bytes>>, _>(io::Error::from(kind))
    })
}

fn save(directory: &TempDir, secret: &str) {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(shared(directory.store()).save(token(secret))).unwrap();
}

#[test]
fn program_that_ends_after_its_login_keeps_the_session() {
    let directory = TempDir::new();
    save(&directory, "r0");
    for status in [200, 400, 503] {
        let http = server(move |_| (status, json!({"access_token": "abc"})));
        let login = log_in_and_exit(&directory, http, token_endpoint());
        assert_eq!(login.is_ok(), status == 200);
        assert_eq!(next_program_finds(&directory).unwrap(), "r0", "{status}");
    }
    let rotating = server(|_| granted("r1"));
    log_in_and_exit(&directory, rotating, token_endpoint()).unwrap();
    assert_eq!(next_program_finds(&directory).unwrap(), "r1");
}

#[test]
fn program_without_a_connection_keeps_the_session() {
    let directory = TempDir::new();
    save(&directory, "r0");
    let issuer = AuthorizationServer::discover("https://as.example").unwrap();
    for (server, kind) in [
        (token_endpoint(), io::ErrorKind::ConnectionRefused),
        (token_endpoint(), io::ErrorKind::NetworkUnreachable),
        (issuer.clone(), io::ErrorKind::ConnectionRefused),
        // The metadata has no complete response.
        (issuer, io::ErrorKind::TimedOut),
    ] {
        log_in_and_exit(&directory, failing(kind), server).unwrap_err();
        assert_eq!(next_program_finds(&directory).unwrap(), "r0", "{kind}");
    }
}

#[test]
fn token_without_a_complete_response_is_not_resent() {
    for kind in [io::ErrorKind::TimedOut, io::ErrorKind::ConnectionReset, io::ErrorKind::Other] {
        let directory = TempDir::new();
        save(&directory, "r0");
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let store = shared(directory.store());
            let error = log_in(failing(kind), store.clone()).await.unwrap_err();
            assert!(!error.is_permanent(), "{error:?}");
            assert_eq!(loaded_with_lock(&store).await, None, "{kind}");
            let resending = shared(directory.store()).resend_interrupted(true);
            assert_eq!(loaded_with_lock(&resending).await.unwrap(), "r0", "{kind}");
        });
    }
}

#[tokio::test]
async fn login_without_rotation_leaves_a_token_that_can_be_resent() {
    let directory = TempDir::new();
    shared(directory.store()).save(token("r0")).await.unwrap();
    for status in [200, 503] {
        let http = server(move |sent| {
            assert_eq!(sent, "r0");
            (status, json!({"access_token": "abc", "token_type": "Bearer"}))
        });
        let login = log_in(http, shared(directory.store())).await;
        assert_eq!(login.is_ok(), status == 200);
        assert_eq!(loaded_with_lock(&shared(directory.store())).await.unwrap(), "r0");
    }
}

#[tokio::test]
async fn token_that_was_sent_is_not_sent_by_another_process() {
    let directory = TempDir::new();
    let store = shared(directory.store());
    store.save(token("r0")).await.unwrap();
    let mut process = Process::start("send", &directory.0);
    assert_eq!(process.line(), "sent r0");
    process.kill();

    assert_eq!(loaded_with_lock(&store).await, None);
    let unexpected = server(|sent| panic!("{sent} was sent"));
    let error = log_in(unexpected, store.clone()).await.unwrap_err();
    assert!(error.is_permanent());
    let cause = error.cause::<OAuth2Error>().unwrap().to_string();
    assert!(cause.ends_with("refresh token missing: login required"), "{cause}");
    let resending = store.clone().resend_interrupted(true);
    assert_eq!(loaded_with_lock(&resending).await.unwrap(), "r0");

    // A person logs in.
    store.save(token("r1")).await.unwrap();
    assert_eq!(loaded_with_lock(&store).await.unwrap(), "r1");
}

/// Locks, announces the token, and is killed.
pub(crate) async fn send(store: FileTokenStore) {
    let store = shared(store);
    let _lock = store.lock().await.unwrap();
    let sent = store.load().await.unwrap().unwrap();
    store.before_send(sent.clone()).await.unwrap();
    eprintln!("sent {}", sent.secret());
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn token_is_announced_under_the_lock_only() {
    let directory = TempDir::new();
    let store = shared(directory.store());
    store.save(token("r0")).await.unwrap();
    let error = store.before_send(token("r0")).await.unwrap_err();
    assert_eq!(error.to_string(), "refresh token store not locked");
}

/// A process that can be frozen: its runtime runs only in `run`.
struct Freezable {
    runtime: Runtime,
    store: SharedRefreshTokenStore,
}

impl Freezable {
    fn new(directory: &TempDir) -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        Self { runtime, store: shared(directory.store()) }
    }

    fn run<T>(&self, part: impl AsyncFnOnce(&SharedRefreshTokenStore) -> T) -> T {
        self.runtime.block_on(part(&self.store))
    }
}

#[test]
fn process_that_lost_its_lock_does_not_send_a_token_that_was_sent() {
    let directory = TempDir::new();
    let (frozen, other) = (Freezable::new(&directory), Freezable::new(&directory));
    let _lock = frozen.run(async |store| {
        store.save(token("r0")).await.unwrap();
        let lock = store.lock().await.unwrap();
        assert_eq!(loaded(store).await.unwrap(), "r0");
        lock
    });
    for is_saved in [false, true] {
        other.run(async |store| {
            let _lock = store.lock().await.unwrap();
            assert_eq!(loaded(store).await.unwrap(), "r0");
            store.before_send(token("r0")).await.unwrap();
            if is_saved {
                store.save(token("r1")).await.unwrap();
            } else {
                store.after_send(token("r0")).await.unwrap();
            }
        });
        let announced = frozen.run(async |store| store.before_send(token("r0")).await);
        assert_eq!(announced.unwrap_err().to_string(), "refresh token replaced by another process");
    }
    frozen.run(async |store| {
        store.save(token("r0")).await.unwrap_err();
        assert_eq!(loaded(store).await.unwrap(), "r1");
    });
}

#[tokio::test]
async fn clone_that_gets_a_lost_lock_sends_no_token_twice() {
    const HOUR: Duration = Duration::from_secs(3600);
    let (directory, clock) = (TempDir::new(), TestClock::default());
    let first = shared(directory.store().clock(clock.clone())).lock_time_to_live(HOUR);
    let second = first.clone();
    first.save(token("r0")).await.unwrap();
    let _lock = first.lock().await.unwrap();
    assert_eq!(loaded(&first).await.unwrap(), "r0");
    // The first login is frozen until its claim has ended.
    clock.advance(2 * HOUR);
    let _other = second.lock().await.unwrap();
    assert_eq!(loaded(&second).await.unwrap(), "r0");
    first.before_send(token("r0")).await.unwrap();
    second.before_send(token("r0")).await.unwrap_err();
    first.after_send(token("r0")).await.unwrap();
    assert_eq!(loaded(&first).await.unwrap(), "r0");
}

#[test]
fn load_of_others_does_not_change_what_a_login_compares() {
    let directory = TempDir::new();
    let (frozen, other) = (Freezable::new(&directory), Freezable::new(&directory));
    let _lock = frozen.run(async |store| {
        store.save(token("r0")).await.unwrap();
        let lock = store.lock().await.unwrap();
        assert_eq!(loaded(store).await.unwrap(), "r0");
        lock
    });
    other.run(async |store| {
        let _lock = store.lock().await.unwrap();
        assert_eq!(loaded(store).await.unwrap(), "r0");
        store.before_send(token("r0")).await.unwrap();
        store.save(token("r1")).await.unwrap();
    });
    frozen.run(async |store| {
        // The application looks at the token while its login has lost the lock.
        assert_eq!(loaded(store).await.unwrap(), "r1");
        store.before_send(token("r0")).await.unwrap_err();
        assert_eq!(loaded(store).await.unwrap(), "r1");
    });
}

#[tokio::test]
async fn login_does_not_overwrite_what_a_person_has_saved() {
    let directory = TempDir::new();
    let store = shared(directory.store());
    store.save(token("r0")).await.unwrap();
    let _lock = store.lock().await.unwrap();
    assert_eq!(loaded(&store).await.unwrap(), "r0");
    store.before_send(token("r0")).await.unwrap();
    store.clone().save(token("from-a-person")).await.unwrap();
    assert_eq!(loaded(&store).await.unwrap(), "from-a-person");
    store.save(token("r1")).await.unwrap_err();
    assert_eq!(loaded(&store).await.unwrap(), "from-a-person");
}

#[test]
fn process_that_lost_its_lock_saves_the_next_token_of_the_one_it_sent() {
    let directory = TempDir::new();
    let (frozen, other) = (Freezable::new(&directory), Freezable::new(&directory));
    let _lock = frozen.run(async |store| {
        store.save(token("r0")).await.unwrap();
        let lock = store.lock().await.unwrap();
        let sent = store.load().await.unwrap().unwrap();
        store.before_send(sent).await.unwrap();
        lock
    });
    assert_eq!(other.run(loaded_with_lock), None);
    frozen.run(async |store| store.save(token("r1")).await.unwrap());
    assert_eq!(other.run(loaded_with_lock).unwrap(), "r1");
}

#[test]
fn token_whose_successor_was_not_saved_stays_in_use() {
    let directory = TempDir::new();
    let (first, other) = (Freezable::new(&directory), Freezable::new(&directory));
    first.run(async |store| {
        store.save(token("r0")).await.unwrap();
        let lock = store.lock().await.unwrap();
        let sent = store.load().await.unwrap().unwrap();
        store.before_send(sent).await.unwrap();
        // Another login saves at the same time, or the store fails.
        let blocked = directory.0.with_extension("moved");
        fs::rename(&directory.0, &blocked).unwrap();
        fs::write(&directory.0, "").unwrap();
        store.save(token("r1")).await.unwrap_err();
        fs::remove_file(&directory.0).unwrap();
        fs::rename(&blocked, &directory.0).unwrap();
        drop(lock);
        // The lock is released.
        drop(store.lock().await.unwrap());
        assert_eq!(loaded(store).await, None);
    });
    assert_eq!(other.run(loaded_with_lock), None);
}

/// Logs in again and again. The server is the parent process: it reads `send <token>`, and writes the next token.
pub(crate) async fn rotate(store: FileTokenStore) {
    let http = server(|sent| {
        eprintln!("send {sent}");
        let mut next = String::new();
        io::stdin().read_line(&mut next).unwrap();
        granted(next.trim())
    });
    loop {
        match log_in(http.clone(), shared(store.clone())).await {
            Ok(_) => eprintln!("granted"),
            Err(error) if error.is_permanent() => {
                eprintln!("login required");
                let mut done = String::new();
                io::stdin().read_line(&mut done).unwrap();
            }
            Err(error) => eprintln!("failed {error}"),
        }
    }
}

#[test]
fn processes_that_are_killed_use_no_token_twice() {
    const LIVES: usize = 8;
    let directory = TempDir::new();
    let judge = Mutex::new(Judge::default());
    let runtime = Runtime::new().unwrap();
    let store = shared(directory.store());
    // A person logs in, unless another one has.
    let person_logs_in = || {
        let mut judge = judge.lock().unwrap();
        runtime.block_on(async {
            if loaded(&store).await.is_none() {
                store.save(judge.new_session()).await.unwrap();
            }
        });
    };
    let live = || {
        let mut process = Process::start("rotate", &directory.0);
        for _ in 0..fastrand::u32(1..30) {
            let line = process.line();
            match line.split_once(' ') {
                Some(("send", sent)) => {
                    let next = judge.lock().unwrap().rotate(sent);
                    if fastrand::u32(..8) == 0 {
                        break;
                    }
                    process.send(&next);
                }
                Some(("login", "required")) => {
                    person_logs_in();
                    process.send("done");
                }
                // Lost locks are allowed.
                _ => {}
            }
        }
        process.kill();
    };
    std::thread::scope(|threads| {
        for _ in 0..3 {
            threads.spawn(|| (0..LIVES).for_each(|_| live()));
        }
    });
    let judge = judge.into_inner().unwrap();
    assert!(judge.reused.is_empty(), "{:?}", judge.reused);
    assert!(judge.used.len() > LIVES, "{}", judge.used.len());
}
