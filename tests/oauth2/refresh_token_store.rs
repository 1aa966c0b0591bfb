//! Stores that processes share, or that fail.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering::SeqCst},
};

use serde_json::json;
use tower_auth_refresh::oauth2::{
    Grant, OAuth2Login, RefreshToken, RefreshTokenStore, StoreFuture,
};

use crate::support::{
    GRANTED, MockServer, Store, authorization_server, basic, log_in, log_in_again, oauth2_error,
    response, rotating_login, rotating_server,
};

#[tokio::test]
async fn unsaved_token_does_not_overwrite_a_newer_one() {
    let server = MockServer::default();
    let store = Store::with("r0");
    let http = server.service(|request| match request.parameter("refresh_token") {
        "r0" => response(200, r#"{"access_token":"a","refresh_token":"r1"}"#),
        "from-a-browser" => response(200, GRANTED),
        other => panic!("{other}"),
    });
    let mut login = OAuth2Login::new(
        http,
        authorization_server(),
        basic(),
        Grant::refresh_token_store(store.clone()),
    );
    *store.works.lock().unwrap() = false;
    log_in_again(&mut login).await.unwrap_err();
    *store.works.lock().unwrap() = true;
    store.put("from-a-browser");
    assert_eq!(log_in_again(&mut login).await.unwrap().secret(), "abc");
    assert_eq!(store.has(), "from-a-browser");
}

#[tokio::test]
async fn store_that_returns_old_token_causes_no_reuse() {
    let (server, store) = (MockServer::default(), Store::with("r0"));
    let mut login = rotating_login(&server, &store);
    for n in 1..=4 {
        assert_eq!(log_in_again(&mut login).await.unwrap().secret(), format!("a{n}"));
    }
    for (old, n) in [("r1", 5), ("r0", 6), ("r3", 7)] {
        store.put(old);
        assert_eq!(log_in_again(&mut login).await.unwrap().secret(), format!("a{n}"), "{old}");
    }
}

#[tokio::test]
async fn store_with_old_token_is_corrected() {
    let (server, store) = (MockServer::default(), Store::with("r0"));
    let http = server.service(|request| match request.parameter("refresh_token") {
        "r0" => response(200, r#"{"access_token":"a","refresh_token":"r1"}"#),
        "r1" => response(200, GRANTED),
        other => panic!("{other}"),
    });
    let mut login = OAuth2Login::new(
        http,
        authorization_server(),
        basic(),
        Grant::refresh_token_store(store.clone()),
    );
    log_in_again(&mut login).await.unwrap();
    store.put("r0");
    log_in_again(&mut login).await.unwrap();
    assert_eq!(store.has(), "r1");
}

#[tokio::test]
async fn removed_token_is_not_restored() {
    let (server, store) = (MockServer::default(), Store::with("r0"));
    let mut login = rotating_login(&server, &store);
    log_in_again(&mut login).await.unwrap();
    *store.token.lock().unwrap() = None;
    let error = log_in_again(&mut login).await.unwrap_err();
    assert!(error.is_permanent() && store.token.lock().unwrap().is_none(), "{error:?}");
    store.put("r1");
    assert_eq!(log_in_again(&mut login).await.unwrap().secret(), "a2");
}

#[tokio::test]
async fn processes_with_lock_use_no_token_twice() {
    #[derive(Clone)]
    struct Locked(Store, Arc<tokio::sync::Mutex<()>>);
    impl RefreshTokenStore for Locked {
        fn lock(&self) -> StoreFuture<'_, Box<dyn Send>> {
            Box::pin(async { Ok(Box::new(self.1.clone().lock_owned().await) as _) })
        }
        fn load(&self) -> StoreFuture<'_, Option<RefreshToken>> {
            self.0.load()
        }
        fn save(&self, token: RefreshToken) -> StoreFuture<'_, ()> {
            self.0.save(token)
        }
    }
    let server = MockServer::default();
    let (http, store) = (rotating_server(&server), Locked(Store::with("r0"), Arc::default()));
    let mut logins = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let grant = Grant::refresh_token_store(store.clone());
        logins.spawn(log_in(OAuth2Login::new(
            http.clone(),
            authorization_server(),
            basic(),
            grant,
        )));
    }
    for token in logins.join_all().await {
        token.unwrap();
    }
    assert_eq!(server.requests().len(), 20);
}

#[tokio::test]
async fn token_is_announced_to_the_store_before_it_is_sent() {
    /// Records the tokens. Fails at the second one.
    #[derive(Clone)]
    struct Announced(Store, Arc<Mutex<Vec<String>>>);
    impl RefreshTokenStore for Announced {
        fn load(&self) -> StoreFuture<'_, Option<RefreshToken>> {
            self.0.load()
        }
        fn before_send(&self, token: RefreshToken) -> StoreFuture<'_, ()> {
            let mut announced = self.1.lock().unwrap();
            announced.push(token.secret().to_owned());
            let failed = announced.len() == 2;
            Box::pin(async move { if failed { Err("disk full".into()) } else { Ok(()) } })
        }
        fn save(&self, token: RefreshToken) -> StoreFuture<'_, ()> {
            self.0.save(token)
        }
    }
    let (server, store) = (MockServer::default(), Announced(Store::with("r0"), Arc::default()));
    let announced = store.1.clone();
    let http = server.service(move |request| {
        let sent = request.parameter("refresh_token");
        assert_eq!(announced.lock().unwrap().last().unwrap(), sent);
        let next = format!("{sent}+");
        response(200, json!({"access_token": "a", "refresh_token": next}).to_string())
    });
    let grant = Grant::refresh_token_store(store.clone());
    let mut login = OAuth2Login::new(http, authorization_server(), basic(), grant);
    log_in_again(&mut login).await.unwrap();
    let error = log_in_again(&mut login).await.unwrap_err();
    assert!(!error.is_permanent(), "{error:?}");
    assert_eq!(server.requests().len(), 1);
    log_in_again(&mut login).await.unwrap();
    assert_eq!(*store.1.lock().unwrap(), ["r0", "r0+", "r0+"]);
}

#[tokio::test]
async fn store_learns_that_a_token_was_not_replaced() {
    /// Records the calls.
    #[derive(Clone)]
    struct Recorded(Store, Arc<Mutex<Vec<String>>>);
    impl Recorded {
        fn record(&self, call: &str, token: &RefreshToken) {
            self.1.lock().unwrap().push(format!("{call} {}", token.secret()));
        }
    }
    impl RefreshTokenStore for Recorded {
        fn load(&self) -> StoreFuture<'_, Option<RefreshToken>> {
            self.0.load()
        }
        fn before_send(&self, token: RefreshToken) -> StoreFuture<'_, ()> {
            self.record("before", &token);
            Box::pin(async { Ok(()) })
        }
        fn after_send(&self, token: RefreshToken) -> StoreFuture<'_, ()> {
            self.record("after", &token);
            Box::pin(async { Ok(()) })
        }
        fn save(&self, token: RefreshToken) -> StoreFuture<'_, ()> {
            self.record("save", &token);
            self.0.save(token)
        }
    }
    let rejected = r#"{"error":"invalid_grant"}"#;
    let rotated = r#"{"access_token":"a","refresh_token":"r1"}"#;
    let same = r#"{"access_token":"a","refresh_token":"r0"}"#;
    let not_granted = r#"{"refresh_token":"r1"}"#;
    for (status, body, expected) in [
        (200, GRANTED, ["before r0", "after r0"]),
        (200, same, ["before r0", "after r0"]),
        (200, rotated, ["before r0", "save r1"]),
        (200, not_granted, ["before r0", "save r1"]),
        (400, rejected, ["before r0", "after r0"]),
        (503, "", ["before r0", "after r0"]),
    ] {
        let server = MockServer::default();
        let store = Recorded(Store::with("r0"), Arc::default());
        let http = server.service(move |_| response(status, body));
        let grant = Grant::refresh_token_store(store.clone());
        let _ = log_in(OAuth2Login::new(http, authorization_server(), basic(), grant)).await;
        assert_eq!(*store.1.lock().unwrap(), expected, "{status} {body}");
    }
}

#[tokio::test]
async fn store_is_locked_until_the_grant_ends() {
    /// Notices each use without the lock.
    #[derive(Clone)]
    struct Guarded(Store, Arc<AtomicBool>);
    struct Guard(Arc<AtomicBool>);
    impl Drop for Guard {
        fn drop(&mut self) {
            self.0.store(false, SeqCst);
        }
    }
    impl RefreshTokenStore for Guarded {
        fn lock(&self) -> StoreFuture<'_, Box<dyn Send>> {
            assert!(!self.1.swap(true, SeqCst));
            Box::pin(async { Ok(Box::new(Guard(self.1.clone())) as _) })
        }
        fn load(&self) -> StoreFuture<'_, Option<RefreshToken>> {
            assert!(self.1.load(SeqCst), "load without the lock");
            self.0.load()
        }
        fn save(&self, token: RefreshToken) -> StoreFuture<'_, ()> {
            assert!(self.1.load(SeqCst), "save without the lock");
            self.0.save(token)
        }
    }
    let (server, locked) = (MockServer::default(), Arc::new(AtomicBool::new(false)));
    let seen = locked.clone();
    let http = server.service(move |request| {
        assert!(seen.load(SeqCst), "request without the lock");
        let next = format!("{}+", request.parameter("refresh_token"));
        response(200, json!({"access_token": "a", "refresh_token": next}).to_string())
    });
    let store = Guarded(Store::with("r"), locked.clone());
    let mut login = OAuth2Login::new(
        http,
        authorization_server(),
        basic(),
        Grant::refresh_token_store(store.clone()),
    );
    for saved in ["r+", "r++"] {
        log_in_again(&mut login).await.unwrap();
        assert_eq!(store.0.has(), saved);
        assert!(!locked.load(SeqCst), "the lock outlives the grant");
    }
}

#[tokio::test]
async fn store_failure_does_not_hide_the_rejection() {
    let (server, store) = (MockServer::default(), Store::with("r7"));
    let fails = store.clone();
    let http = server.service(move |_| {
        *fails.token.lock().unwrap() = None;
        response(400, r#"{"error":"invalid_grant"}"#)
    });
    let login =
        OAuth2Login::new(http, authorization_server(), basic(), Grant::refresh_token_store(store));
    assert!(oauth2_error(&log_in(login).await.unwrap_err()).is_invalid_grant());
}

#[tokio::test]
async fn token_of_another_process_is_used() {
    let (server, store) = (MockServer::default(), Store::with("r0"));
    // The clones of one service share the server's state.
    let http = rotating_server(&server);
    let process = || {
        OAuth2Login::new(
            http.clone(),
            authorization_server(),
            basic(),
            Grant::refresh_token_store(store.clone()),
        )
    };
    let (mut one, mut other) = (process(), process());
    for (n, first) in [true, false, true, true, false].into_iter().enumerate() {
        let process = if first { &mut one } else { &mut other };
        assert_eq!(log_in_again(process).await.unwrap().secret(), format!("a{}", n + 1));
    }
}

#[tokio::test]
async fn slower_process_adopts_the_token_of_the_faster() {
    let server = MockServer::default();
    let store = Store::with("stale");
    let (put, sibling) = (store.clone(), Arc::new(Mutex::new(false)));
    let http = server.service(move |request| match request.parameter("refresh_token") {
        "stale" => {
            // The other process has saved its own.
            put.put("siblings");
            *sibling.lock().unwrap() = true;
            response(400, r#"{"error":"invalid_grant"}"#)
        }
        "siblings" => response(200, GRANTED),
        other => panic!("{other}"),
    });
    let grant = Grant::refresh_token_store(store.clone());
    assert_eq!(
        log_in(OAuth2Login::new(http, authorization_server(), basic(), grant))
            .await
            .unwrap()
            .secret(),
        "abc"
    );
    assert_eq!(store.has(), "siblings", "the response had no other, so this one is still valid");
}

#[tokio::test]
async fn store_that_forgets_causes_no_reuse() {
    let (server, mut store) = (MockServer::default(), Store::with("r0"));
    store.forgets = true;
    let mut login = rotating_login(&server, &store);
    for n in 1..=3 {
        assert_eq!(log_in_again(&mut login).await.unwrap().secret(), format!("a{n}"));
    }
}
