//! Tokens that are rejected: healed in the same request, and never at the price of a login storm.

#[path = "support/lifecycle.rs"]
mod harness;

use std::{
    convert::Infallible,
    future::{Future, Ready, ready},
    sync::{Arc, Mutex},
    time::Duration,
};

use harness::{HOUR, Logins, request, secs, token};
use http::{
    HeaderMap, HeaderValue, Request, Response, StatusCode,
    header::{AUTHORIZATION, HeaderName, WWW_AUTHENTICATE},
};
use tokio::time::{Instant, advance, sleep};
use tower::{BoxError, Layer, Service, ServiceBuilder, ServiceExt, retry::Policy, service_fn};
use tower_auth_refresh::{
    AuthRefreshLayer, AuthRefresher, Error, Expiry, GrpcUnauthenticatedAsRejection, LoginReason, NeverReject,
    ReplayClone, TokenInfo, TokenValidFor,
};

/// A service that answers by the token and by how many requests there have been (from 1), and notes what it was sent.
#[derive(Clone)]
struct Api<F> {
    seen: Arc<Mutex<Vec<String>>>,
    answer: F,
}

fn api<F: Fn(usize, &str) -> Response<&'static str> + Clone>(answer: F) -> Api<F> {
    Api { seen: Arc::default(), answer }
}

impl<F> Api<F> {
    fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }

    fn count(&self) -> usize {
        self.seen.lock().unwrap().len()
    }
}

impl<B, F: Fn(usize, &str) -> Response<&'static str>> Service<Request<B>> for Api<F> {
    type Response = Response<&'static str>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Infallible>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let token = request.headers().get(AUTHORIZATION).map_or("none", |value| value.to_str().unwrap()).to_owned();
        let mut seen = self.seen.lock().unwrap();
        seen.push(token.clone());
        ready(Ok((self.answer)(seen.len(), &token)))
    }
}

fn status(status: u16) -> Response<&'static str> {
    Response::builder().status(status).body("").unwrap()
}

fn only(accepted: &'static str) -> impl Fn(usize, &str) -> Response<&'static str> + Clone {
    move |_, token| status(if token == accepted { 200 } else { 401 })
}

fn refresher(logins: &Logins) -> AuthRefresher {
    logins.refresher(|n| async move { token(n, HOUR) })
}

#[tokio::test(start_paused = true)]
async fn a_rejected_token_heals_in_the_same_request() {
    let logins = Logins::default();
    let refresher = refresher(&logins);
    refresher.ready().await.unwrap();
    sleep(secs(2)).await;
    let api = api(only("Bearer t2"));
    let client = AuthRefreshLayer::new(refresher).replay(ReplayClone).layer(api.clone());
    assert_eq!(client.oneshot(request()).await.unwrap().status(), 200);
    assert_eq!(api.seen(), ["Bearer t1", "Bearer t2"]);
    assert_eq!(logins.started(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_first_token_that_is_rejected_heals_too() {
    let logins = Logins::default();
    let refresher =
        logins.builder(|n| async move { token(n, HOUR) }).min_rejection_age(Duration::ZERO).build().unwrap();
    let api = api(only("Bearer t2"));
    let client = AuthRefreshLayer::new(refresher).replay(ReplayClone).layer(api.clone());
    assert_eq!(client.oneshot(request()).await.unwrap().status(), 200);
    assert_eq!(api.seen(), ["Bearer t1", "Bearer t2"]);
}

#[tokio::test(start_paused = true)]
async fn without_replay_the_caller_gets_the_rejection_and_the_next_request_the_fresh_token() {
    let logins = Logins::default();
    let refresher = refresher(&logins);
    refresher.ready().await.unwrap();
    sleep(secs(2)).await;
    let api = api(only("Bearer t2"));
    let mut client = AuthRefreshLayer::new(refresher).layer(api.clone());
    assert_eq!(client.call(request()).await.unwrap().status(), 401);
    assert_eq!(client.call(request()).await.unwrap().status(), 200);
    assert_eq!(api.seen(), ["Bearer t1", "Bearer t2"]);
}

#[tokio::test(start_paused = true)]
async fn a_token_of_a_short_life_is_replaced_when_an_eighth_of_it_is_over() {
    for (age, replaced) in [(200, false), (300, true)] {
        let logins = Logins::default();
        let refresher = logins.refresher(|n| ready(token(n, secs(2))));
        refresher.ready().await.unwrap();
        sleep(Duration::from_millis(age)).await;
        let client = AuthRefreshLayer::new(refresher).replay(ReplayClone).layer(api(only("Bearer t2")));
        let status = client.oneshot(request()).await.unwrap().status();
        assert_eq!(status == 200, replaced, "rejected after {age} ms");
    }
}

#[tokio::test(start_paused = true)]
async fn a_late_rejection_of_an_old_token_costs_no_login_and_is_replayed_with_the_newer_one() {
    let logins = Logins::default();
    let refresher = refresher(&logins);
    refresher.ready().await.unwrap();
    sleep(secs(2)).await;
    let slow = api(only("Bearer t2"));
    let inner = {
        let slow = slow.clone();
        service_fn(move |request: Request<()>| {
            let mut slow = slow.clone();
            async move {
                let answer = slow.call(request).await;
                sleep(secs(1)).await;
                answer
            }
        })
    };
    let client = AuthRefreshLayer::new(refresher.clone()).replay(ReplayClone).layer(inner);
    let call = tokio::spawn(client.oneshot(request()));
    tokio::task::yield_now().await;
    refresher.refresh().await.unwrap();
    assert_eq!(call.await.unwrap().unwrap().status(), 200);
    assert_eq!(slow.seen(), ["Bearer t1", "Bearer t2"]);
    assert_eq!(logins.started(), 2);
    assert_eq!(refresher.status().generation, 2);
}

#[tokio::test(start_paused = true)]
async fn late_rejections_do_not_use_up_the_rate() {
    let logins = Logins::default();
    let refresher = logins.builder(|n| async move { token(n, HOUR) }).rejection_limit(1, HOUR).build().unwrap();
    refresher.ready().await.unwrap();
    let accepted = Arc::new(Mutex::new("Bearer t2"));
    let now_accepted = accepted.clone();
    let inner = service_fn(move |request: Request<()>| {
        let good = request.headers()[AUTHORIZATION] == *now_accepted.lock().unwrap();
        async move {
            sleep(secs(2)).await;
            Ok::<_, Infallible>(status(if good { 200 } else { 401 }))
        }
    });
    let client = AuthRefreshLayer::new(refresher.clone()).layer(inner);
    let late: Vec<_> = (0..5).map(|_| tokio::spawn(client.clone().oneshot(request()))).collect();
    tokio::task::yield_now().await;
    refresher.refresh().await.unwrap();
    for call in late {
        assert_eq!(call.await.unwrap().unwrap().status(), 401);
    }
    assert_eq!(logins.started(), 2);

    *accepted.lock().unwrap() = "Bearer t3";
    assert_eq!(client.clone().oneshot(request()).await.unwrap().status(), 401);
    assert_eq!(client.oneshot(request()).await.unwrap().status(), 200);
    assert_eq!(logins.started(), 3);
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_always_rejects_sees_two_requests_a_call_and_logins_stay_within_the_rate() {
    let logins = Logins::default();
    let refresher = refresher(&logins);
    let api = api(|_, _| status(401));
    let mut client = AuthRefreshLayer::new(refresher.clone()).replay(ReplayClone).layer(api.clone());
    client.call(request()).await.unwrap();
    assert_eq!(api.count(), 1, "a token so young is not replaced, and the same token never replayed");
    sleep(secs(2)).await;
    client.call(request()).await.unwrap();
    assert_eq!(api.seen()[1..], ["Bearer t1", "Bearer t2"]);

    let start = Instant::now();
    for _ in 0..10_000 {
        let before = api.count();
        assert_eq!(client.call(request()).await.unwrap().status(), 401);
        assert!(api.count() - before <= 2);
        sleep(Duration::from_millis(60)).await;
    }
    let minutes = start.elapsed().as_secs_f64() / 60.0;
    let allowed = 6.0 + 6.0 * minutes + 2.0;
    assert!((logins.started() as f64) <= allowed, "{} logins in {minutes} minutes", logins.started());
    assert!(logins.started() > 50, "and it goes on to try");
}

#[tokio::test(start_paused = true)]
async fn the_limits_can_be_set_and_switched_off() {
    let logins = Logins::default();
    let refresher = logins.builder(|n| async move { token(n, HOUR) }).rejection_limit(0, secs(60)).build().unwrap();
    let api = api(|_, _| status(401));
    let mut client = AuthRefreshLayer::new(refresher).replay(ReplayClone).layer(api.clone());
    for _ in 0..10 {
        client.call(request()).await.unwrap();
        sleep(secs(10)).await;
    }
    assert_eq!((logins.started(), api.count()), (1, 10));

    let logins = Logins::default();
    let refresher = logins.refresher(|n| async move { token(n, HOUR) });
    let mut client = AuthRefreshLayer::new(refresher).replay(ReplayClone).reject_on(NeverReject).layer(api.clone());
    for _ in 0..10 {
        client.call(request()).await.unwrap();
        sleep(secs(10)).await;
    }
    assert_eq!((logins.started(), api.count()), (1, 20));
}

#[tokio::test(start_paused = true)]
async fn a_token_that_is_not_valid_at_once_causes_no_storm_and_succeeds_later() {
    let logins = Logins::default();
    // However long the login took: what counts is how long the token has been there.
    let refresher = logins.refresher(|n| async move {
        sleep(secs(2)).await;
        token(n, HOUR)
    });
    refresher.ready().await.unwrap();
    let start = Instant::now();
    let api = api(move |_, _| status(if start.elapsed() < Duration::from_millis(900) { 401 } else { 200 }));
    let mut client = AuthRefreshLayer::new(refresher).replay(ReplayClone).layer(api);
    let mut answers = Vec::new();
    for _ in 0..20 {
        answers.push(client.call(request()).await.unwrap().status().as_u16());
        advance(Duration::from_millis(100)).await;
    }
    assert_eq!(answers.iter().filter(|&&status| status == 401).count(), 9);
    assert_eq!(logins.started(), 1);
}

#[tokio::test(start_paused = true)]
async fn if_no_newer_token_comes_the_caller_gets_the_first_answer_untouched() {
    let logins = Logins::default();
    let refresher = logins.refresher(|n| async move { if n == 1 { token(n, HOUR) } else { Err("down".into()) } });
    refresher.ready().await.unwrap();
    sleep(secs(2)).await;
    let api = api(|_, _| Response::builder().status(401).header("x-why", "revoked").body("the first").unwrap());
    let mut client = AuthRefreshLayer::new(refresher).replay(ReplayClone).layer(api.clone());
    let answer = client.call(request()).await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.headers()["x-why"].as_bytes()), (401, &b"revoked"[..]));
    assert_eq!(answer.into_body(), "the first");
    assert_eq!(api.seen(), ["Bearer t1"]);
    assert!(matches!(client.call(request()).await, Err(Error::Login(_))));
}

#[tokio::test(start_paused = true)]
async fn a_token_that_comes_again_is_not_replayed() {
    let logins = Logins::default();
    let refresher = logins.refresher(|_| async { token(1, HOUR) });
    refresher.ready().await.unwrap();
    sleep(secs(2)).await;
    let api = api(|_, _| status(401));
    let client = AuthRefreshLayer::new(refresher).replay(ReplayClone).layer(api.clone());
    assert_eq!(client.oneshot(request()).await.unwrap().status(), 401);
    assert_eq!(api.seen(), ["Bearer t1"]);
}

#[tokio::test(start_paused = true)]
async fn an_issuer_that_insists_on_a_rejected_token_causes_no_outage() {
    // An API rejects one request for reasons of its own; the issuer has but one token.
    let logins = Logins::default();
    let refresher = logins.refresher(|_| async { token(1, HOUR) });
    refresher.ready().await.unwrap();
    sleep(secs(2)).await;
    let api = api(|n, _| status(if n == 1 { 401 } else { 200 }));
    let mut client = AuthRefreshLayer::new(refresher.clone()).replay(ReplayClone).layer(api);
    client.call(request()).await.unwrap();
    assert!(client.call(request()).await.is_err(), "the rejected token is not used at once");
    sleep(secs(1)).await;
    for _ in 0..100 {
        assert_eq!(client.call(request()).await.unwrap().status(), 200);
        sleep(secs(1)).await;
    }
    assert!(logins.started() <= 3, "{}", logins.started());
    assert_eq!(refresher.status().generation, 2);
}

#[tokio::test(start_paused = true)]
async fn the_challenge_reaches_the_login() {
    const CHALLENGE: &str = "Bearer error=\"insufficient_claims\", claims=\"eyJ9\"";
    let logins = Logins::default();
    let refresher = refresher(&logins);
    refresher.ready().await.unwrap();
    sleep(secs(2)).await;
    let api = api(|n, _| match n {
        1 => Response::builder()
            .status(401)
            .header(WWW_AUTHENTICATE, "Basic realm=\"x\"")
            .header(WWW_AUTHENTICATE, CHALLENGE)
            .body("")
            .unwrap(),
        _ => status(200),
    });
    let mut client = AuthRefreshLayer::new(refresher.clone()).replay(ReplayClone).layer(api);
    assert_eq!(client.call(request()).await.unwrap().status(), 200);
    let LoginReason::Rejected { challenge, .. } = &logins.requests()[1].reason else { panic!("not rejected") };
    assert_eq!(challenge.as_ref().unwrap(), &format!("Basic realm=\"x\", {CHALLENGE}"));

    // It is of that rejection alone.
    refresher.invalidate();
    client.call(request()).await.unwrap();
    assert!(matches!(&logins.requests()[2].reason, LoginReason::Rejected { challenge: None, .. }));
}

#[tokio::test(start_paused = true)]
async fn a_rejection_is_what_the_classifier_says() {
    let grpc = |n: usize, _: &str| {
        let status = if n == 1 { "16" } else { "0" };
        Response::builder().header("grpc-status", status).body("").unwrap()
    };
    let logins = Logins::default();
    let refresher = refresher(&logins);
    refresher.ready().await.unwrap();
    sleep(secs(2)).await;
    let by_grpc = api(grpc);
    let layer = AuthRefreshLayer::new(refresher.clone()).replay(ReplayClone);
    let answer = layer
        .clone()
        .reject_on(GrpcUnauthenticatedAsRejection)
        .layer(by_grpc.clone())
        .oneshot(request())
        .await
        .unwrap();
    assert_eq!(answer.headers()["grpc-status"], "0");
    assert_eq!(by_grpc.seen(), ["Bearer t1", "Bearer t2"]);

    sleep(secs(2)).await;
    let by_vendor = api(|n, _| status(if n == 1 { 429 } else { 200 }));
    let vendor = |status: StatusCode, _: &HeaderMap| status == StatusCode::TOO_MANY_REQUESTS;
    let answer = layer.reject_on(vendor).layer(by_vendor.clone()).oneshot(request()).await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(by_vendor.seen(), ["Bearer t2", "Bearer t3"]);
}

#[tokio::test(start_paused = true)]
async fn the_callers_own_credentials_are_kept_where_that_is_wanted_and_never_doubled_or_replayed() {
    let logins = Logins::default();
    let refresher = refresher(&logins);
    refresher.ready().await.unwrap();
    sleep(secs(2)).await;
    let api = api(|_, _| status(401));
    let mut own = request();
    own.headers_mut().insert(AUTHORIZATION, HeaderValue::from_static("Basic Zm9v"));
    let keeps = AuthRefreshLayer::new(refresher).replay(ReplayClone).if_not_present(true).layer(api.clone());
    assert_eq!(keeps.clone().oneshot(own).await.unwrap().status(), 401);
    assert_eq!(api.seen(), ["Basic Zm9v"]);
    assert_eq!(logins.started(), 1, "it says nothing of our token");
    keeps.oneshot(request()).await.unwrap();
    assert_eq!(api.seen()[1..], ["Bearer t1", "Bearer t2"]);
}

#[tokio::test(start_paused = true)]
async fn the_token_goes_into_the_header_that_was_named() {
    let name = HeaderName::from_static("x-api-token");
    let header = name.clone();
    let inner = service_fn(move |request: Request<()>| {
        let values: Vec<_> = request.headers().get_all(&header).iter().cloned().collect();
        let authorization = request.headers().contains_key(AUTHORIZATION);
        ready(Ok::<_, BoxError>(Response::new((values, authorization))))
    });
    let mut twice = request();
    twice.headers_mut().append(&name, HeaderValue::from_static("a"));
    twice.headers_mut().append(&name, HeaderValue::from_static("b"));
    let client = AuthRefreshLayer::new(refresher(&Logins::default())).header(name).layer(inner);
    let (values, authorization) = client.oneshot(twice).await.unwrap().into_body();
    assert_eq!(values, ["Bearer t1"]);
    assert!(!authorization);
}

#[tokio::test(start_paused = true)]
async fn a_response_tells_which_token_it_was_sent_with_where_asked() {
    let logins = Logins::default();
    let refresher = refresher(&logins);
    refresher.ready().await.unwrap();
    sleep(secs(2)).await;
    let layer = AuthRefreshLayer::new(refresher.clone()).replay(ReplayClone);
    let untold = layer.layer(api(|_, _| status(200))).oneshot(request()).await.unwrap();
    assert!(untold.extensions().is_empty());
    let told = layer.insert_token_info(true).layer(api(only("Bearer t2"))).oneshot(request()).await.unwrap();
    let info = told.extensions().get::<TokenInfo>().unwrap();
    assert_eq!(info.generation, 2);
    assert_eq!(Some(info.expires), refresher.status().expires);
    assert!(matches!(info.expires, Expiry::At(_)));
}

#[tokio::test(start_paused = true)]
async fn a_request_whose_token_must_live_long_has_it_refreshed_first() {
    let logins = Logins::default();
    let refresher = refresher(&logins);
    refresher.ready().await.unwrap();
    sleep(HOUR - secs(599)).await;
    let api = api(|_, _| status(200));
    let client = AuthRefreshLayer::new(refresher).layer(api.clone());
    let lasting = |secs_left| {
        let mut request = request();
        request.extensions_mut().insert(TokenValidFor(secs(secs_left)));
        request
    };
    client.clone().oneshot(lasting(599)).await.unwrap();
    client.clone().oneshot(lasting(600)).await.unwrap();
    client.oneshot(lasting(2 * 3600)).await.unwrap();
    assert_eq!(api.seen(), ["Bearer t1", "Bearer t2", "Bearer t2"], "there is none better");
    assert_eq!(logins.started(), 2);
}

#[derive(Clone)]
struct ThreeTimes(u8);

impl<B: Clone, R, E> Policy<Request<B>, Response<R>, E> for ThreeTimes {
    type Future = Ready<()>;
    fn retry(&mut self, _: &mut Request<B>, result: &mut Result<Response<R>, E>) -> Option<Ready<()>> {
        let again = self.0 > 0 && result.as_ref().is_ok_and(|response| !response.status().is_success());
        self.0 = self.0.saturating_sub(1);
        again.then(|| ready(()))
    }
    fn clone_request(&mut self, request: &Request<B>) -> Option<Request<B>> {
        Some(request.clone())
    }
}

/// What the service sees of one call through a stack, if it answers 503, 401, 200.
async fn seen_through<S>(build: impl FnOnce(AuthRefresher, Script) -> S) -> (u16, Vec<String>, usize)
where
    S: Service<Request<()>, Response = Response<&'static str>, Error: std::fmt::Debug>,
{
    let logins = Logins::default();
    let refresher = refresher(&logins);
    refresher.ready().await.unwrap();
    sleep(secs(2)).await;
    let script: Script = api(|n, _| status([503, 401, 200][(n - 1).min(2)]));
    let answer = build(refresher, script.clone()).oneshot(request()).await.unwrap();
    (answer.status().as_u16(), script.seen(), logins.started())
}

type Script = Api<fn(usize, &str) -> Response<&'static str>>;

#[tokio::test(start_paused = true)]
async fn retry_outside_gives_each_try_the_token_of_its_time() {
    let (status, seen, logins) = seen_through(|refresher, api| {
        ServiceBuilder::new().retry(ThreeTimes(3)).layer(AuthRefreshLayer::new(refresher)).service(api)
    })
    .await;
    assert_eq!((status, logins), (200, 2));
    assert_eq!(seen, ["Bearer t1", "Bearer t1", "Bearer t2"]);
}

#[tokio::test(start_paused = true)]
async fn retry_inside_and_replay_heal_together() {
    let (status, seen, logins) = seen_through(|refresher, api| {
        let layer = AuthRefreshLayer::new(refresher).replay(ReplayClone);
        ServiceBuilder::new().layer(layer).retry(ThreeTimes(1)).service(api)
    })
    .await;
    assert_eq!((status, logins), (200, 2));
    assert_eq!(seen, ["Bearer t1", "Bearer t1", "Bearer t2"]);
}

#[tokio::test(start_paused = true)]
async fn the_future_is_send_with_any_policy() {
    fn assert_send<F: Future + Send>(future: F) -> F {
        future
    }
    let layer = AuthRefreshLayer::new(refresher(&Logins::default()));
    let api = || api(|_, _| status(200));
    assert_send(layer.clone().layer(api()).call(request())).await.unwrap();
    assert_send(layer.clone().replay(ReplayClone).layer(api()).call(request())).await.unwrap();
    assert_send(layer.reject_on(GrpcUnauthenticatedAsRejection).layer(api()).call(request())).await.unwrap();
}
