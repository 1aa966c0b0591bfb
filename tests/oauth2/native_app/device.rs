//! Logins on another device, in paused time.

use std::{
    collections::VecDeque,
    future::ready,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};
use tower::{BoxError, service_fn};
use tower_auth_refresh::{
    AccessToken, LoginError, LoginRequest,
    oauth2::{
        AuthorizationServer, ClientAuthentication, OAuth2Error,
        native_app::{DeviceAuthorization, DeviceLogin, Tokens},
    },
    transport::{HttpService, TransportConfig},
};

use crate::support::{ENDPOINT, MockResponse, MockServer, RecordedRequest, response};

const DEVICE_ENDPOINT: &str = "https://as.example/device";
const GRANTED: &str = r#"{"access_token":"abc","token_type":"Bearer","refresh_token":"r0"}"#;

fn authorization() -> Value {
    json!({
        "device_code": "GmRhmhcxhwAzkoEqiMEg_DnyEysNkuNhszIySk9eS",
        "user_code": "WDJB-MJHT",
        "verification_uri": "https://as.example/activate",
        "verification_uri_complete": "https://as.example/activate?user_code=WDJB-MJHT",
        "expires_in": 1800,
        "interval": 5,
    })
}

fn authorization_server() -> AuthorizationServer {
    let server = AuthorizationServer::token_endpoint(ENDPOINT).unwrap();
    server.device_authorization_endpoint(DEVICE_ENDPOINT).unwrap()
}

fn login<S>(http: S) -> DeviceLogin<S> {
    DeviceLogin::new(http, authorization_server(), ClientAuthentication::public("orders-cli"))
}

/// Starts a login at a server with this device authorization response.
async fn start(authorization: Value) -> Result<DeviceAuthorization<impl HttpService>, OAuth2Error> {
    let http = MockServer::default().service(move |_| response(200, authorization.to_string()));
    login(http).start().await
}

fn pending() -> MockResponse {
    error("authorization_pending")
}

fn error(code: &str) -> MockResponse {
    response(400, json!({ "error": code }).to_string())
}

/// A step of a scripted token endpoint.
#[derive(Clone)]
enum Step {
    Respond(MockResponse),
    Refuse,
    Hang,
}

/// When the token endpoint was called, in seconds after the start.
type Calls = Arc<Mutex<Vec<u64>>>;

/// A server with a scripted token endpoint. The last step is repeated.
fn scripted<I: IntoIterator<Item = Step>>(
    authorization: Value,
    steps: I,
) -> (impl HttpService + use<I>, Calls) {
    let mut steps = steps.into_iter().collect::<VecDeque<_>>();
    timed(authorization, move |_| {
        if steps.len() > 1 { steps.pop_front().unwrap() } else { steps[0].clone() }
    })
}

/// A server whose token endpoint depends on the time, in seconds after the start.
fn timed<F: FnMut(u64) -> Step + Send + 'static>(
    authorization: Value,
    step: F,
) -> (impl HttpService + use<F>, Calls) {
    let step = Arc::new(Mutex::new(step));
    let (calls, started) = (Calls::default(), Instant::now());
    let recorded = calls.clone();
    let http = service_fn(move |request: Request<Full<Bytes>>| {
        let (authorization, step, calls) = (authorization.clone(), step.clone(), recorded.clone());
        async move {
            if request.uri() == DEVICE_ENDPOINT {
                return Ok::<_, BoxError>(Response::new(Full::<Bytes>::from(
                    authorization.to_string(),
                )));
            }
            let at = started.elapsed().as_secs();
            calls.lock().unwrap().push(at);
            let step = (step.lock().unwrap())(at);
            match step {
                Step::Respond(response) => Ok(response.map(Into::into)),
                Step::Refuse => {
                    Err(std::io::Error::from(std::io::ErrorKind::ConnectionRefused).into())
                }
                Step::Hang => std::future::pending().await,
            }
        }
    });
    (http, calls)
}

/// Logs in at a scripted server. Returns the result, and when the token endpoint was called.
async fn log_in(
    authorization: Value,
    steps: impl IntoIterator<Item = Step>,
) -> (Result<Tokens, OAuth2Error>, Vec<u64>) {
    finish(scripted(authorization, steps)).await
}

/// As [`log_in`], at a server that depends on the time.
async fn log_in_at(
    authorization: Value,
    step: impl FnMut(u64) -> Step + Send + 'static,
) -> (Result<Tokens, OAuth2Error>, Vec<u64>) {
    finish(timed(authorization, step)).await
}

async fn finish(
    (http, calls): (impl HttpService, Calls),
) -> (Result<Tokens, OAuth2Error>, Vec<u64>) {
    let pending = login(http).start().await.unwrap();
    let result = pending.wait().await;
    let calls = calls.lock().unwrap().clone();
    (result, calls)
}

fn granted() -> Step {
    Step::Respond(response(200, GRANTED))
}

#[tokio::test(start_paused = true)]
async fn requests_are_those_of_the_standard() {
    let server = MockServer::default();
    let http = server.service(|request: &RecordedRequest| match &*request.url {
        DEVICE_ENDPOINT => response(200, authorization().to_string()),
        _ => response(200, GRANTED),
    });
    let login = login(http).scope("read").scope("read offline_access").parameter("audience", "api");
    let started = login.start().await.unwrap();
    let request = server.last_request();
    assert_eq!(request.url, DEVICE_ENDPOINT);
    assert_eq!(request.parameter("client_id"), "orders-cli");
    assert_eq!(request.parameter("scope"), "read offline_access");
    assert_eq!(request.parameter("audience"), "api");
    assert_eq!(started.user_code(), "WDJB-MJHT");
    assert_eq!(started.verification_uri(), "https://as.example/activate");
    assert_eq!(
        started.verification_uri_complete(),
        Some("https://as.example/activate?user_code=WDJB-MJHT")
    );
    assert_eq!(started.expires_in(), Duration::from_secs(1800));

    let tokens = started.wait().await.unwrap();
    assert_eq!(tokens.access_token().secret(), "abc");
    assert_eq!(tokens.refresh_token().unwrap().secret(), "r0");
    let request = server.last_request();
    assert_eq!(request.url, ENDPOINT);
    let device_code = authorization()["device_code"].as_str().unwrap().to_owned();
    for (name, value) in [
        ("grant_type", "urn:ietf:params:oauth:grant-type:device_code"),
        ("device_code", &*device_code),
        ("client_id", "orders-cli"),
    ] {
        assert_eq!(request.parameter(name), value);
    }
    assert_eq!(request.form.len(), 3, "{:?}", request.form);
}

#[tokio::test(start_paused = true)]
async fn confidential_client_authenticates_both_requests() {
    let server = MockServer::default();
    let http = server.service(|request: &RecordedRequest| match &*request.url {
        DEVICE_ENDPOINT => response(200, authorization().to_string()),
        _ => response(200, GRANTED),
    });
    let client = ClientAuthentication::client_secret_post("orders-cli", "swordfish");
    let login = DeviceLogin::new(http, authorization_server(), client);
    login.start().await.unwrap().wait().await.unwrap();
    for request in server.requests() {
        assert_eq!(request.parameter("client_secret"), "swordfish");
    }
    assert_eq!(server.requests().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn login_polls_in_the_interval_until_it_is_approved() {
    let steps = [Step::Respond(pending()), Step::Respond(pending()), granted()];
    let (result, calls) = log_in(authorization(), steps.clone()).await;
    assert_eq!(result.unwrap().access_token().secret(), "abc");
    assert_eq!(calls, [5, 10, 15]);

    let mut slower = authorization();
    slower["interval"] = json!("20");
    assert_eq!(log_in(slower, steps.clone()).await.1, [20, 40, 60]);
    let mut unstated = authorization();
    unstated.as_object_mut().unwrap().remove("interval");
    assert_eq!(log_in(unstated, steps.clone()).await.1, [5, 10, 15]);
    let mut none = authorization();
    none["interval"] = json!(0);
    assert_eq!(log_in(none, steps).await.1, [1, 2, 3], "a server is not flooded");
}

#[tokio::test(start_paused = true)]
async fn slow_down_adds_five_seconds_for_good() {
    let slow_down = Step::Respond(error("slow_down"));
    let pending = Step::Respond(pending());
    let steps = [slow_down.clone(), pending, slow_down, granted()];
    let (result, calls) = log_in(authorization(), steps).await;
    assert!(result.is_ok());
    assert_eq!(calls, [5, 15, 25, 40]);
}

#[tokio::test(start_paused = true)]
async fn code_of_the_device_flow_counts_with_any_status() {
    // Google's statuses.
    let pending = response(428, r#"{"error":"authorization_pending"}"#);
    let slow_down = response(429, r#"{"error":"slow_down"}"#);
    let success = response(200, r#"{"error":"slow_down"}"#);
    let steps = [pending, slow_down, success].map(Step::Respond).into_iter().chain([granted()]);
    let mut slow = authorization();
    slow["interval"] = json!(7);
    assert_eq!(log_in(slow, steps).await.1, [7, 14, 26, 43]);
}

#[tokio::test(start_paused = true)]
async fn status_429_without_a_code_is_an_overload() {
    let overload = Step::Respond(response(429, "too many requests"));
    let mut slow = authorization();
    slow["interval"] = json!(7);
    let (result, calls) = log_in(slow, [overload.clone(), overload, granted()]).await;
    assert!(result.is_ok());
    assert_eq!(calls, [7, 21, 49], "the pause doubles");
}

#[tokio::test(start_paused = true)]
async fn pause_doubles_while_there_is_no_response() {
    // A request that hangs takes the timeout of 8 seconds.
    let steps = [
        Step::Refuse,
        Step::Refuse,
        Step::Hang,
        Step::Respond(response(503, "<html>")),
        Step::Refuse,
        Step::Respond(pending()),
        granted(),
    ];
    let (result, calls) = log_in(authorization(), steps).await;
    assert!(result.is_ok());
    assert_eq!(calls, [5, 15, 35, 83, 143, 203, 208]);
}

#[tokio::test(start_paused = true)]
async fn retry_after_delays_the_next_request() {
    let mut busy = response(503, "");
    busy.headers_mut().insert("retry-after", "100".parse().unwrap());
    let (result, calls) = log_in(authorization(), [Step::Respond(busy), granted()]).await;
    assert!(result.is_ok());
    assert_eq!(calls, [5, 105]);
}

#[tokio::test(start_paused = true)]
async fn clock_of_the_server_does_not_matter() {
    let mut steps = Vec::new();
    for date in ["Thu, 01 Jan 1970 00:00:00 GMT", "Fri, 31 Dec 9999 23:59:59 GMT"] {
        let mut pending = pending();
        pending.headers_mut().insert("date", date.parse().unwrap());
        steps.push(Step::Respond(pending));
    }
    steps.push(granted());
    let (result, calls) = log_in(authorization(), steps).await;
    assert!(result.is_ok());
    assert_eq!(calls, [5, 10, 15]);
}

#[tokio::test(start_paused = true)]
async fn denial_ends_the_login() {
    let steps = [Step::Respond(pending()), Step::Respond(error("access_denied"))];
    let (result, calls) = log_in(authorization(), steps).await;
    let error = result.unwrap_err();
    assert!(error.is_access_denied() && error.is_permanent() && !error.is_login_expired());
    assert_eq!(error.to_string(), "POST https://as.example/token: access_denied");
    assert_eq!(calls, [5, 10]);

    // Entra ID.
    let declined = Step::Respond(self::error("authorization_declined"));
    let error = log_in(authorization(), [declined]).await.0.unwrap_err();
    assert!(error.is_access_denied() && error.is_permanent());
    assert_eq!(error.code(), Some("authorization_declined"));
}

#[tokio::test(start_paused = true)]
async fn expiry_ends_the_login_after_a_last_request() {
    let mut short = authorization();
    short["expires_in"] = json!(17);
    let (result, calls) = log_in(short, [Step::Respond(pending())]).await;
    let error = result.unwrap_err();
    assert!(error.is_login_expired() && error.is_permanent() && !error.is_access_denied());
    assert_eq!(error.to_string(), "POST https://as.example/token: login not completed within 17s");
    assert_eq!(calls, [5, 10, 16]);
}

#[tokio::test(start_paused = true)]
async fn approval_just_before_the_expiry_is_not_lost() {
    // Approved 5 seconds before the code expires.
    let approved = |at| if at >= 55 { granted() } else { Step::Respond(pending()) };
    let mut short = authorization();
    (short["expires_in"], short["interval"]) = (json!(60), json!(20));
    let (result, calls) = log_in_at(short, approved).await;
    assert!(result.is_ok(), "{result:?}");
    assert_eq!(calls, [20, 59], "the pause is not shorter than the interval");

    // The same after an outage, in which the pause has become a minute.
    let approved = |at| match at {
        0..210 => Step::Refuse,
        210..290 => Step::Respond(pending()),
        _ => granted(),
    };
    let mut short = authorization();
    (short["expires_in"], short["interval"]) = (json!(300), json!(40));
    let (result, calls) = log_in_at(short, approved).await;
    assert!(result.is_ok(), "{result:?}");
    assert_eq!(calls, [40, 100, 160, 220, 299]);
}

#[tokio::test(start_paused = true)]
async fn request_ends_soon_after_the_expiry() {
    let mut short = authorization();
    short["expires_in"] = json!(12);
    let (http, calls) = scripted(short, [Step::Hang]);
    let config = TransportConfig::new().timeout(Duration::from_secs(3600));
    let started = login(http).transport_config(config).start().await.unwrap();
    let before = Instant::now();
    assert!(started.wait().await.unwrap_err().is_login_expired());
    assert_eq!(before.elapsed().as_secs(), 20, "8 seconds after the expiry");
    assert_eq!(*calls.lock().unwrap(), [5]);
}

#[tokio::test(start_paused = true)]
async fn redirect_of_the_token_endpoint_ends_the_login() {
    let mut redirect = response(307, "");
    redirect.headers_mut().insert("location", "https://other.example/token".parse().unwrap());
    let (result, calls) = log_in(authorization(), [Step::Respond(redirect)]).await;
    assert!(result.unwrap_err().transport_error().unwrap().is_redirect());
    assert_eq!(calls, [5]);
}

#[cfg(feature = "http-client")]
#[tokio::test(start_paused = true)]
async fn failure_of_tls_ends_the_login() {
    let http = service_fn(|request: Request<Full<Bytes>>| async move {
        if request.uri() == DEVICE_ENDPOINT {
            return Ok::<_, BoxError>(Response::new(Full::<Bytes>::from(
                authorization().to_string(),
            )));
        }
        Err(rustls::Error::HandshakeNotComplete.into())
    });
    let before = Instant::now();
    let error = login(http).start().await.unwrap().wait().await.unwrap_err();
    assert!(error.transport_error().unwrap().is_tls());
    assert_eq!(before.elapsed().as_secs(), 5);
}

#[tokio::test(start_paused = true)]
async fn transient_failure_of_the_secret_does_not_end_the_login() {
    for (error, expected) in [
        (LoginError::transient("vault is sealed"), &[15][..]),
        (LoginError::permanent("vault is gone"), &[]),
    ] {
        // The secret of the second request fails.
        let results = Arc::new(Mutex::new(VecDeque::from([None, Some(error)])));
        let secret = service_fn(move |_: LoginRequest| {
            let error = results.lock().unwrap().pop_front().flatten();
            ready(error.map_or_else(|| Ok(AccessToken::raw("swordfish").unwrap()), Err))
        });
        let client = ClientAuthentication::client_secret_post_from("orders-cli", secret);
        let (http, calls) = scripted(authorization(), [granted()]);
        let started = DeviceLogin::new(http, authorization_server(), client).start().await.unwrap();
        assert_eq!(started.wait().await.is_ok(), !expected.is_empty());
        assert_eq!(*calls.lock().unwrap(), expected);
    }
}

#[test]
fn wait_works_in_another_runtime_than_start() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let mut quick = authorization();
    quick["interval"] = json!(1);
    let (http, _) = scripted(quick, [granted()]);
    let started = runtime().block_on(login(http).start()).unwrap();
    assert!(runtime().block_on(started.wait()).is_ok());
}

#[tokio::test(start_paused = true)]
async fn expiry_by_the_server_ends_the_login() {
    let (result, calls) = log_in(authorization(), [Step::Respond(error("expired_token"))]).await;
    assert!(result.unwrap_err().is_login_expired());
    assert_eq!(calls, [5]);
}

#[tokio::test(start_paused = true)]
async fn expiry_counts_from_the_start_of_the_login() {
    let (http, calls) = scripted(authorization(), [granted()]);
    let started = login(http).start().await.unwrap();
    tokio::time::advance(Duration::from_secs(1800)).await;
    assert!(started.wait().await.unwrap_err().is_login_expired());
    assert!(calls.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn outage_until_the_expiry_is_the_error() {
    let mut short = authorization();
    short["expires_in"] = json!(30);
    let error = log_in(short, [Step::Refuse]).await.0.unwrap_err();
    assert!(error.transport_error().unwrap().is_connect(), "{error:?}");
    assert!(!error.is_login_expired());
}

#[tokio::test(start_paused = true)]
async fn request_under_way_at_the_expiry_is_completed() {
    let mut short = authorization();
    short["expires_in"] = json!(12);
    let slow = service_fn(move |request: Request<Full<Bytes>>| {
        let short = short.clone();
        async move {
            if request.uri() == DEVICE_ENDPOINT {
                return Ok::<_, BoxError>(Response::new(Full::<Bytes>::from(short.to_string())));
            }
            tokio::time::sleep(Duration::from_millis(7_500)).await;
            Ok(Response::new(GRANTED.into()))
        }
    });
    // The request is sent after 5 seconds. The response arrives half a second after the expiry.
    assert!(login(slow).start().await.unwrap().wait().await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn rejection_by_the_server_ends_the_login() {
    for (status, body, code) in [
        (400, r#"{"error":"invalid_grant"}"#, Some("invalid_grant")),
        (401, r#"{"error":"invalid_client"}"#, Some("invalid_client")),
        (400, r#"{"error":"unknown"}"#, Some("unknown")),
        (404, "not here", None),
        (200, "<html>", None),
        (200, "{}", None),
    ] {
        let (result, calls) =
            log_in(authorization(), [Step::Respond(response(status, body))]).await;
        let error = result.unwrap_err();
        assert_eq!(error.code(), code, "{body}");
        assert!(!error.is_login_expired(), "{body}");
        assert_eq!(calls, [5], "{body}");
    }
}

#[tokio::test(start_paused = true)]
async fn rejected_start_has_the_code_of_the_server() {
    let http = MockServer::default().service(|_| response(400, r#"{"error":"invalid_scope"}"#));
    let error = login(http).start().await.unwrap_err();
    assert_eq!(error.code(), Some("invalid_scope"));
    assert_eq!(error.to_string(), "POST https://as.example/device: 400 invalid_scope");
}

#[tokio::test(start_paused = true)]
async fn invalid_start_is_an_error() {
    let changes: [(&str, Value, &str); 14] = [
        ("device_code", json!(null), "device_code is missing"),
        ("device_code", json!(""), "device_code is missing"),
        ("user_code", json!(null), "user_code is missing"),
        ("user_code", json!("\u{1b}[2J"), "user_code is not printable, or too long"),
        ("user_code", json!("AB\u{202e}CD"), "user_code is not printable, or too long"),
        ("user_code", json!("A\nB"), "user_code is not printable, or too long"),
        ("user_code", json!("A".repeat(65)), "user_code is not printable, or too long"),
        ("verification_uri", json!(null), "verification_uri is missing"),
        ("expires_in", json!(null), "expires_in is missing or invalid"),
        ("expires_in", json!("soon"), "expires_in is missing or invalid"),
        ("expires_in", json!(0), "interval is not shorter than expires_in"),
        ("expires_in", json!(-1), "interval is not shorter than expires_in"),
        ("interval", json!(1e300), "interval is not shorter than expires_in"),
        ("interval", json!(u64::MAX), "interval is not shorter than expires_in"),
    ];
    for (name, value, cause) in changes {
        let mut response = authorization();
        response[name] = value.clone();
        let error = start(response).await.unwrap_err();
        assert!(error.is_invalid_response() && !error.is_permanent());
        assert_eq!(
            error.to_string(),
            format!(
                "POST https://as.example/device: invalid device authorization response: {cause}"
            ),
            "{name}: {value}"
        );
    }
    let http = MockServer::default().service(|_| response(200, "<html>"));
    let error = login(http).start().await.unwrap_err().to_string();
    assert!(error.contains("invalid device authorization response: not the expected JSON"));
}

#[tokio::test(start_paused = true)]
async fn page_that_is_not_safe_to_show_or_open_is_rejected() {
    for uri in [
        "http://as.example/activate",
        "http://127.0.0.1:8080/activate",
        "javascript:alert(1)",
        "file:///etc/passwd",
        "https://as.example@evil.example/",
        "https://as.example/\u{1b}]8;;https://evil.example\u{7}",
        "https://as.example/a\nb",
        "https://as.example/ & calc.exe",
        "activate",
    ] {
        let mut response = authorization();
        response["verification_uri"] = json!(uri);
        assert!(start(response).await.unwrap_err().is_invalid_response(), "{uri}");
        // The person can enter the code on the other page.
        let mut response = authorization();
        response["verification_uri_complete"] = json!(uri);
        assert_eq!(start(response).await.unwrap().verification_uri_complete(), None, "{uri}");
    }
}

#[tokio::test(start_paused = true)]
async fn page_is_shown_in_ascii() {
    let mut response = authorization();
    response["verification_uri"] = json!("https://as.example/\u{202e}aktivieren/\u{fc}");
    let started = start(response).await.unwrap();
    assert_eq!(started.verification_uri(), "https://as.example/%E2%80%AEaktivieren/%C3%BC");
}

#[tokio::test(start_paused = true)]
async fn older_name_of_the_page_is_accepted() {
    let mut response = authorization();
    response["verification_url"] = json!("https://as.example/device");
    response.as_object_mut().unwrap().remove("verification_uri");
    assert_eq!(start(response).await.unwrap().verification_uri(), "https://as.example/device");

    for older in ["https://as.example/device", "as.example/device"] {
        let mut both = authorization();
        both["verification_url"] = json!(older);
        assert_eq!(start(both).await.unwrap().verification_uri(), "https://as.example/activate");
    }
}

#[tokio::test(start_paused = true)]
async fn start_in_form_encoding_is_accepted() {
    // GitHub.
    let http = MockServer::default().service(|_| {
        let body = "device_code=3584d83530557fdd1f46af8289938c8ef79f9dc5&expires_in=900&interval=5\
                    &user_code=WDJB-MJHT&verification_uri=https%3A%2F%2Fgithub.com%2Flogin%2Fdevice";
        let mut response = response(200, body);
        let form = "application/x-www-form-urlencoded; charset=utf-8".parse().unwrap();
        response.headers_mut().insert("content-type", form);
        response
    });
    let started = login(http).start().await.unwrap();
    assert_eq!(started.verification_uri(), "https://github.com/login/device");
    assert_eq!(started.expires_in(), Duration::from_secs(900));
}

#[tokio::test(start_paused = true)]
async fn login_takes_an_hour_at_most() {
    let mut response = authorization();
    response["expires_in"] = json!(u64::MAX);
    let hour = Duration::from_secs(3600);
    let started = start(response.clone()).await.unwrap();
    assert_eq!(started.expires_in(), hour);
    let before = Instant::now();
    let error = log_in(response, [Step::Respond(pending())]).await.0.unwrap_err();
    assert!(error.is_login_expired());
    assert_eq!(before.elapsed().as_secs(), 3600);
}

#[tokio::test(start_paused = true)]
async fn dropped_login_sends_no_more_requests() {
    let (http, calls) = scripted(authorization(), [Step::Respond(pending())]);
    let started = login(http).start().await.unwrap();
    assert!(timeout(Duration::from_secs(12), started.wait()).await.is_err());
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(*calls.lock().unwrap(), [5, 10]);
}

#[tokio::test(start_paused = true)]
async fn timeout_of_a_request_is_that_of_the_settings() {
    let (http, calls) = scripted(authorization(), [Step::Hang, granted()]);
    let config = TransportConfig::new().timeout(Duration::from_secs(1));
    login(http).transport_config(config).start().await.unwrap().wait().await.unwrap();
    assert_eq!(*calls.lock().unwrap(), [5, 16]);
}

#[tokio::test(start_paused = true)]
async fn debug_and_errors_show_no_secret() {
    let device_code = authorization()["device_code"].as_str().unwrap().to_owned();
    let repeated = json!({"error": "invalid_grant", "error_description": device_code});
    let (http, _) = scripted(authorization(), [Step::Respond(response(400, repeated.to_string()))]);
    let login = login(http).parameter("login_hint", "alice@example.com");
    let started = login.clone().start().await.unwrap();
    let shown = format!("{login:?} {started:?}");
    assert!(!shown.contains(&device_code) && !shown.contains("WDJB") && !shown.contains("alice"));
    assert!(shown.contains("login_hint"));
    let error = started.wait().await.unwrap_err();
    assert_eq!(error.to_string(), "POST https://as.example/token: 400 invalid_grant: [redacted]");

    // Twitch.
    let mut response = authorization();
    response["verification_uri"] = json!("https://as.example/activate?device-code=WDJB-MJHT");
    let shown = format!("{:?}", start(response).await.unwrap());
    assert!(
        shown.contains("\"https://as.example/activate\"") && !shown.contains("WDJB"),
        "{shown}"
    );
}

#[tokio::test(start_paused = true)]
async fn client_secret_is_redacted_in_errors() {
    let repeated = || response(400, r#"{"error":"x-swordfish","error_description":"a swordfish"}"#);
    let client = ClientAuthentication::client_secret_post("orders-cli", "swordfish");
    let (http, _) = scripted(authorization(), [Step::Respond(repeated())]);
    let started = DeviceLogin::new(http, authorization_server(), client.clone()).start().await;
    let error = started.unwrap().wait().await.unwrap_err();
    assert_eq!(error.to_string(), "POST https://as.example/token: 400 x-[redacted]: a [redacted]");
    let http = MockServer::default().service(move |_| repeated());
    let error = DeviceLogin::new(http, authorization_server(), client).start().await.unwrap_err();
    assert_eq!(error.to_string(), "POST https://as.example/device: 400 x-[redacted]: a [redacted]");
}

#[tokio::test(start_paused = true)]
async fn short_device_code_does_not_hide_an_error_code() {
    let mut short = authorization();
    short["device_code"] = json!("d");
    let (result, calls) = log_in(short, [Step::Respond(pending()), granted()]).await;
    assert!(result.is_ok(), "{result:?}");
    assert_eq!(calls, [5, 10]);
}

#[tokio::test(start_paused = true)]
async fn login_can_be_started_again() {
    let (http, _) = scripted(authorization(), [granted()]);
    let login = login(http);
    let (one, other) = (login.clone().start().await.unwrap(), login.start().await.unwrap());
    assert!(one.wait().await.is_ok() && other.wait().await.is_ok());
}
