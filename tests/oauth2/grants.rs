//! Logins by OAuth 2 grants: what is sent, and what becomes of each answer.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    error::Error,
    sync::{Arc, Mutex},
    time::Duration,
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use proptest::prelude::*;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tower::{BoxError, Service, ServiceExt, service_fn};
use tower_auth_refresh::{
    AccessToken, AuthRefresher, Expiry, LoginError, LoginReason, LoginRequest,
    oauth2::{
        AuthorizationServer, Client, Grant, HttpService, OAuth2Error, OAuth2Login, RefreshToken, RefreshTokenStore,
        SignedJwt, SigningKey, StoreFuture,
    },
    test_util::{MockLogin, TestClock},
};

const ENDPOINT: &str = "https://as.example/token";
const GRANTED: &str = r#"{"access_token":"abc","token_type":"Bearer","expires_in":3600}"#;

/// What a server was asked: path, headers and the form, of which a parameter that comes twice has two values.
#[derive(Clone, Debug)]
struct Asked {
    url: String,
    headers: HeaderMap,
    form: BTreeMap<String, Vec<String>>,
}

impl Asked {
    fn one(&self, name: &str) -> &str {
        match self.form.get(name).map(Vec::as_slice) {
            Some([value]) => value,
            other => panic!("{name}: {other:?}"),
        }
    }
}

/// A server that answers as told, and what it was asked.
#[derive(Clone, Default)]
struct Server {
    asked: Arc<Mutex<Vec<Asked>>>,
}

type Answer = Response<String>;

fn answer(status: u16, body: impl Into<String>) -> Answer {
    Response::builder().status(status).body(body.into()).unwrap()
}

impl Server {
    fn service<F>(&self, answers: F) -> impl HttpService + use<F>
    where
        F: Fn(&Asked) -> Answer + Clone + Send + 'static,
    {
        let server = self.clone();
        service_fn(move |request: Request<Full<Bytes>>| {
            let (server, answers) = (server.clone(), answers.clone());
            async move {
                let (head, body) = request.into_parts();
                let body = body.collect().await.unwrap().to_bytes();
                let mut form = BTreeMap::<String, Vec<String>>::new();
                for (name, value) in url::form_urlencoded::parse(&body) {
                    form.entry(name.into_owned()).or_default().push(value.into_owned());
                }
                let asked = Asked { url: head.uri.to_string(), headers: head.headers, form };
                server.asked.lock().unwrap().push(asked.clone());
                Ok::<_, Infallible>(answers(&asked).map(Full::<Bytes>::from))
            }
        })
    }

    fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    fn last(&self) -> Asked {
        self.asked().pop().unwrap()
    }
}

fn endpoint() -> AuthorizationServer {
    AuthorizationServer::token_endpoint(ENDPOINT).unwrap()
}

fn basic() -> Client {
    Client::client_secret_basic("orders", "swordfish")
}

async fn log_in<L>(login: L) -> Result<AccessToken, LoginError>
where
    L: Service<LoginRequest, Response = AccessToken, Error = LoginError>,
{
    login.oneshot(LoginRequest::new(LoginReason::First)).await
}

/// One login by client credentials that is answered like this.
async fn answered(answered: Answer) -> Result<AccessToken, LoginError> {
    let http = Server::default().service(move |_| answered.clone());
    log_in(OAuth2Login::new(http, endpoint(), basic(), Grant::client_credentials())).await
}

fn cause(error: &LoginError) -> &OAuth2Error {
    error.source().and_then(|source| source.downcast_ref()).expect("the source is the typed error")
}

#[tokio::test]
async fn client_credentials_are_asked_for_as_the_standard_has_it() {
    let server = Server::default();
    let grant = Grant::client_credentials().scope("a b").scope("c d").audience("x").resource("urn:1").resource("urn:2");
    let grant = grant.parameter("tenant", "acme & co");
    let token = log_in(OAuth2Login::new(server.service(|_| answer(200, GRANTED)), endpoint(), basic(), grant)).await;
    let token = token.unwrap();
    assert_eq!(
        (token.header_value().to_str().unwrap(), token.expiry()),
        ("Bearer abc", Expiry::In(Duration::from_secs(3600)))
    );
    let asked = server.last();
    assert_eq!(asked.url, ENDPOINT);
    assert_eq!(asked.headers["content-type"], "application/x-www-form-urlencoded");
    assert_eq!(asked.headers["accept"], "application/json");
    assert_eq!(asked.headers["authorization"], "Basic b3JkZXJzOnN3b3JkZmlzaA==");
    assert!(asked.headers["authorization"].is_sensitive());
    let form = json!({
        "grant_type": ["client_credentials"], "scope": ["c d"], "audience": ["x"],
        "resource": ["urn:1", "urn:2"], "tenant": ["acme & co"],
    });
    assert_eq!(serde_json::to_value(asked.form).unwrap(), form);
}

#[tokio::test]
async fn a_secret_is_encoded_before_it_goes_into_the_header() {
    let server = Server::default();
    let client = Client::client_secret_basic("my:id", "s3cr3t/+ %:ü");
    log_in(OAuth2Login::new(server.service(|_| answer(200, GRANTED)), endpoint(), client, Grant::client_credentials()))
        .await
        .unwrap();
    let value = server.last().headers["authorization"].to_str().unwrap().to_owned();
    let decoded = base64::engine::general_purpose::STANDARD.decode(value.strip_prefix("Basic ").unwrap()).unwrap();
    assert_eq!(decoded, b"my%3Aid:s3cr3t%2F%2B+%25%3A%C3%BC");
}

#[tokio::test]
async fn a_client_says_who_it_is_in_the_way_its_method_is_named() {
    for (client, secret) in
        [(Client::client_secret_post("orders", "swordfish"), Some("swordfish")), (Client::public("orders"), None)]
    {
        let server = Server::default();
        let http = server.service(|_| answer(200, GRANTED));
        log_in(OAuth2Login::new(http, endpoint(), client, Grant::client_credentials())).await.unwrap();
        let asked = server.last();
        assert!(!asked.headers.contains_key("authorization"));
        assert_eq!(asked.one("client_id"), "orders");
        assert_eq!(asked.form.get("client_secret").map(|values| &*values[0]), secret);
    }
}

fn claims(jwt: &str) -> (Value, Value) {
    let mut parts = jwt.split('.').map(|part| URL_SAFE_NO_PAD.decode(part).unwrap());
    let mut next = || serde_json::from_slice(&parts.next().unwrap()).unwrap();
    (next(), next())
}

#[tokio::test]
async fn an_assertion_is_signed_anew_for_each_login_and_for_the_endpoint() {
    let server = Server::default();
    let client = Client::client_secret_jwt("orders", "a secret of thirty-two bytes, yes");
    let login =
        OAuth2Login::new(server.service(|_| answer(200, GRANTED)), endpoint(), client, Grant::client_credentials());
    let mut login = login.clock(TestClock::default());
    for _ in 0..2 {
        login.ready().await.unwrap().call(LoginRequest::new(LoginReason::First)).await.unwrap();
    }
    let mut ids = Vec::new();
    for asked in server.asked() {
        assert_eq!(asked.one("client_assertion_type"), "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
        assert_eq!(asked.one("client_id"), "orders");
        assert!(!asked.form.contains_key("client_secret") && !asked.headers.contains_key("authorization"));
        let (header, claims) = claims(asked.one("client_assertion"));
        assert_eq!(header, json!({"alg": "HS256", "typ": "JWT"}));
        assert_eq!(
            (&claims["iss"], &claims["sub"], &claims["aud"]),
            (&json!("orders"), &json!("orders"), &json!(ENDPOINT))
        );
        assert_eq!((&claims["iat"], &claims["exp"]), (&json!(1_800_000_000), &json!(1_800_000_060)));
        ids.push(claims["jti"].as_str().unwrap().to_owned());
    }
    assert_ne!(ids[0], ids[1]);
}

#[tokio::test]
async fn each_algorithm_signs_what_its_public_key_verifies() {
    use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
    let ec = |algorithm| {
        let key = rcgen::KeyPair::generate_for(algorithm).unwrap();
        (key.serialize_pem(), key.public_key_raw().to_vec())
    };
    let (p256, p256_public) = ec(&rcgen::PKCS_ECDSA_P256_SHA256);
    let (p384, p384_public) = ec(&rcgen::PKCS_ECDSA_P384_SHA384);
    let (ed, ed_public) = ec(&rcgen::PKCS_ED25519);
    let rsa = include_str!("../support/rsa_test_key.pem");
    let (n, e) = rsa_public(rsa);
    let rsa_public = || DecodingKey::from_rsa_raw_components(&n, &e);
    for (key, algorithm, public) in [
        (SigningKey::hs256("s"), Algorithm::HS256, DecodingKey::from_secret(b"s")),
        (SigningKey::rs256(rsa).unwrap(), Algorithm::RS256, rsa_public()),
        (SigningKey::ps256(rsa).unwrap(), Algorithm::PS256, rsa_public()),
        (SigningKey::es256(&p256).unwrap(), Algorithm::ES256, DecodingKey::from_ec_der(&p256_public)),
        (SigningKey::es384(&p384).unwrap(), Algorithm::ES384, DecodingKey::from_ec_der(&p384_public)),
        (SigningKey::ed25519(&ed).unwrap(), Algorithm::EdDSA, DecodingKey::from_ed_der(&ed_public)),
    ] {
        let login = SignedJwt::new(key.key_id("k1"), "me", "it", "you").claim("scope", "a b");
        let token = log_in(login).await.unwrap();
        let mut validation = Validation::new(algorithm);
        validation.set_audience(&["you"]);
        let decoded = decode::<Value>(token.secret(), &public, &validation).unwrap();
        assert_eq!(decoded.header.kid.as_deref(), Some("k1"));
        assert_eq!((&decoded.claims["iss"], &decoded.claims["scope"]), (&json!("me"), &json!("a b")), "{algorithm:?}");
    }
}

/// Modulus and exponent of the test key.
fn rsa_public(pem: &str) -> (Vec<u8>, Vec<u8>) {
    use ring::{rsa::PublicKeyComponents, signature::RsaKeyPair};
    use rustls::pki_types::{PrivatePkcs8KeyDer, pem::PemObject};
    let der = PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes()).unwrap();
    let key = RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()).unwrap();
    let PublicKeyComponents { n, e } = PublicKeyComponents::<Vec<u8>>::from(key.public());
    (n, e)
}

#[test]
fn a_key_of_another_kind_is_refused_and_not_shown() {
    let rsa = include_str!("../support/rsa_test_key.pem");
    let ec = rcgen::KeyPair::generate().unwrap().serialize_pem();
    for (error, trouble) in [
        (SigningKey::es256(rsa).unwrap_err(), "cannot be used for this algorithm"),
        (SigningKey::ed25519(rsa).unwrap_err(), "cannot be used for this algorithm"),
        (SigningKey::rs256(&ec).unwrap_err(), "cannot be used for this algorithm"),
        (SigningKey::rs256("s3cr3t").unwrap_err(), "no private key in PEM"),
        (SigningKey::es384("").unwrap_err(), "no private key in PEM"),
    ] {
        assert!(error.to_string().contains(trouble), "{error}");
        assert!(!format!("{error:?}").contains("s3cr3t"));
    }
}

#[tokio::test]
async fn the_codes_of_the_standard_are_permanent_and_others_are_not() {
    for (code, permanent) in [
        ("invalid_request", true),
        ("invalid_client", true),
        ("invalid_grant", true),
        ("unauthorized_client", true),
        ("unsupported_grant_type", true),
        ("invalid_scope", true),
        ("invalid_target", true),
        ("temporarily_unavailable", false),
        ("server_error", false),
        ("something_new", false),
    ] {
        let body = json!({"error": code, "error_description": "it is swordfish that is wrong"}).to_string();
        // Some answer an error with 200.
        for (status, passes) in
            [(400, false), (401, false), (403, false), (200, false), (429, true), (500, true), (503, true)]
        {
            let mut answer = answer(status, &*body);
            answer.headers_mut().insert("retry-after", "17".parse().unwrap());
            let error = answered(answer).await.unwrap_err();
            assert_eq!(error.is_permanent(), permanent && !passes, "{status} {code}");
            assert_eq!(error.retry_after(), Some(Duration::from_secs(17)), "{status} {code}");
            let cause = cause(&error);
            assert_eq!((cause.code(), cause.status()), (Some(code), StatusCode::from_u16(status).ok()));
            let told = format!("{cause} {cause:?}");
            assert!(told.contains("it is [redacted] that is wrong") && !told.contains("swordfish"), "{told}");
        }
    }
}

#[tokio::test]
async fn an_answer_that_is_not_the_servers_own_is_transient() {
    for status in [400, 401, 403, 404, 405, 429, 500, 502, 503, 504] {
        for body in ["", "<html><body>502</body></html>", "{}", "[1]", r#"{"error":7}"#] {
            let error = answered(answer(status, body)).await.unwrap_err();
            assert!(!error.is_permanent(), "{status} {body}");
            assert_eq!(cause(&error).status(), StatusCode::from_u16(status).ok());
            assert_eq!(cause(&error).code(), None);
        }
    }
    let error = answered(answer(302, "")).await.unwrap_err();
    assert!(error.is_permanent() && cause(&error).status() == Some(StatusCode::FOUND), "{error:?}");
}

#[tokio::test]
async fn a_malformed_answer_is_a_typed_error() {
    for body in [
        "",
        "<html>welcome to the hotel</html>",
        "null",
        "[]",
        "{}",
        r#"{"token_type":"Bearer"}"#,
        r#"{"access_token":null}"#,
        r#"{"access_token":7,"token_type":"Bearer"}"#,
        r#"{"access_token":"abc","expires_in":"soon"}"#,
        r#"{"access_token":"abc","expires_in":true}"#,
        r#"{"access_token":"abc","expires_in":[1]}"#,
        r#"{"access_token":"abc","expires_in":""}"#,
        r#"{"access_token":"abc","token_type":7}"#,
        r#"{"access_token":"a\nb","token_type":"Bearer"}"#,
        r#"{"access_token":"","token_type":"Bearer"}"#,
        r#"{"access_token":"abc","token_type":"Bearer""#,
        "\u{feff}{}",
    ] {
        let error = answered(answer(200, body)).await.unwrap_err();
        assert!(cause(&error).is_malformed() && !error.is_permanent(), "{body}: {error:?}");
    }
    let error = answered(answer(200, r#"{"access_token":"abc","token_type":"DPoP"}"#)).await.unwrap_err();
    assert!(cause(&error).is_malformed() && error.is_permanent(), "{error:?}");
}

#[tokio::test]
async fn a_lifetime_is_a_number_however_it_is_written_and_its_absence_is_known() {
    let secs = |seconds| Expiry::In(Duration::from_secs(seconds));
    // {"iat":1000,"exp":4600}, in 2027 long over: what is left is what it had.
    let jwt = "eyJhbGciOiJIUzI1NiJ9.eyJpYXQiOjEwMDAsImV4cCI6NDYwMH0.c2ln";
    for (rest, expiry) in [
        (r#","expires_in":3600"#, secs(3600)),
        (r#","expires_in":"3600""#, secs(3600)),
        (r#","expires_in":" 3600 ""#, secs(3600)),
        (r#","expires_in":3600.0"#, secs(3600)),
        (r#","expires_in":"3600.5""#, Expiry::In(Duration::from_millis(3_600_500))),
        (r#","expires_in":0"#, secs(0)),
        (r#","expires_in":"0""#, secs(0)),
        (r#","expires_in":-1"#, secs(0)),
        (r#","expires_in":18446744073709551615"#, secs(u64::MAX)),
        (r#","expires_in":1e300"#, Expiry::In(Duration::MAX)),
        (r#","expires_in":null"#, Expiry::Unknown),
        ("", Expiry::Unknown),
    ] {
        let body = format!(r#"{{"access_token":"abc","token_type":"bEARER"{rest}}}"#);
        assert_eq!(answered(answer(200, body)).await.unwrap().expiry(), expiry, "{rest}");
    }
    let token = answered(answer(200, format!(r#"{{"access_token":"{jwt}","refresh_in":1800}}"#))).await.unwrap();
    assert_eq!((token.expiry(), token.refresh_in()), (secs(3600), Some(Duration::from_secs(1800))));
}

#[tokio::test]
async fn what_is_odd_beside_the_code_or_the_token_does_not_hide_it() {
    for rest in [r#""error_description":["no"]"#, r#""error_description":{}"#, r#""expires_in":"""#, r#""error_uri":7"#]
    {
        let error = answered(answer(401, format!(r#"{{"error":"invalid_client",{rest}}}"#))).await.unwrap_err();
        assert!(error.is_permanent() && cause(&error).code() == Some("invalid_client"), "{rest}: {error:?}");
    }
    for rest in [r#""refresh_in":"x""#, r#""refresh_token":7"#, r#""error":"""#, r#""error":null"#, r#""scope":[]"#] {
        let token = answered(answer(200, format!(r#"{{"access_token":"abc",{rest}}}"#))).await.unwrap();
        assert_eq!(token.secret(), "abc", "{rest}");
    }
}

#[tokio::test]
async fn a_secret_that_is_a_part_of_a_code_does_not_garble_it() {
    let http =
        Server::default().service(|_| answer(401, r#"{"error":"invalid_client","error_description":"client?"}"#));
    let client = Client::client_secret_basic("orders", "client");
    let error = log_in(OAuth2Login::new(http, endpoint(), client, Grant::client_credentials())).await.unwrap_err();
    assert!(error.is_permanent() && cause(&error).to_string().ends_with("invalid_client: [redacted]?"), "{error:?}");
}

#[tokio::test]
async fn no_error_shows_what_was_sent_or_may_be_a_token() {
    let echo = |asked: &Asked| {
        let header = asked.headers.get("authorization").map(|value| value.to_str().unwrap().to_owned());
        answer(400, format!("bad request: {header:?} {:?}", asked.form))
    };
    let grant = || Grant::client_credentials().parameter("actor_token", "act-s3cr3t").parameter("code", "code-s3cr3t");
    for client in
        [Client::client_secret_basic("orders", "sword/fish"), Client::client_secret_post("orders", "sword/fish")]
    {
        let login = OAuth2Login::new(Server::default().service(echo), endpoint(), client, grant());
        let told = format!("{:?}", log_in(login).await.unwrap_err());
        for secret in ["s3cr3t", "sword", "fish", "b3JkZXJzOnN3b3JkJTJGZmlzaA=="] {
            assert!(!told.contains(secret), "{told}");
        }
    }
    for (status, body) in [
        (502, r#"{"access_token":"s3cr3t","refresh_token":"s3cr3t"}"#),
        (400, r#"{"access_token":"s3cr3t","refr"#),
        (404, "access_token=s3cr3t&expires_in=7"),
        (500, r#"<p>{"accessToken":"s3cr3t"}</p>"#),
    ] {
        let told = format!("{:?}", answered(answer(status, body)).await.unwrap_err());
        assert!(!told.contains("s3cr3t"), "{told}");
    }
}

#[tokio::test]
async fn a_parameter_comes_once_but_for_those_that_may_come_several_times() {
    let server = Server::default();
    let grant = Grant::client_credentials()
        .parameter("grant_type", "urn:custom")
        .parameter("client_id", "other")
        .parameter("tenant", "one")
        .parameter("tenant", "two")
        .audience("a")
        .audience("b");
    let http = server.service(|_| answer(200, GRANTED));
    log_in(OAuth2Login::new(http, endpoint(), Client::public("orders"), grant)).await.unwrap();
    let form = json!({
        "grant_type": ["client_credentials"], "client_id": ["orders"], "tenant": ["two"], "audience": ["a", "b"],
    });
    assert_eq!(serde_json::to_value(server.last().form).unwrap(), form);
}

#[tokio::test]
async fn an_answer_of_five_megabytes_is_not_taken_in() {
    for status in [200, 400] {
        let error = answered(answer(status, " ".repeat(5 << 20))).await.unwrap_err();
        assert!(!error.is_permanent());
        assert_eq!(cause(&error).is_too_large(), status == 200, "an error's status is enough: {error:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_answer_is_given_up() {
    let slow =
        service_fn(|_: Request<Full<Bytes>>| std::future::pending::<Result<Response<Full<Bytes>>, Infallible>>());
    let login =
        OAuth2Login::new(slow, endpoint(), basic(), Grant::client_credentials()).timeout(Duration::from_secs(7));
    let error = log_in(login).await.unwrap_err();
    assert!(cause(&error).is_timeout() && error.to_string().len() < 500, "{error:?}");
    assert!(format!("{error:?}").contains("7s"), "{error:?}");
}

#[tokio::test]
#[expect(deprecated, reason = "some servers know nothing better")]
async fn a_password_is_sent_and_shown_nowhere() {
    let server = Server::default();
    let http = server.service(|_| answer(400, r#"{"error":"invalid_grant","error_description":"not hunter2"}"#));
    let grant = Grant::password("jo", "hunter2");
    assert!(!format!("{grant:?}").contains("hunter2"));
    let error = log_in(OAuth2Login::new(http, endpoint(), basic(), grant)).await.unwrap_err();
    let asked = server.last();
    assert_eq!((asked.one("grant_type"), asked.one("username"), asked.one("password")), ("password", "jo", "hunter2"));
    assert!(cause(&error).is_invalid_grant() && !format!("{error:?}").contains("hunter2"), "{error:?}");
}

#[tokio::test]
async fn a_token_is_exchanged_for_one_that_a_login_service_brings_anew() {
    let (server, logins) = (Server::default(), MockLogin::default());
    let subject = logins.service(|n| async move { Ok(AccessToken::bearer(format!("subject-{n}"))?) });
    let grant = Grant::token_exchange(subject).parameter("subject_token_type", "urn:ietf:params:oauth:token-type:jwt");
    let mut login = OAuth2Login::new(server.service(|_| answer(200, GRANTED)), endpoint(), basic(), grant);
    for n in 1..=2 {
        login.ready().await.unwrap().call(LoginRequest::new(LoginReason::First)).await.unwrap();
        let asked = server.last();
        assert_eq!(asked.one("grant_type"), "urn:ietf:params:oauth:grant-type:token-exchange");
        assert_eq!(asked.one("subject_token"), format!("subject-{n}"));
        assert_eq!(asked.one("subject_token_type"), "urn:ietf:params:oauth:token-type:jwt");
    }
}

#[tokio::test]
async fn an_assertion_is_borne_and_its_logins_failure_is_the_logins() {
    let server = Server::default();
    let assertion = SignedJwt::new(SigningKey::hs256("s"), "me", "jo", "you");
    let http = server.service(|_| answer(200, GRANTED));
    log_in(OAuth2Login::new(http.clone(), endpoint(), Client::public("x"), Grant::jwt_bearer(assertion)))
        .await
        .unwrap();
    let asked = server.last();
    assert_eq!(asked.one("grant_type"), "urn:ietf:params:oauth:grant-type:jwt-bearer");
    assert_eq!(claims(asked.one("assertion")).1["sub"], "jo");

    for permanent in [true, false] {
        let failing = service_fn(move |_: LoginRequest| async move {
            let error = if permanent { LoginError::permanent("no") } else { LoginError::transient("no") };
            Err::<AccessToken, _>(error.with_retry_after(Duration::from_secs(9)))
        });
        let login = OAuth2Login::new(http.clone(), endpoint(), basic(), Grant::jwt_bearer(failing));
        let error = log_in(login).await.unwrap_err();
        assert_eq!((error.is_permanent(), error.retry_after()), (permanent, Some(Duration::from_secs(9))));
    }
    assert_eq!(server.asked().len(), 1);
}

#[test]
fn whatever_is_answered_is_a_token_or_an_error() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let json = "[{}\\[\\]:,\"0-9a-z_.]{0,60}";
    let member =
        "\"(access_token|expires_in|token_type|error|refresh_token)\":(\"[ -~]{0,9}\"|[-0-9.e]{1,9}|null|true|\\{\\})";
    let object = proptest::collection::vec(member, 0..5).prop_map(|members| format!("{{{}}}", members.join(",")));
    let body = prop_oneof![any::<Vec<u8>>(), json.prop_map(String::into_bytes), object.prop_map(String::into_bytes)];
    proptest!(|(status in 200_u16..600, body in body)| {
        let answered = body.clone();
        let http = service_fn(move |_: Request<Full<Bytes>>| {
            let answer = Response::builder().status(status).body(Full::<Bytes>::from(answered.clone()));
            std::future::ready(answer)
        });
        let login = OAuth2Login::new(http, endpoint(), basic(), Grant::client_credentials());
        match runtime.block_on(log_in(login)) {
            Ok(token) => prop_assert!((200..300).contains(&status) && !token.secret().is_empty()),
            Err(error) => prop_assert!(!cause(&error).to_string().is_empty()),
        }
    });
}

/// A server that rotates: each refresh token is good for one grant, and a second one condemns them all.
fn rotating(server: &Server) -> impl HttpService + use<> {
    let newest = Arc::new(Mutex::new(Some(0)));
    server.service(move |asked| {
        let mut newest = newest.lock().unwrap();
        let shown = asked.one("refresh_token").strip_prefix('r').and_then(|n| n.parse::<u32>().ok());
        *newest = newest.filter(|newest| shown == Some(*newest)).map(|newest| newest + 1);
        match *newest {
            Some(n) => answer(200, format!(r#"{{"access_token":"a{n}","expires_in":3600,"refresh_token":"r{n}"}}"#)),
            None => answer(400, r#"{"error":"invalid_grant"}"#),
        }
    })
}

#[tokio::test]
async fn a_refresh_token_rotates_and_none_is_used_twice() {
    let server = Server::default();
    let grant = Grant::refresh_token(RefreshToken::new("r0"));
    let mut login = OAuth2Login::new(rotating(&server), endpoint(), basic(), grant);
    for n in 1..=5 {
        let token = login.ready().await.unwrap().call(LoginRequest::new(LoginReason::First)).await.unwrap();
        assert_eq!(token.secret(), format!("a{n}"));
    }
    let used: Vec<_> = server.asked().iter().map(|asked| asked.one("refresh_token").to_owned()).collect();
    assert_eq!(used, ["r0", "r1", "r2", "r3", "r4"]);
    assert_eq!(server.last().one("grant_type"), "refresh_token");
}

#[tokio::test]
async fn a_grant_whose_login_was_dropped_is_heard_to_its_end() {
    let (server, gate) = (Server::default(), Arc::new(Semaphore::new(0)));
    let (http, opened) = (rotating(&server), gate.clone());
    // The answer is on its way when the login is given up.
    let slow = service_fn(move |request: Request<Full<Bytes>>| {
        let (http, opened) = (http.clone(), opened.clone());
        async move {
            let answer = send(http, request).await;
            opened.acquire().await?.forget();
            Ok::<_, BoxError>(answer)
        }
    });
    let grant = Grant::refresh_token(RefreshToken::new("r0"));
    let mut login = OAuth2Login::new(slow, endpoint(), basic(), grant);
    let mut dropped = tokio_test::task::spawn(login.call(LoginRequest::new(LoginReason::First)));
    assert!(dropped.poll().is_pending());
    while server.asked().is_empty() {
        tokio::task::yield_now().await;
    }
    drop(dropped);
    gate.add_permits(2);
    let token = login.call(LoginRequest::new(LoginReason::First)).await.unwrap();
    assert_eq!(token.secret(), "a2");
    let used: Vec<_> = server.asked().iter().map(|asked| asked.one("refresh_token").to_owned()).collect();
    assert_eq!(used, ["r0", "r1"]);
}

/// Passes a request on to a service of the tests.
async fn send(http: impl HttpService, request: Request<Full<Bytes>>) -> Response<Full<Bytes>> {
    let answer = http.send(request, 1 << 20, Duration::from_secs(10)).await.unwrap();
    answer.map(|body| Full::from(body.unwrap()))
}

/// A store as processes share one; what it does can be made to fail.
#[derive(Clone)]
struct Store {
    token: Arc<Mutex<Option<RefreshToken>>>,
    works: Arc<Mutex<bool>>,
    /// Says that it has saved, and has not.
    forgets: bool,
}

impl Store {
    fn with(token: &str) -> Self {
        let token = Arc::new(Mutex::new(Some(RefreshToken::new(token))));
        Self { token, works: Arc::new(Mutex::new(true)), forgets: false }
    }

    fn put(&self, token: &str) {
        *self.token.lock().unwrap() = Some(RefreshToken::new(token));
    }

    fn has(&self) -> String {
        self.token.lock().unwrap().as_ref().unwrap().secret().to_owned()
    }
}

impl RefreshTokenStore for Store {
    fn load(&self) -> StoreFuture<'_, Option<RefreshToken>> {
        Box::pin(async { Ok(self.token.lock().unwrap().clone()) })
    }

    fn save(&self, token: RefreshToken) -> StoreFuture<'_, ()> {
        Box::pin(async {
            if !*self.works.lock().unwrap() {
                return Err("the disk is full".into());
            }
            if !self.forgets {
                *self.token.lock().unwrap() = Some(token);
            }
            Ok(())
        })
    }
}

fn stored(
    server: &Server,
    store: &Store,
) -> impl Service<LoginRequest, Response = AccessToken, Error = LoginError> + use<> {
    OAuth2Login::new(rotating(server), endpoint(), basic(), Grant::stored_refresh_token(store.clone()))
}

async fn again<L>(login: &mut L) -> Result<AccessToken, LoginError>
where
    L: Service<LoginRequest, Response = AccessToken, Error = LoginError>,
{
    login.ready().await?.call(LoginRequest::new(LoginReason::Expiring)).await
}

#[tokio::test]
async fn the_next_refresh_token_is_saved_before_the_access_token_is_used() {
    let (server, store) = (Server::default(), Store::with("r0"));
    let mut login = stored(&server, &store);
    assert_eq!(again(&mut login).await.unwrap().secret(), "a1");
    assert_eq!(store.has(), "r1");

    *store.works.lock().unwrap() = false;
    let error = again(&mut login).await.unwrap_err();
    assert!(!error.is_permanent(), "{error:?}");
    let error = again(&mut login).await.unwrap_err();
    assert_eq!(cause(&error).source().unwrap().to_string(), "the disk is full");
    assert_eq!(server.asked().len(), 2, "no other token is asked for before the last is safe");

    *store.works.lock().unwrap() = true;
    assert_eq!(again(&mut login).await.unwrap().secret(), "a3");
    assert_eq!(store.has(), "r3");
}

#[tokio::test]
async fn the_next_refresh_token_is_kept_whatever_is_wrong_with_the_rest_of_the_answer() {
    for rest in [
        r#""access_token":"a","expires_in":"soon""#,
        r#""access_token":"a","token_type":"mac""#,
        r#""access_token":"a b\n""#,
        r#""error":"server_error""#,
        r#""scope":"read""#,
    ] {
        let server = Server::default();
        let http = server.service(move |asked| match asked.one("refresh_token") {
            "r0" => answer(200, format!(r#"{{{rest},"refresh_token":"r1"}}"#)),
            "r1" => answer(200, GRANTED),
            other => panic!("{other}"),
        });
        let mut login = OAuth2Login::new(http, endpoint(), basic(), Grant::refresh_token(RefreshToken::new("r0")));
        again(&mut login).await.unwrap_err();
        assert_eq!(again(&mut login).await.unwrap().secret(), "abc", "{rest}");
    }
}

#[tokio::test]
async fn a_token_that_somebody_has_put_there_is_not_overwritten_by_one_that_was_not_saved() {
    let server = Server::default();
    let store = Store::with("r0");
    let http = server.service(|asked| match asked.one("refresh_token") {
        "r0" => answer(200, r#"{"access_token":"a","refresh_token":"r1"}"#),
        "from-a-browser" => answer(200, GRANTED),
        other => panic!("{other}"),
    });
    let mut login = OAuth2Login::new(http, endpoint(), basic(), Grant::stored_refresh_token(store.clone()));
    *store.works.lock().unwrap() = false;
    again(&mut login).await.unwrap_err();
    *store.works.lock().unwrap() = true;
    store.put("from-a-browser");
    assert_eq!(again(&mut login).await.unwrap().secret(), "abc");
    assert_eq!(store.has(), "from-a-browser");
}

#[tokio::test]
async fn a_store_that_goes_back_to_an_old_token_makes_none_used_twice() {
    let (server, store) = (Server::default(), Store::with("r0"));
    let mut login = stored(&server, &store);
    for n in 1..=4 {
        assert_eq!(again(&mut login).await.unwrap().secret(), format!("a{n}"));
    }
    for (old, n) in [("r1", 5), ("r0", 6), ("r3", 7)] {
        store.put(old);
        assert_eq!(again(&mut login).await.unwrap().secret(), format!("a{n}"), "{old}");
    }
}

#[tokio::test]
async fn a_store_that_has_gone_back_is_put_right_for_the_next_process() {
    let (server, store) = (Server::default(), Store::with("r0"));
    let http = server.service(|asked| match asked.one("refresh_token") {
        "r0" => answer(200, r#"{"access_token":"a","refresh_token":"r1"}"#),
        "r1" => answer(200, GRANTED),
        other => panic!("{other}"),
    });
    let mut login = OAuth2Login::new(http, endpoint(), basic(), Grant::stored_refresh_token(store.clone()));
    again(&mut login).await.unwrap();
    store.put("r0");
    again(&mut login).await.unwrap();
    assert_eq!(store.has(), "r1");
}

#[tokio::test]
async fn what_is_wrong_with_an_answer_is_told_before_that_its_refresh_token_was_not_saved() {
    let store = Store::with("r0");
    *store.works.lock().unwrap() = false;
    let body = r#"{"access_token":"a","token_type":"mac","refresh_token":"r1"}"#;
    let http = Server::default().service(move |_| answer(200, body));
    let login = OAuth2Login::new(http, endpoint(), basic(), Grant::stored_refresh_token(store));
    let error = log_in(login).await.unwrap_err();
    assert!(cause(&error).to_string().contains("mac"), "{error:?}");
}

#[tokio::test]
async fn a_token_that_was_taken_away_is_not_put_back() {
    let (server, store) = (Server::default(), Store::with("r0"));
    let mut login = stored(&server, &store);
    again(&mut login).await.unwrap();
    *store.token.lock().unwrap() = None;
    let error = again(&mut login).await.unwrap_err();
    assert!(error.is_permanent() && store.token.lock().unwrap().is_none(), "{error:?}");
    store.put("r1");
    assert_eq!(again(&mut login).await.unwrap().secret(), "a2");
}

#[tokio::test]
async fn processes_that_lock_the_store_use_no_token_twice() {
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
    let server = Server::default();
    let (http, store) = (rotating(&server), Locked(Store::with("r0"), Arc::default()));
    let mut logins = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let grant = Grant::stored_refresh_token(store.clone());
        logins.spawn(log_in(OAuth2Login::new(http.clone(), endpoint(), basic(), grant)));
    }
    for token in logins.join_all().await {
        token.unwrap();
    }
    assert_eq!(server.asked().len(), 20);
}

#[tokio::test]
async fn a_store_that_fails_after_a_refusal_does_not_hide_it() {
    let (server, store) = (Server::default(), Store::with("r7"));
    let fails = store.clone();
    let http = server.service(move |_| {
        *fails.token.lock().unwrap() = None;
        answer(400, r#"{"error":"invalid_grant"}"#)
    });
    let login = OAuth2Login::new(http, endpoint(), basic(), Grant::stored_refresh_token(store));
    assert!(cause(&log_in(login).await.unwrap_err()).is_invalid_grant());
}

#[tokio::test]
async fn a_login_that_needs_its_own_token_gets_an_error_at_once_in_its_task_too() {
    for grant in [Grant::client_credentials(), Grant::refresh_token(RefreshToken::new("r0"))] {
        let own = Arc::new(Mutex::new(None::<AuthRefresher>));
        let asks = own.clone();
        let http = service_fn(move |_: Request<Full<Bytes>>| {
            let own = asks.lock().unwrap().clone().unwrap();
            async move { Err::<Response<Full<Bytes>>, _>(own.token().await.unwrap_err()) }
        });
        let refresher = AuthRefresher::new(OAuth2Login::new(http, endpoint(), basic(), grant));
        *own.lock().unwrap() = Some(refresher.clone());
        let error = format!("{:?}", refresher.token().await.unwrap_err());
        assert!(error.contains("waits for its own token"), "{error}");
        *own.lock().unwrap() = None;
    }
}

#[tokio::test]
async fn a_panic_in_the_task_of_a_login_is_the_logins() {
    let panics = service_fn(|_: Request<Full<Bytes>>| async {
        if true {
            panic!("on purpose");
        }
        Ok::<Response<Full<Bytes>>, Infallible>(Response::default())
    });
    let grant = Grant::refresh_token(RefreshToken::new("r0"));
    let refresher = AuthRefresher::new(OAuth2Login::new(panics, endpoint(), basic(), grant));
    assert!(refresher.token().await.unwrap_err().to_string().contains("panicked"));
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_end_is_given_up() {
    use http_body_util::StreamBody;
    let hangs = service_fn(|_: Request<Full<Bytes>>| async {
        let body = StreamBody::new(futures::stream::pending::<Result<hyper::body::Frame<Bytes>, BoxError>>());
        Ok::<_, Infallible>(Response::new(body))
    });
    let error = log_in(OAuth2Login::new(hangs, endpoint(), basic(), Grant::client_credentials())).await.unwrap_err();
    assert!(cause(&error).is_timeout(), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_hangs_keeps_no_login_waiting_for_ever() {
    struct Hangs;
    impl RefreshTokenStore for Hangs {
        fn load(&self) -> StoreFuture<'_, Option<RefreshToken>> {
            Box::pin(std::future::pending())
        }
        fn save(&self, _: RefreshToken) -> StoreFuture<'_, ()> {
            Box::pin(std::future::pending())
        }
    }
    let http = Server::default().service(|_| answer(200, GRANTED));
    let grant = Grant::stored_refresh_token(Hangs);
    let mut login = OAuth2Login::new(http, endpoint(), basic(), grant).timeout(Duration::from_secs(7));
    tokio::time::timeout(Duration::from_secs(1), again(&mut login)).await.unwrap_err();
    let error = again(&mut login).await.unwrap_err();
    assert_eq!(cause(&error).source().unwrap().to_string(), "it took longer than 7s");
}

#[tokio::test]
async fn a_token_that_another_process_has_put_there_is_used() {
    let (server, store) = (Server::default(), Store::with("r0"));
    // They share the server's state by their clones of one service.
    let http = rotating(&server);
    let process = || OAuth2Login::new(http.clone(), endpoint(), basic(), Grant::stored_refresh_token(store.clone()));
    let (mut one, mut other) = (process(), process());
    for (n, first) in [true, false, true, true, false].into_iter().enumerate() {
        let process = if first { &mut one } else { &mut other };
        assert_eq!(again(process).await.unwrap().secret(), format!("a{}", n + 1));
    }
}

#[tokio::test]
async fn who_was_slower_than_another_process_adopts_its_token() {
    let server = Server::default();
    let store = Store::with("stale");
    let (put, sibling) = (store.clone(), Arc::new(Mutex::new(false)));
    let http = server.service(move |asked| match asked.one("refresh_token") {
        "stale" => {
            // Meanwhile the other has saved its own.
            put.put("siblings");
            *sibling.lock().unwrap() = true;
            answer(400, r#"{"error":"invalid_grant"}"#)
        }
        "siblings" => answer(200, GRANTED),
        other => panic!("{other}"),
    });
    let grant = Grant::stored_refresh_token(store.clone());
    assert_eq!(log_in(OAuth2Login::new(http, endpoint(), basic(), grant)).await.unwrap().secret(), "abc");
    assert_eq!(store.has(), "siblings", "the answer had none, so that this one is still good");
}

#[tokio::test]
async fn a_store_that_forgets_makes_no_token_used_twice() {
    let (server, mut store) = (Server::default(), Store::with("r0"));
    store.forgets = true;
    let mut login = stored(&server, &store);
    for n in 1..=3 {
        assert_eq!(again(&mut login).await.unwrap().secret(), format!("a{n}"));
    }
}

#[tokio::test]
async fn a_refused_refresh_token_is_permanent_and_shown_once() {
    let (server, store) = (Server::default(), Store::with("r7"));
    let error = again(&mut stored(&server, &store)).await.unwrap_err();
    assert!(error.is_permanent() && cause(&error).is_invalid_grant(), "{error:?}");
    assert_eq!(server.asked().len(), 1);

    *store.token.lock().unwrap() = None;
    let error = again(&mut stored(&server, &store)).await.unwrap_err();
    assert!(error.is_permanent() && cause(&error).code().is_none(), "{error:?}");
    assert_eq!(server.asked().len(), 1);
}

/// Metadata at one of the two places, or at none.
fn discovered(server: &Server, place: &'static str, metadata: Value) -> impl HttpService + use<> {
    server.service(move |asked| match &*asked.url {
        url if url == place => answer(200, metadata.to_string()),
        "https://as.example/token" => answer(200, GRANTED),
        _ => answer(404, "not here"),
    })
}

#[tokio::test]
async fn the_token_endpoint_is_found_in_either_place_and_only_once() {
    for place in [
        "https://as.example/.well-known/oauth-authorization-server/acme",
        "https://as.example/acme/.well-known/openid-configuration",
    ] {
        let server = Server::default();
        let metadata = json!({"issuer": "https://as.example/acme", "token_endpoint": ENDPOINT, "more": [1]});
        let issuer = AuthorizationServer::discover("https://as.example/acme").unwrap();
        let client = Client::client_secret_jwt("orders", "secret");
        let http = discovered(&server, place, metadata);
        let mut login = OAuth2Login::new(http, issuer, client, Grant::client_credentials());
        for _ in 0..2 {
            again(&mut login).await.unwrap();
        }
        let asked = server.asked();
        assert_eq!(asked.iter().filter(|asked| asked.url == place).count(), 1);
        assert_eq!(asked.iter().filter(|asked| asked.url == ENDPOINT).count(), 2);
        assert_eq!(claims(server.last().one("client_assertion")).1["aud"], "https://as.example/acme");
    }
}

#[tokio::test]
async fn metadata_that_would_lead_astray_are_not_followed() {
    const PLACE: &str = "https://as.example/.well-known/oauth-authorization-server";
    for metadata in [
        json!({"issuer": "https://evil.example", "token_endpoint": ENDPOINT}),
        json!({"issuer": "https://as.example/", "token_endpoint": ENDPOINT}),
        json!({"issuer": "https://as.example", "token_endpoint": "http://as.example/token"}),
        json!({"issuer": "https://as.example", "token_endpoint": "file:///etc/passwd"}),
        json!({"issuer": "https://as.example", "token_endpoint": "http://127.0.0.1:6379/token"}),
        json!({"issuer": "https://as.example"}),
        json!({"token_endpoint": ENDPOINT}),
        json!(7),
    ] {
        let server = Server::default();
        let issuer = AuthorizationServer::discover("https://as.example").unwrap();
        let http = discovered(&server, PLACE, metadata.clone());
        let error = log_in(OAuth2Login::new(http, issuer, basic(), Grant::client_credentials())).await.unwrap_err();
        // What is no metadata at all is looked for in the other place.
        assert_eq!(cause(&error).is_malformed(), metadata.get("issuer").is_some(), "{metadata}: {error:?}");
        assert!(!error.is_permanent(), "{metadata}");
        assert!(server.asked().iter().all(|asked| asked.url != ENDPOINT), "{metadata}");
    }
}

#[tokio::test]
async fn what_is_in_the_first_place_and_no_metadata_does_not_hide_the_second() {
    for (status, body) in [(200, "<html>"), (200, "{}"), (302, ""), (404, ""), (401, "")] {
        let server = Server::default();
        let http = server.service(move |asked| match &*asked.url {
            "https://as.example/.well-known/oauth-authorization-server" => answer(status, body),
            "https://as.example/.well-known/openid-configuration" => {
                answer(200, json!({"issuer": "https://as.example", "token_endpoint": ENDPOINT}).to_string())
            }
            _ => answer(200, GRANTED),
        });
        let issuer = AuthorizationServer::discover("https://as.example").unwrap();
        log_in(OAuth2Login::new(http, issuer, basic(), Grant::client_credentials())).await.unwrap();
    }
}

#[tokio::test]
async fn a_server_that_is_overloaded_is_not_looked_for() {
    for (status, again_found) in [(429, false), (503, false), (500, false), (404, true)] {
        let server = Server::default();
        let http = server.service(move |asked| match &*asked.url {
            ENDPOINT => answer(status, "not now"),
            _ => answer(200, json!({"issuer": "https://as.example", "token_endpoint": ENDPOINT}).to_string()),
        });
        let issuer = AuthorizationServer::discover("https://as.example").unwrap();
        let mut login = OAuth2Login::new(http, issuer, basic(), Grant::client_credentials());
        again(&mut login).await.unwrap_err();
        again(&mut login).await.unwrap_err();
        assert_eq!(
            server.asked().iter().filter(|asked| asked.url != ENDPOINT).count(),
            if again_found { 2 } else { 1 }
        );
    }
}

#[tokio::test]
async fn an_endpoint_that_was_found_is_used_on_while_its_metadata_are_out_of_reach() {
    let server = Server::default();
    let asked_before = Arc::new(Mutex::new(0));
    let http = server.service(move |asked| {
        let mut n = asked_before.lock().unwrap();
        *n += 1;
        match (&*asked.url, *n) {
            (ENDPOINT, 2) => answer(404, "for a moment"),
            (ENDPOINT, _) => answer(200, GRANTED),
            (_, 1) => answer(200, json!({"issuer": "https://as.example", "token_endpoint": ENDPOINT}).to_string()),
            _ => answer(503, "down"),
        }
    });
    let issuer = AuthorizationServer::discover("https://as.example").unwrap();
    let mut login = OAuth2Login::new(http, issuer, basic(), Grant::client_credentials());
    again(&mut login).await.unwrap_err();
    again(&mut login).await.unwrap();
}

#[tokio::test]
async fn a_server_that_has_moved_is_found_again() {
    let server = Server::default();
    let moved = Arc::new(Mutex::new(false));
    let told = moved.clone();
    let http = server.service(move |asked| {
        let moved = *told.lock().unwrap();
        let endpoint = if moved { "https://as.example/new" } else { ENDPOINT };
        match &*asked.url {
            "https://as.example/.well-known/oauth-authorization-server" => {
                answer(200, json!({"issuer": "https://as.example", "token_endpoint": endpoint}).to_string())
            }
            url if url == endpoint => answer(200, GRANTED),
            _ => answer(404, "gone"),
        }
    });
    let issuer = AuthorizationServer::discover("https://as.example").unwrap();
    let mut login = OAuth2Login::new(http, issuer, basic(), Grant::client_credentials());
    again(&mut login).await.unwrap();
    *moved.lock().unwrap() = true;
    again(&mut login).await.unwrap_err();
    again(&mut login).await.unwrap();
}
