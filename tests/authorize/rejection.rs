//! Rejected tokens: the login, the replay of the request, and the limits that prevent a login storm.

use std::{
    convert::Infallible,
    future::{Future, Ready, ready},
    sync::{Arc, Mutex},
    time::Duration,
};

use crate::support::{HOUR, MockLogin, request, secs, token};
use http::{
    HeaderMap, HeaderValue, Request, Response, StatusCode,
    header::{AUTHORIZATION, HeaderName, WWW_AUTHENTICATE},
};
use tokio::time::{Instant, advance, sleep};
use tower::{BoxError, Layer, Service, ServiceBuilder, ServiceExt, retry::Policy, service_fn};
use tower_auth_refresh::{
    AuthRefreshLayer, AuthRefresher, Error, Expiry, GrpcUnauthenticatedAsRejection, LoginReason,
    NeverReject, ReplayClone, TokenInfo, TokenValidFor,
};

/// A service whose response depends on the number of the request, from 1, and on its token. It records the tokens.
#[derive(Clone)]
struct MockApi<F> {
    tokens: Arc<Mutex<Vec<String>>>,
    respond: F,
}

fn api<F: Fn(usize, &str) -> Response<&'static str> + Clone>(respond: F) -> MockApi<F> {
    MockApi { tokens: Arc::default(), respond }
}

impl<F> MockApi<F> {
    fn tokens(&self) -> Vec<String> {
        self.tokens.lock().unwrap().clone()
    }

    fn request_count(&self) -> usize {
        self.tokens.lock().unwrap().len()
    }
}

impl<B, F: Fn(usize, &str) -> Response<&'static str>> Service<Request<B>> for MockApi<F> {
    type Response = Response<&'static str>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(
        &mut self,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), Infallible>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let token = request
            .headers()
            .get(AUTHORIZATION)
            .map_or("none", |value| value.to_str().unwrap())
            .to_owned();
        let mut tokens = self.tokens.lock().unwrap();
        tokens.push(token.clone());
        ready(Ok((self.respond)(tokens.len(), &token)))
    }
}

fn status(status: u16) -> Response<&'static str> {
    Response::builder().status(status).body("").unwrap()
}

fn accept_only(accepted: &'static str) -> impl Fn(usize, &str) -> Response<&'static str> + Clone {
    move |_, token| status(if token == accepted { 200 } else { 401 })
}

fn refresher(logins: &MockLogin) -> AuthRefresher {
    logins.refresher(|n| async move { token(n, HOUR) })
}

#[tokio::test(start_paused = true)]
async fn rejected_token_is_replaced_and_request_replayed() {
    let logins = MockLogin::default();
    let refresher = refresher(&logins);
    refresher.ready().await.unwrap();
    sleep(secs(2)).await;
    let api = api(accept_only("Bearer t2"));
    let client = AuthRefreshLayer::new(refresher).replay(ReplayClone).layer(api.clone());
    assert_eq!(client.oneshot(request()).await.unwrap().status(), 200);
    assert_eq!(api.tokens(), ["Bearer t1", "Bearer t2"]);
    assert_eq!(logins.started(), 2);
}

#[tokio::test(start_paused = true)]
async fn rejected_first_token_is_replaced() {
    let logins = MockLogin::default();
    let refresher = logins
        .builder(|n| async move { token(n, HOUR) })
        .min_rejection_age(Duration::ZERO)
        .build()
        .unwrap();
    let api = api(accept_only("Bearer t2"));
    let client = AuthRefreshLayer::new(refresher).replay(ReplayClone).layer(api.clone());
    assert_eq!(client.oneshot(request()).await.unwrap().status(), 200);
    assert_eq!(api.tokens(), ["Bearer t1", "Bearer t2"]);
}

#[tokio::test(start_paused = true)]
async fn rejection_without_replay_refreshes_for_next_request() {
    let logins = MockLogin::default();
    let refresher = refresher(&logins);
    refresher.ready().await.unwrap();
    sleep(secs(2)).await;
    let api = api(accept_only("Bearer t2"));
    let mut client = AuthRefreshLayer::new(refresher).layer(api.clone());
    assert_eq!(client.call(request()).await.unwrap().status(), 401);
    assert_eq!(client.call(request()).await.unwrap().status(), 200);
    assert_eq!(api.tokens(), ["Bearer t1", "Bearer t2"]);
}

#[tokio::test(start_paused = true)]
async fn rejection_counts_after_eighth_of_short_lifetime() {
    for (age, replaced) in [(200, false), (300, true)] {
        let logins = MockLogin::default();
        let refresher = logins.refresher(|n| ready(token(n, secs(2))));
        refresher.ready().await.unwrap();
        sleep(Duration::from_millis(age)).await;
        let client = AuthRefreshLayer::new(refresher)
            .replay(ReplayClone)
            .layer(api(accept_only("Bearer t2")));
        let status = client.oneshot(request()).await.unwrap().status();
        assert_eq!(status == 200, replaced, "rejected after {age} ms");
    }
}

#[tokio::test(start_paused = true)]
async fn late_rejection_is_replayed_with_newer_token() {
    let logins = MockLogin::default();
    let refresher = refresher(&logins);
    refresher.ready().await.unwrap();
    sleep(secs(2)).await;
    let api = api(accept_only("Bearer t2"));
    let inner = {
        let api = api.clone();
        service_fn(move |request: Request<()>| {
            let mut api = api.clone();
            async move {
                let response = api.call(request).await;
                sleep(secs(1)).await;
                response
            }
        })
    };
    let client = AuthRefreshLayer::new(refresher.clone()).replay(ReplayClone).layer(inner);
    let call = tokio::spawn(client.oneshot(request()));
    tokio::task::yield_now().await;
    refresher.refresh().await.unwrap();
    assert_eq!(call.await.unwrap().unwrap().status(), 200);
    assert_eq!(api.tokens(), ["Bearer t1", "Bearer t2"]);
    assert_eq!(logins.started(), 2);
    assert_eq!(refresher.status().generation, 2);
}

#[tokio::test(start_paused = true)]
async fn late_rejections_do_not_count_for_rejection_limit() {
    let logins = MockLogin::default();
    let refresher =
        logins.builder(|n| async move { token(n, HOUR) }).rejection_limit(1, HOUR).build().unwrap();
    refresher.ready().await.unwrap();
    let accepted = Arc::new(Mutex::new("Bearer t2"));
    let now_accepted = accepted.clone();
    let inner = service_fn(move |request: Request<()>| {
        let is_accepted = request.headers()[AUTHORIZATION] == *now_accepted.lock().unwrap();
        async move {
            sleep(secs(2)).await;
            Ok::<_, Infallible>(status(if is_accepted { 200 } else { 401 }))
        }
    });
    let client = AuthRefreshLayer::new(refresher.clone()).layer(inner);
    let calls: Vec<_> = (0..5).map(|_| tokio::spawn(client.clone().oneshot(request()))).collect();
    tokio::task::yield_now().await;
    refresher.refresh().await.unwrap();
    for call in calls {
        assert_eq!(call.await.unwrap().unwrap().status(), 401);
    }
    assert_eq!(logins.started(), 2);

    *accepted.lock().unwrap() = "Bearer t3";
    assert_eq!(client.clone().oneshot(request()).await.unwrap().status(), 401);
    assert_eq!(client.oneshot(request()).await.unwrap().status(), 200);
    assert_eq!(logins.started(), 3);
}

#[tokio::test(start_paused = true)]
async fn always_rejecting_endpoint_stays_in_rejection_limit() {
    let logins = MockLogin::default();
    let refresher = refresher(&logins);
    let api = api(|_, _| status(401));
    let mut client =
        AuthRefreshLayer::new(refresher.clone()).replay(ReplayClone).layer(api.clone());
    client.call(request()).await.unwrap();
    assert_eq!(
        api.request_count(),
        1,
        "the layer replayed the request although the token was too new"
    );
    sleep(secs(2)).await;
    client.call(request()).await.unwrap();
    assert_eq!(api.tokens()[1..], ["Bearer t1", "Bearer t2"]);

    let start = Instant::now();
    for _ in 0..10_000 {
        let before = api.request_count();
        assert_eq!(client.call(request()).await.unwrap().status(), 401);
        assert!(api.request_count() - before <= 2);
        sleep(Duration::from_millis(60)).await;
    }
    let minutes = start.elapsed().as_secs_f64() / 60.0;
    let allowed = 6.0 + 6.0 * minutes + 2.0;
    assert!(
        (logins.started() as f64) <= allowed,
        "{} logins in {minutes} minutes",
        logins.started()
    );
    assert!(
        logins.started() > 50,
        "{} logins: the rejections must still cause some",
        logins.started()
    );
}

#[tokio::test(start_paused = true)]
async fn zero_rejection_limit_or_never_reject_prevents_login() {
    let logins = MockLogin::default();
    let refresher = logins
        .builder(|n| async move { token(n, HOUR) })
        .rejection_limit(0, secs(60))
        .build()
        .unwrap();
    let api = api(|_, _| status(401));
    let mut client = AuthRefreshLayer::new(refresher).replay(ReplayClone).layer(api.clone());
    for _ in 0..10 {
        client.call(request()).await.unwrap();
        sleep(secs(10)).await;
    }
    assert_eq!((logins.started(), api.request_count()), (1, 10));

    let logins = MockLogin::default();
    let refresher = logins.refresher(|n| async move { token(n, HOUR) });
    let mut client = AuthRefreshLayer::new(refresher)
        .replay(ReplayClone)
        .reject_on(NeverReject)
        .layer(api.clone());
    for _ in 0..10 {
        client.call(request()).await.unwrap();
        sleep(secs(10)).await;
    }
    assert_eq!((logins.started(), api.request_count()), (1, 20));
}

#[tokio::test(start_paused = true)]
async fn token_not_yet_valid_causes_no_login_storm() {
    let logins = MockLogin::default();
    // The age counts from the token's arrival, so the duration of the login must not matter.
    let refresher = logins.refresher(|n| async move {
        sleep(secs(2)).await;
        token(n, HOUR)
    });
    refresher.ready().await.unwrap();
    let start = Instant::now();
    let api = api(move |_, _| {
        status(if start.elapsed() < Duration::from_millis(900) { 401 } else { 200 })
    });
    let mut client = AuthRefreshLayer::new(refresher).replay(ReplayClone).layer(api);
    let mut statuses = Vec::new();
    for _ in 0..20 {
        statuses.push(client.call(request()).await.unwrap().status().as_u16());
        advance(Duration::from_millis(100)).await;
    }
    assert_eq!(statuses.iter().filter(|&&status| status == 401).count(), 9);
    assert_eq!(logins.started(), 1);
}

#[tokio::test(start_paused = true)]
async fn failed_login_returns_first_response_unchanged() {
    let logins = MockLogin::default();
    let refresher = logins
        .refresher(|n| async move { if n == 1 { token(n, HOUR) } else { Err("down".into()) } });
    refresher.ready().await.unwrap();
    sleep(secs(2)).await;
    let api = api(|_, _| {
        Response::builder().status(401).header("x-why", "revoked").body("first response").unwrap()
    });
    let mut client = AuthRefreshLayer::new(refresher).replay(ReplayClone).layer(api.clone());
    let response = client.call(request()).await.unwrap();
    assert_eq!(
        (response.status().as_u16(), response.headers()["x-why"].as_bytes()),
        (401, &b"revoked"[..])
    );
    assert_eq!(response.into_body(), "first response");
    assert_eq!(api.tokens(), ["Bearer t1"]);
    assert!(matches!(client.call(request()).await, Err(Error::Login(_))));
}

#[tokio::test(start_paused = true)]
async fn reissued_rejected_token_is_not_replayed() {
    // The refresher discards the first one, and uses the second one again, because the issuer has no other.
    for expiry in [Expiry::In(HOUR), Expiry::Never] {
        let logins = MockLogin::default();
        let refresher =
            logins.refresher(move |_| async move { Ok(token(1, HOUR)?.with_expiry(expiry)) });
        refresher.ready().await.unwrap();
        sleep(secs(2)).await;
        let api = api(|_, _| status(401));
        let client = AuthRefreshLayer::new(refresher).replay(ReplayClone).layer(api.clone());
        assert_eq!(client.oneshot(request()).await.unwrap().status(), 401, "{expiry:?}");
        assert_eq!(api.tokens(), ["Bearer t1"], "{expiry:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn reissued_rejected_token_causes_no_outage() {
    // The API rejects one request for a reason other than the token. The issuer always returns the same token.
    let logins = MockLogin::default();
    let refresher = logins.refresher(|_| async { token(1, HOUR) });
    refresher.ready().await.unwrap();
    sleep(secs(2)).await;
    let api = api(|n, _| status(if n == 1 { 401 } else { 200 }));
    let mut client = AuthRefreshLayer::new(refresher.clone()).replay(ReplayClone).layer(api);
    client.call(request()).await.unwrap();
    assert!(
        client.call(request()).await.is_err(),
        "the layer used the rejected token before the pause was over"
    );
    sleep(secs(1)).await;
    for _ in 0..100 {
        assert_eq!(client.call(request()).await.unwrap().status(), 200);
        sleep(secs(1)).await;
    }
    assert!(logins.started() <= 3, "{}", logins.started());
    assert_eq!(refresher.status().generation, 2);
}

#[tokio::test(start_paused = true)]
async fn challenge_of_rejection_reaches_login_service() {
    const CHALLENGE: &str = "Bearer error=\"insufficient_claims\", claims=\"eyJ9\"";
    let logins = MockLogin::default();
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
    let LoginReason::Rejected { challenge, .. } = &logins.requests()[1].reason else {
        panic!("not rejected")
    };
    assert_eq!(challenge.as_ref().unwrap(), &format!("Basic realm=\"x\", {CHALLENGE}"));

    // The challenge belongs to that rejection only.
    refresher.invalidate();
    client.call(request()).await.unwrap();
    assert!(matches!(&logins.requests()[2].reason, LoginReason::Rejected { challenge: None, .. }));
}

#[tokio::test(start_paused = true)]
async fn classifier_decides_which_response_is_rejection() {
    let grpc = |n: usize, _: &str| {
        let status = if n == 1 { "16" } else { "0" };
        Response::builder().header("grpc-status", status).body("").unwrap()
    };
    let logins = MockLogin::default();
    let refresher = refresher(&logins);
    refresher.ready().await.unwrap();
    sleep(secs(2)).await;
    let grpc_api = api(grpc);
    let layer = AuthRefreshLayer::new(refresher.clone()).replay(ReplayClone);
    let response = layer
        .clone()
        .reject_on(GrpcUnauthenticatedAsRejection)
        .layer(grpc_api.clone())
        .oneshot(request())
        .await
        .unwrap();
    assert_eq!(response.headers()["grpc-status"], "0");
    assert_eq!(grpc_api.tokens(), ["Bearer t1", "Bearer t2"]);

    sleep(secs(2)).await;
    let vendor_api = api(|n, _| status(if n == 1 { 429 } else { 200 }));
    let vendor = |status: StatusCode, _: &HeaderMap| status == StatusCode::TOO_MANY_REQUESTS;
    let response =
        layer.reject_on(vendor).layer(vendor_api.clone()).oneshot(request()).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(vendor_api.tokens(), ["Bearer t2", "Bearer t3"]);
}

#[tokio::test(start_paused = true)]
async fn if_not_present_preserves_existing_credentials() {
    let logins = MockLogin::default();
    let refresher = refresher(&logins);
    refresher.ready().await.unwrap();
    sleep(secs(2)).await;
    let api = api(|_, _| status(401));
    let mut with_credentials = request();
    with_credentials.headers_mut().insert(AUTHORIZATION, HeaderValue::from_static("Basic Zm9v"));
    let client = AuthRefreshLayer::new(refresher)
        .replay(ReplayClone)
        .if_not_present(true)
        .layer(api.clone());
    assert_eq!(client.clone().oneshot(with_credentials).await.unwrap().status(), 401);
    assert_eq!(api.tokens(), ["Basic Zm9v"]);
    assert_eq!(logins.started(), 1, "the rejection does not concern the refresher's token");
    client.oneshot(request()).await.unwrap();
    assert_eq!(api.tokens()[1..], ["Bearer t1", "Bearer t2"]);
}

#[tokio::test(start_paused = true)]
async fn custom_header_is_replaced_by_token() {
    let name = HeaderName::from_static("x-api-token");
    let header = name.clone();
    let inner = service_fn(move |request: Request<()>| {
        let values: Vec<_> = request.headers().get_all(&header).iter().cloned().collect();
        let authorization = request.headers().contains_key(AUTHORIZATION);
        ready(Ok::<_, BoxError>(Response::new((values, authorization))))
    });
    let mut request = request();
    request.headers_mut().append(&name, HeaderValue::from_static("a"));
    request.headers_mut().append(&name, HeaderValue::from_static("b"));
    let client = AuthRefreshLayer::new(refresher(&MockLogin::default())).header(name).layer(inner);
    let (values, authorization) = client.oneshot(request).await.unwrap().into_body();
    assert_eq!(values, ["Bearer t1"]);
    assert!(!authorization);
}

#[tokio::test(start_paused = true)]
async fn token_info_is_inserted_into_response_if_enabled() {
    let logins = MockLogin::default();
    let refresher = refresher(&logins);
    refresher.ready().await.unwrap();
    sleep(secs(2)).await;
    let layer = AuthRefreshLayer::new(refresher.clone()).replay(ReplayClone);
    let without_info = layer.layer(api(|_, _| status(200))).oneshot(request()).await.unwrap();
    assert!(without_info.extensions().is_empty());
    let with_info = layer
        .insert_token_info(true)
        .layer(api(accept_only("Bearer t2")))
        .oneshot(request())
        .await
        .unwrap();
    let info = with_info.extensions().get::<TokenInfo>().unwrap();
    assert_eq!(info.generation, 2);
    assert_eq!(Some(info.expires), refresher.status().expires);
    assert!(matches!(info.expires, Expiry::At(_)));
}

#[tokio::test(start_paused = true)]
async fn token_valid_for_refreshes_token_before_request() {
    let logins = MockLogin::default();
    let refresher = refresher(&logins);
    refresher.ready().await.unwrap();
    sleep(HOUR - secs(599)).await;
    let api = api(|_, _| status(200));
    let client = AuthRefreshLayer::new(refresher).layer(api.clone());
    let request_with_min_lifetime = |seconds| {
        let mut request = request();
        request.extensions_mut().insert(TokenValidFor(secs(seconds)));
        request
    };
    client.clone().oneshot(request_with_min_lifetime(599)).await.unwrap();
    client.clone().oneshot(request_with_min_lifetime(600)).await.unwrap();
    client.oneshot(request_with_min_lifetime(2 * 3600)).await.unwrap();
    assert_eq!(
        api.tokens(),
        ["Bearer t1", "Bearer t2", "Bearer t2"],
        "a second refresh would not return a longer-lived token"
    );
    assert_eq!(logins.started(), 2);
}

/// Retries unsuccessful responses, at most this number of times.
#[derive(Clone)]
struct RetryUnsuccessful(u8);

impl<B: Clone, R, E> Policy<Request<B>, Response<R>, E> for RetryUnsuccessful {
    type Future = Ready<()>;
    fn retry(
        &mut self,
        _: &mut Request<B>,
        result: &mut Result<Response<R>, E>,
    ) -> Option<Ready<()>> {
        let retry =
            self.0 > 0 && result.as_ref().is_ok_and(|response| !response.status().is_success());
        self.0 = self.0.saturating_sub(1);
        retry.then(|| ready(()))
    }
    fn clone_request(&mut self, request: &Request<B>) -> Option<Request<B>> {
        Some(request.clone())
    }
}

/// Sends one request through a stack over a service that responds with 503, 401, 200. Returns the status of the
/// response, the token of each request that the service received, and the number of logins.
async fn send_through<S>(
    build: impl FnOnce(AuthRefresher, MockApiFn) -> S,
) -> (u16, Vec<String>, usize)
where
    S: Service<Request<()>, Response = Response<&'static str>, Error: std::fmt::Debug>,
{
    let logins = MockLogin::default();
    let refresher = refresher(&logins);
    refresher.ready().await.unwrap();
    sleep(secs(2)).await;
    let api: MockApiFn = api(|n, _| status([503, 401, 200][(n - 1).min(2)]));
    let response = build(refresher, api.clone()).oneshot(request()).await.unwrap();
    (response.status().as_u16(), api.tokens(), logins.started())
}

type MockApiFn = MockApi<fn(usize, &str) -> Response<&'static str>>;

#[tokio::test(start_paused = true)]
async fn retry_outside_layer_sends_current_token_each_time() {
    let (status, tokens, logins) = send_through(|refresher, api| {
        ServiceBuilder::new()
            .retry(RetryUnsuccessful(3))
            .layer(AuthRefreshLayer::new(refresher))
            .service(api)
    })
    .await;
    assert_eq!((status, logins), (200, 2));
    assert_eq!(tokens, ["Bearer t1", "Bearer t1", "Bearer t2"]);
}

#[tokio::test(start_paused = true)]
async fn retry_inside_layer_works_with_replay() {
    let (status, tokens, logins) = send_through(|refresher, api| {
        let layer = AuthRefreshLayer::new(refresher).replay(ReplayClone);
        ServiceBuilder::new().layer(layer).retry(RetryUnsuccessful(1)).service(api)
    })
    .await;
    assert_eq!((status, logins), (200, 2));
    assert_eq!(tokens, ["Bearer t1", "Bearer t1", "Bearer t2"]);
}

#[tokio::test(start_paused = true)]
async fn future_is_send_with_any_policy() {
    fn assert_send<F: Future + Send>(future: F) -> F {
        future
    }
    let layer = AuthRefreshLayer::new(refresher(&MockLogin::default()));
    let api = || api(|_, _| status(200));
    assert_send(layer.clone().layer(api()).call(request())).await.unwrap();
    assert_send(layer.clone().replay(ReplayClone).layer(api()).call(request())).await.unwrap();
    assert_send(layer.reject_on(GrpcUnauthenticatedAsRejection).layer(api()).call(request()))
        .await
        .unwrap();
}

#[tokio::test(start_paused = true)]
async fn replay_gets_a_token_that_lives_as_long_as_requested() {
    let refresher = MockLogin::default()
        .refresher(|n| async move { token(n, [secs(1000), secs(400), HOUR][n - 1]) });
    let tokens = Arc::new(Mutex::new(Vec::new()));
    let api = service_fn({
        let tokens = tokens.clone();
        move |request: Request<()>| {
            let mut tokens = tokens.lock().unwrap();
            tokens.push(request.headers()[AUTHORIZATION].clone());
            let is_first = tokens.len() == 1;
            async move {
                // The second token is published after 750 seconds.
                sleep(secs(if is_first { 900 } else { 0 })).await;
                Ok::<_, BoxError>(
                    Response::builder().status(if is_first { 401 } else { 200 }).body(()).unwrap(),
                )
            }
        }
    });
    let client = AuthRefreshLayer::new(refresher).replay(ReplayClone).layer(api);
    let mut request = request();
    request.extensions_mut().insert(TokenValidFor(secs(300)));
    assert_eq!(client.oneshot(request).await.unwrap().status(), 200);
    // The second token still lives for 250 seconds.
    assert_eq!(*tokens.lock().unwrap(), ["Bearer t1", "Bearer t3"]);
}

#[tokio::test(start_paused = true)]
async fn reject_when_accepts_closure_without_annotations() {
    let logins = MockLogin::default();
    let refresher = refresher(&logins);
    refresher.ready().await.unwrap();
    sleep(secs(2)).await;
    let api = api(|_, token| match token {
        "Bearer t1" => {
            Response::builder().status(403).header("x-token-expired", "1").body("").unwrap()
        }
        _ => status(403),
    });
    let layer = AuthRefreshLayer::new(refresher)
        .replay(ReplayClone)
        .reject_when(|status, headers| status == 403 && headers.contains_key("x-token-expired"));
    assert_eq!(layer.layer(api.clone()).oneshot(request()).await.unwrap().status(), 403);
    assert_eq!(api.tokens(), ["Bearer t1", "Bearer t2"]);
}
