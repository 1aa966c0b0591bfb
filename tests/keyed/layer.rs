//! The layer: each request gets the token of its key.

use std::{
    convert::Infallible,
    future::{Future, pending, ready},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicUsize, Ordering::SeqCst},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use http::{Request, Response, StatusCode, header::AUTHORIZATION};
use tokio::time::{sleep, timeout};
use tower::{BoxError, Layer, Service, ServiceExt, service_fn};
use tower_auth_refresh::{
    AuthRefreshLayer, AuthRefresher, AuthRefreshers, AuthRefreshersBuilder, Error, KeyError,
    NoTokenPolicy, ReplayClone, TokenInfo, TokenValidFor,
};

use crate::{
    KeyedLogins,
    support::{HOUR, alive_tasks, chain, secs},
};

fn builder(logins: &KeyedLogins<u32>) -> AuthRefreshersBuilder<u32> {
    let logins = logins.clone();
    AuthRefreshers::builder(move |key| {
        let login = |_: &u32| async {
            sleep(secs(1)).await;
            Ok(HOUR)
        };
        logins.builder(key, login)
    })
}

fn request(key: u32) -> Request<()> {
    Request::get("https://api.example.com/").extension(key).body(()).unwrap()
}

async fn echo(request: Request<()>) -> Result<Response<String>, BoxError> {
    let header = request.headers().get(AUTHORIZATION).ok_or("no token")?;
    Ok(Response::new(header.to_str()?.to_owned()))
}

fn key_error(error: Error) -> KeyError {
    match error {
        Error::Key(error) => error,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn each_request_gets_the_token_of_its_key() {
    let logins = KeyedLogins::new();
    let layer = AuthRefreshLayer::keyed(builder(&logins).build().unwrap());
    let mut service = layer.layer(service_fn(echo));
    for key in [1, 2, 2, 2, 1, 1, 3, 1] {
        let own = service.ready().await.unwrap().call(request(key)).await.unwrap();
        assert_eq!(own.into_body(), format!("Bearer {key}.1"));
        let clone = service.clone().oneshot(request(key)).await.unwrap();
        assert_eq!(clone.into_body(), format!("Bearer {key}.1"));
    }
    assert_eq!(logins.all_started(), 3);
}

#[tokio::test(start_paused = true)]
async fn request_without_a_key_is_not_sent() {
    let sent = Arc::new(AtomicUsize::new(0));
    let refreshers =
        AuthRefreshers::builder(|_: &u32| -> tower_auth_refresh::AuthRefresherBuilder {
            panic!("the factory is not called")
        });
    let layer = AuthRefreshLayer::keyed(refreshers.build().unwrap());
    let service = layer.layer(service_fn(|_: Request<()>| {
        sent.fetch_add(1, SeqCst);
        ready(Ok::<_, Infallible>(Response::new(())))
    }));
    let mut without_key = request(1);
    without_key.extensions_mut().clear();
    let error = service.oneshot(without_key).await.unwrap_err();
    assert_eq!(chain(&error), ["no identity for the request", "request has no key"]);
    assert!(key_error(error).is_missing_key());
    assert_eq!(sent.load(SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn request_without_a_key_does_not_get_the_token_of_the_last_key() {
    let layer = AuthRefreshLayer::keyed(builder(&KeyedLogins::new()).build().unwrap());
    let mut service = layer.layer(service_fn(echo));
    for _ in 0..3 {
        service.ready().await.unwrap().call(request(1)).await.unwrap();
    }
    // A key of another type is not a key.
    for with_other in [false, true] {
        let mut without_key = Request::get("https://api.example.com/").body(()).unwrap();
        if with_other {
            without_key.extensions_mut().insert(1_u64);
        }
        let error = service.ready().await.unwrap().call(without_key).await.unwrap_err();
        assert!(key_error(error).is_missing_key());
    }
}

#[tokio::test(start_paused = true)]
async fn policy_for_calls_without_a_token_does_not_apply_without_a_key() {
    let refreshers = AuthRefreshers::builder(|_: &u32| {
        let login = tower_auth_refresh::login_fn(|_| async { Err("issuer unavailable".into()) });
        AuthRefresher::builder(login).no_token_policy(NoTokenPolicy::SendUnauthenticated)
    });
    let layer = AuthRefreshLayer::keyed(refreshers.build().unwrap());
    let service = layer.layer(service_fn(|request: Request<()>| async move {
        Ok::<_, BoxError>(Response::new(request.headers().contains_key(AUTHORIZATION)))
    }));
    assert!(!service.clone().oneshot(request(1)).await.unwrap().into_body());
    let without_key = Request::get("https://api.example.com/").body(()).unwrap();
    assert!(key_error(service.oneshot(without_key).await.unwrap_err()).is_missing_key());
}

#[tokio::test(start_paused = true)]
async fn key_can_come_from_any_part_of_the_request() {
    let layer = AuthRefreshLayer::keyed(builder(&KeyedLogins::new()).build().unwrap());
    let by_port =
        layer.clone().key_by(|uri, _, _| uri.port_u16().map(u32::from)).layer(service_fn(echo));
    let by_header =
        layer.key_by(|_, headers, _| headers.get("x-tenant")?.to_str().ok()?.parse().ok());
    let by_header = by_header.layer(service_fn(echo));
    let request = |uri: &str| Request::get(uri).header("x-tenant", "7").body(()).unwrap();
    let response = by_port.clone().oneshot(request("https://api.example.com:8443/")).await.unwrap();
    assert_eq!(response.into_body(), "Bearer 8443.1");
    assert_eq!(
        by_header.oneshot(request("https://api.example.com/")).await.unwrap().into_body(),
        "Bearer 7.1"
    );
    let error = by_port.oneshot(request("https://api.example.com/")).await.unwrap_err();
    assert!(key_error(error).is_missing_key());
}

#[tokio::test(start_paused = true)]
async fn replay_uses_a_newer_token_of_the_same_key() {
    let logins = KeyedLogins::new();
    let refreshers = builder(&logins).build().unwrap();
    let layer = AuthRefreshLayer::keyed(refreshers.clone()).replay(ReplayClone);
    let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
    let mut service = layer.layer(service_fn({
        let seen = seen.clone();
        move |request: Request<()>| {
            let header = request.headers()[AUTHORIZATION].to_str().unwrap().to_owned();
            let status =
                if header.ends_with(".1") { StatusCode::UNAUTHORIZED } else { StatusCode::OK };
            seen.lock().unwrap().push(header);
            async move { Ok::<_, BoxError>(Response::builder().status(status).body(()).unwrap()) }
        }
    }));
    refreshers.get(&1).unwrap().ready().await.unwrap();
    refreshers.get(&2).unwrap().ready().await.unwrap();
    sleep(secs(10)).await;
    // On the slow path, on the fast path, and with the last key.
    for key in [1, 2, 2] {
        let response = service.ready().await.unwrap().call(request(key)).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
    }
    assert_eq!(
        *seen.lock().unwrap(),
        ["Bearer 1.1", "Bearer 1.2", "Bearer 2.1", "Bearer 2.2", "Bearer 2.2"]
    );
    assert_eq!((logins.started(&1), logins.started(&2)), (2, 2));
}

/// While the first attempt is under way, the function returns another key, the service serves that key, and new keys fill
/// the cache.
#[tokio::test(start_paused = true)]
async fn replay_uses_the_key_of_the_first_attempt() {
    let logins = KeyedLogins::new();
    let refreshers = builder(&logins).capacity(1).build().unwrap();
    let key = Arc::new(AtomicU32::new(1));
    let layer = AuthRefreshLayer::keyed(refreshers.clone()).replay(ReplayClone).key_by({
        let key = key.clone();
        move |_, _, _| Some(key.load(SeqCst))
    });
    let mut service = layer.layer(service_fn(|request: Request<()>| async move {
        sleep(secs(5)).await;
        let header = request.headers()[AUTHORIZATION].to_str()?.to_owned();
        let is_first = header.ends_with(".1");
        let status = if is_first { StatusCode::UNAUTHORIZED } else { StatusCode::OK };
        Ok::<_, BoxError>(Response::builder().status(status).body(header)?)
    }));
    let without_key = || Request::get("https://api.example.com/").body(()).unwrap();
    // On the slow path, and on the fast path after the token was issued and evicted.
    for is_on_fast_path in [false, true] {
        key.store(1, SeqCst);
        if is_on_fast_path {
            refreshers.forget(&1);
            logins.lock().started.clear();
            refreshers.get(&1).unwrap().ready().await.unwrap();
        }
        let mut first = pin!(service.ready().await.unwrap().call(without_key()));
        timeout(secs(3), first.as_mut()).await.unwrap_err();
        let refresher = refreshers.peek(&1).unwrap().downgrade();
        key.store(2, SeqCst);
        let mut second = pin!(service.ready().await.unwrap().call(without_key()));
        timeout(secs(1), second.as_mut()).await.unwrap_err();
        (100..200).for_each(|key| drop(refreshers.get(&key).unwrap()));
        assert!(refreshers.peek(&1).is_some(), "a call that can be replayed has its refresher");
        assert_eq!(first.await.unwrap().into_body(), "Bearer 1.2");
        assert_eq!(second.await.unwrap().into_body(), "Bearer 2.2");
        assert!(refresher.upgrade().is_some());
    }
}

#[tokio::test(start_paused = true)]
async fn rejection_of_one_key_does_not_affect_another() {
    let logins = KeyedLogins::new();
    let layer = AuthRefreshLayer::keyed(builder(&logins).build().unwrap());
    let mut service = layer.layer(service_fn(|request: Request<()>| async move {
        let rejects = request.headers()[AUTHORIZATION] == "Bearer 1.1";
        let status = if rejects { StatusCode::UNAUTHORIZED } else { StatusCode::OK };
        Ok::<_, BoxError>(Response::builder().status(status).body(()).unwrap())
    }));
    for key in [2, 1] {
        service.ready().await.unwrap().call(request(key)).await.unwrap();
        sleep(secs(10)).await;
    }
    for key in [1, 2, 1, 2] {
        service.ready().await.unwrap().call(request(key)).await.unwrap();
    }
    assert_eq!((logins.started(&1), logins.started(&2)), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn service_with_a_forgotten_key_uses_its_new_refresher() {
    let logins = KeyedLogins::new();
    let refreshers = builder(&logins).build().unwrap();
    let mut service = AuthRefreshLayer::keyed(refreshers.clone()).layer(service_fn(echo));
    for _ in 0..3 {
        service.ready().await.unwrap().call(request(1)).await.unwrap();
    }
    refreshers.forget(&1);
    for _ in 0..3 {
        let response = service.ready().await.unwrap().call(request(1)).await.unwrap();
        assert_eq!(response.into_body(), "Bearer 1.2");
    }
    refreshers.shutdown();
    let error = service.ready().await.unwrap().call(request(1)).await.unwrap_err();
    assert!(key_error(error).is_shut_down());
}

/// The service has the refresher of its last key until its next call.
#[tokio::test(start_paused = true)]
async fn forgotten_key_of_the_last_call_is_not_refreshed() {
    for pause in [secs(900), Duration::MAX] {
        let logins = KeyedLogins::new();
        let factory = {
            let logins = logins.clone();
            move |key: &u32| logins.builder(key, |_| async { Ok(secs(300)) })
        };
        let refreshers = AuthRefreshers::builder(factory).pause_when_idle(pause).build().unwrap();
        let mut service = AuthRefreshLayer::keyed(refreshers.clone()).layer(service_fn(echo));
        // The last call is after a refresh, and shows that the token is used.
        for _ in 0..3 {
            service.ready().await.unwrap().call(request(1)).await.unwrap();
            sleep(secs(150)).await;
        }
        let before = logins.started(&1);
        assert!(before > 1);
        refreshers.forget(&1);
        sleep(HOUR).await;
        assert_eq!(logins.started(&1), before);
        assert_eq!(alive_tasks().await, 0);
        let response = service.ready().await.unwrap().call(request(1)).await.unwrap();
        assert_eq!(response.into_body(), format!("Bearer 1.{}", before + 1));
    }
}

#[tokio::test(start_paused = true)]
async fn call_that_waits_finishes_with_the_refresher_from_before_the_forget() {
    let logins = KeyedLogins::new();
    let refreshers = builder(&logins).build().unwrap();
    let service = AuthRefreshLayer::keyed(refreshers.clone()).layer(service_fn(echo));
    let mut call = pin!(service.clone().oneshot(request(1)));
    timeout(secs(1) / 2, call.as_mut()).await.unwrap_err();
    refreshers.forget(&1);
    let newer = service.oneshot(request(1)).await.unwrap().into_body();
    assert_eq!(
        (call.await.unwrap().into_body(), newer),
        ("Bearer 1.1".into(), "Bearer 1.2".into())
    );
}

#[tokio::test(start_paused = true)]
async fn key_of_a_call_that_waits_or_of_the_last_call_is_not_evicted() {
    let logins = KeyedLogins::new();
    let refreshers = builder(&logins).capacity(1).build().unwrap();
    let mut service = AuthRefreshLayer::keyed(refreshers.clone()).layer(service_fn(echo));
    let use_others = || (100..200).for_each(|key| drop(refreshers.get(&key).unwrap()));
    {
        let mut call = pin!(service.ready().await.unwrap().call(request(1)));
        timeout(secs(1) / 2, call.as_mut()).await.unwrap_err();
        use_others();
        assert_eq!(call.await.unwrap().into_body(), "Bearer 1.1");
    }
    service.ready().await.unwrap().call(request(1)).await.unwrap();
    use_others();
    let last = service.ready().await.unwrap().call(request(1)).await.unwrap();
    assert_eq!(last.into_body(), "Bearer 1.1");
    drop(service);
    use_others();
    assert!(refreshers.peek(&1).is_none());
}

#[tokio::test(start_paused = true)]
async fn slow_path_reports_the_errors_of_the_handle() {
    let factory = |key: &u32| if *key == 1 { Err("tenant not known") } else { Ok(known()) };
    let refreshers = AuthRefreshers::try_builder(factory).new_keys(1, secs(60)).build().unwrap();
    let service = AuthRefreshLayer::keyed(refreshers).layer(service_fn(echo));
    let error = service.clone().oneshot(request(1)).await.unwrap_err();
    assert_eq!(
        chain(&error),
        ["no identity for the request", "factory failed", "tenant not known"]
    );
    service.clone().oneshot(request(2)).await.unwrap();
    assert!(key_error(service.oneshot(request(3)).await.unwrap_err()).is_new_key_limit_reached());
}

fn known() -> tower_auth_refresh::AuthRefresherBuilder {
    AuthRefresher::builder(tower_auth_refresh::login_fn(|_| async {
        Ok(tower_auth_refresh::AccessToken::bearer("abc")?.with_expires_in(HOUR))
    }))
}

#[tokio::test(start_paused = true)]
async fn settings_of_the_layer_apply_to_every_key() {
    let logins = KeyedLogins::new();
    let layer = AuthRefreshLayer::keyed(builder(&logins).build().unwrap())
        .insert_token_info(true)
        .allow_origin("https://api.example.com")
        .unwrap();
    let service = layer.layer(service_fn(echo));
    let mut request_with_life = request(1);
    request_with_life.extensions_mut().insert(TokenValidFor(secs(60)));
    let response = service.clone().oneshot(request_with_life).await.unwrap();
    assert!(response.extensions().get::<TokenInfo>().is_some());
    let elsewhere = Request::get("https://example.org/").extension(1_u32).body(()).unwrap();
    assert!(matches!(service.oneshot(elsewhere).await.unwrap_err(), Error::Destination(_)));
}

#[tokio::test(start_paused = true)]
async fn token_of_a_key_is_valid_for_the_time_that_a_request_states() {
    let logins = KeyedLogins::new();
    let refreshers = builder(&logins).build().unwrap();
    let mut service = AuthRefreshLayer::keyed(refreshers).layer(service_fn(echo));
    for _ in 0..2 {
        service.ready().await.unwrap().call(request(1)).await.unwrap();
    }
    sleep(HOUR - secs(599)).await;
    for (seconds, expected) in [(590, "Bearer 1.1"), (600, "Bearer 1.2")] {
        let mut request = request(1);
        request.extensions_mut().insert(TokenValidFor(secs(seconds)));
        let response = service.ready().await.unwrap().call(request).await.unwrap();
        assert_eq!(response.body(), expected);
    }
}

#[test]
fn debug_output_shows_no_key() {
    let refreshers = AuthRefreshers::builder(|_: &String| known()).build().unwrap();
    let layer = AuthRefreshLayer::keyed(refreshers.clone());
    let mut service =
        layer.layer(service_fn(|_: Request<()>| ready(Ok::<_, Infallible>(Response::new(())))));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let request = || {
        Request::get("https://api.example.com/")
            .extension("secret-tenant".to_owned())
            .body(())
            .unwrap()
    };
    for _ in 0..3 {
        runtime.block_on(service.ready()).unwrap();
        runtime.block_on(service.call(request())).unwrap();
    }
    let by = layer.clone().key_by(|_, _, _| Some(String::new()));
    let all = format!("{refreshers:?} {layer:?} {service:?} {by:?}");
    assert!(!all.contains("secret-tenant"), "{all}");
}

#[tokio::test(start_paused = true)]
async fn debug_output_of_calls_and_errors_shows_no_key() {
    let factory = |key: &String| match key.as_str() {
        "secret-tenant" => Ok(known()),
        _ => Err("tenant not known"),
    };
    let builder = AuthRefreshers::try_builder(factory);
    let mut all = format!("{builder:?}");
    let refreshers = builder.build().unwrap();
    let mut service = AuthRefreshLayer::keyed(refreshers.clone())
        .replay(ReplayClone)
        .layer(service_fn(|_: Request<()>| pending::<Result<Response<()>, Infallible>>()));
    let request = |key: &str| {
        Request::get("https://api.example.com/").extension(key.to_owned()).body(()).unwrap()
    };
    // On the slow path, and on the fast path.
    for _ in 0..2 {
        let mut call = Box::pin(service.ready().await.unwrap().call(request("secret-tenant")));
        all += &format!("{call:?}");
        timeout(secs(1), call.as_mut()).await.unwrap_err();
        all += &format!("{call:?}");
    }
    let refresher = refreshers.get(&"secret-tenant".to_owned()).unwrap();
    all += &format!("{refresher:?} {:?}", refresher.status());
    let error = service.ready().await.unwrap().call(request("secret-other")).await.unwrap_err();
    all += &format!("{error:?} {}", chain(&error).join(": "));
    assert!(!all.contains("secret-"), "{all}");
}

#[test]
fn call_with_token_allocates_nothing() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let refreshers = AuthRefreshers::builder(|_: &Arc<str>| known()).build().unwrap();
    let keys: Vec<Arc<str>> = (0..100).map(|n| Arc::from(format!("tenant {n}"))).collect();
    for key in &keys {
        runtime.block_on(refreshers.get(key).unwrap().ready()).unwrap();
    }
    let mut service = AuthRefreshLayer::keyed(refreshers)
        .layer(service_fn(|_: Request<()>| ready(Ok::<_, Infallible>(Response::new(())))));
    let request = |n: usize| {
        let mut request =
            Request::get("https://api.example.com/").extension(keys[n].clone()).body(()).unwrap();
        request.headers_mut().reserve(8);
        request
    };
    let mut context = Context::from_waker(Waker::noop());
    let mut call = |request| {
        assert!(matches!(pin!(service.call(request)).poll(&mut context), Poll::Ready(Ok(_))))
    };
    // The first call of a thread with a token copies its header value. The count does not include that.
    (0..100).rev().for_each(|n| call(request(n)));
    let same: Vec<_> = (0..100).map(|_| request(0)).collect();
    let others: Vec<_> = (0..100).map(request).collect();
    let counted = allocation_counter::measure(|| {
        same.into_iter().for_each(&mut call);
        others.into_iter().for_each(&mut call);
    });
    assert_eq!(counted.count_total, 0);
}
