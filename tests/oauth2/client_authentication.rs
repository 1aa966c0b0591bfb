//! How clients authenticate.

use std::{
    error::Error,
    time::{Duration, SystemTime},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use serde_json::json;
use tokio::time::Instant;
use tower::{BoxError, Service, ServiceExt, service_fn};
use tower_auth_refresh::{
    AccessToken, Clock, LoginError, LoginReason, LoginRequest,
    oauth2::{ClientAuthentication, Grant, OAuth2Login, RefreshToken, SignedJwt, SigningKey},
    test_util::MockLogin,
    transport::{HttpService, TransportConfig},
};

use crate::support::{
    ENDPOINT, GRANTED, MockServer, authorization_server, claims, log_in, log_in_again,
    oauth2_error, response,
};

#[tokio::test]
async fn basic_secret_is_form_encoded() {
    let server = MockServer::default();
    let client = ClientAuthentication::client_secret_basic("my:id", "s3cr3t/+ %:ü");
    log_in(OAuth2Login::new(
        server.service(|_| response(200, GRANTED)),
        authorization_server(),
        client,
        Grant::client_credentials(),
    ))
    .await
    .unwrap();
    let value = server.last_request().headers["authorization"].to_str().unwrap().to_owned();
    assert_eq!(credentials(&value), b"my%3Aid:s3cr3t%2F%2B+%25%3A%C3%BC");
}

/// The id and the secret in an `Authorization` header.
fn credentials(basic: &str) -> Vec<u8> {
    STANDARD.decode(basic.strip_prefix("Basic ").unwrap()).unwrap()
}

fn login(
    server: &MockServer,
    client: ClientAuthentication,
) -> OAuth2Login<impl HttpService + use<>> {
    let http = server.service(|_| response(200, GRANTED));
    OAuth2Login::new(http, authorization_server(), client, Grant::client_credentials())
}

#[tokio::test]
async fn basic_secret_is_not_encoded_if_disabled() {
    let server = MockServer::default();
    let client =
        ClientAuthentication::client_secret_basic("my:id", "s3cr3t/+ %:ü").form_encode_basic(false);
    log_in(login(&server, client)).await.unwrap();
    let value = server.last_request().headers["authorization"].to_str().unwrap().to_owned();
    assert_eq!(credentials(&value), "my:id:s3cr3t/+ %:ü".as_bytes());
}

#[tokio::test]
async fn secret_and_assertion_are_read_at_each_login() {
    let source = || {
        MockLogin::default()
            .service(|n| async move { Ok(AccessToken::raw(format!("s3cr3t {n}"))?) })
    };
    for (client, parameter) in [
        (ClientAuthentication::client_secret_basic_from("orders", source()), None),
        (ClientAuthentication::client_secret_post_from("orders", source()), Some("client_secret")),
        (ClientAuthentication::client_assertion("orders", source()), Some("client_assertion")),
    ] {
        let server = MockServer::default();
        let mut login = login(&server, client);
        for n in 1..=2 {
            log_in_again(&mut login).await.unwrap();
            let request = server.last_request();
            let sent = match parameter {
                Some(name) => request.parameter(name).to_owned(),
                None => String::from_utf8(credentials(
                    request.headers["authorization"].to_str().unwrap(),
                ))
                .unwrap(),
            };
            let expected = if parameter.is_some() {
                format!("s3cr3t {n}")
            } else {
                format!("orders:s3cr3t+{n}")
            };
            assert_eq!(sent, expected);
        }
    }
}

#[tokio::test]
async fn assertion_type_of_a_source_can_be_set() {
    let server = MockServer::default();
    let source = MockLogin::default().service(|_| async { Ok(AccessToken::bearer("svid")?) });
    let client =
        ClientAuthentication::client_assertion("orders", source).assertion_type("urn:custom");
    log_in(login(&server, client)).await.unwrap();
    let request = server.last_request();
    assert_eq!(
        (request.parameter("client_assertion_type"), request.parameter("client_id")),
        ("urn:custom", "orders")
    );
}

#[tokio::test]
async fn error_shows_no_secret_of_a_source() {
    let source = MockLogin::default().service(|_| async { Ok(AccessToken::bearer("sword/fish")?) });
    for client in [
        ClientAuthentication::client_secret_basic_from("orders", source.clone()),
        ClientAuthentication::client_secret_post_from("orders", source.clone()),
        ClientAuthentication::client_assertion("orders", source),
    ] {
        let http = MockServer::default()
            .service(|request| response(400, format!("{:?} {:?}", request.headers, request.form)));
        assert!(!format!("{client:?}").contains("sword"));
        let login =
            OAuth2Login::new(http, authorization_server(), client, Grant::client_credentials());
        let shown = format!("{:?}", log_in(login).await.unwrap_err());
        assert!(!shown.contains("sword") && !shown.contains("fish"), "{shown}");
    }
}

#[tokio::test(start_paused = true)]
async fn failed_or_hanging_source_fails_the_login() {
    let server = MockServer::default();
    for permanent in [true, false] {
        let failing = service_fn(move |_: LoginRequest| async move {
            let error = if permanent {
                LoginError::permanent("no file")
            } else {
                LoginError::transient("no file")
            };
            Err::<AccessToken, _>(error.with_retry_after(Duration::from_secs(9)))
        });
        let client = ClientAuthentication::client_secret_post_from("orders", failing);
        let error = log_in(login(&server, client)).await.unwrap_err();
        assert_eq!(
            (error.is_permanent(), error.retry_after()),
            (permanent, Some(Duration::from_secs(9)))
        );
        assert!(
            format!("{error:?}").contains("login service for client_secret failed"),
            "{error:?}"
        );
    }
    let hanging =
        service_fn(|_: LoginRequest| std::future::pending::<Result<AccessToken, LoginError>>());
    let client = ClientAuthentication::client_assertion("orders", hanging);
    let mut login = login(&server, client)
        .transport_config(TransportConfig::new().timeout(Duration::from_secs(7)));
    for _ in 0..2 {
        let started = Instant::now();
        let error = log_in_again(&mut login).await.unwrap_err();
        assert_eq!(started.elapsed(), Duration::from_secs(7));
        let cause = oauth2_error(&error).source().and_then(Error::source).unwrap();
        assert_eq!(cause.to_string(), "timed out after 7s");
    }
    assert!(server.requests().is_empty());
}

/// A clock that is this many seconds ahead of the server's.
#[derive(Clone, Copy, Debug)]
struct SkewedClock(i64);

impl SkewedClock {
    fn config(self) -> TransportConfig {
        TransportConfig::new().clock(self)
    }
}

impl Clock for SkewedClock {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH
            + Duration::from_secs(1_800_000_000_u64.saturating_add_signed(self.0))
    }
}

/// A server whose clock is at 1,800,000,000 and that rejects an assertion that is not valid at that time.
fn strict_server(server: &MockServer) -> impl HttpService + use<> {
    server.service(|request| {
        let assertion =
            request.form.get("client_assertion").or(request.form.get("assertion")).unwrap();
        let claims = claims(&assertion[0]).1;
        let is_valid = claims["iat"].as_u64() <= Some(1_800_000_000)
            && claims["exp"].as_u64() > Some(1_800_000_000);
        let mut response = match is_valid {
            true => response(200, GRANTED),
            false => response(401, r#"{"error":"invalid_client"}"#),
        };
        response.headers_mut().insert("date", "Fri, 15 Jan 2027 08:00:00 GMT".parse().unwrap());
        response
    })
}

#[tokio::test]
async fn backdated_assertion_satisfies_server_a_few_seconds_behind() {
    let clock = SkewedClock(8);
    for (backdate, requests) in [(None, 1), (Some(Duration::ZERO), 2)] {
        let server = MockServer::default();
        let mut client = ClientAuthentication::client_secret_jwt("orders", "secret");
        if let Some(backdate) = backdate {
            client = client.assertion_backdate(backdate);
        }
        let http = strict_server(&server);
        let login =
            OAuth2Login::new(http, authorization_server(), client, Grant::client_credentials());
        log_in(login.transport_config(clock.config())).await.unwrap();
        assert_eq!(server.requests().len(), requests, "{backdate:?}");
    }
}

#[tokio::test]
async fn wrong_local_clock_is_corrected_by_date_of_response() {
    let jwt = || SignedJwt::new(SigningKey::hs256("s"), "me", "me", "it");
    let client = ClientAuthentication::client_secret_jwt("orders", "secret")
        .assertion_lifetime(Duration::from_secs(30));
    for skew in [3600, -3600] {
        let clock = SkewedClock(skew);
        for (client, grant) in [
            (client.clone(), Grant::client_credentials()),
            (
                ClientAuthentication::client_assertion("orders", jwt().clock(clock)),
                Grant::client_credentials(),
            ),
            (ClientAuthentication::public("orders"), Grant::jwt_bearer(jwt().clock(clock))),
        ] {
            let server = MockServer::default();
            let http = strict_server(&server);
            let mut login = OAuth2Login::new(http, authorization_server(), client, grant)
                .transport_config(clock.config());
            log_in_again(&mut login).await.unwrap();
            assert_eq!(
                server.requests().len(),
                2,
                "rejected, and signed again by the server's clock"
            );
            log_in_again(&mut login).await.unwrap();
            assert_eq!(server.requests().len(), 3, "the server's clock is known");
        }
    }
}

/// As a load balancer whose clock is wrong sets the `Date`.
#[tokio::test]
async fn wrong_date_of_response_is_corrected_by_local_clock() {
    let server = MockServer::default();
    let strict = strict_server(&server);
    let http = service_fn(move |request: Request<Full<Bytes>>| {
        let strict = strict.clone();
        async move {
            let mut response = strict.send(request, 1 << 20, Duration::from_secs(10)).await?;
            response.headers_mut().insert("date", "Fri, 15 Jan 2027 09:00:00 GMT".parse()?);
            Ok::<_, BoxError>(response.map(|body| Full::<Bytes>::from(body.unwrap())))
        }
    });
    let client = ClientAuthentication::client_secret_jwt("orders", "secret");
    let login = OAuth2Login::new(http, authorization_server(), client, Grant::client_credentials());
    let mut login = login.transport_config(SkewedClock(0).config());
    for requests in [1, 3, 4] {
        log_in_again(&mut login).await.unwrap();
        assert_eq!(
            server.requests().len(),
            requests,
            "rejected once, and signed again by the local clock"
        );
    }
}

#[tokio::test]
async fn rejected_or_replaced_refresh_token_is_not_sent_again_for_a_wrong_clock() {
    for (status, body) in [
        (400, r#"{"error":"invalid_grant"}"#),
        (200, r#"{"error":"invalid_client","refresh_token":"r1"}"#),
    ] {
        let server = MockServer::default();
        let http = server.service(move |_| {
            let mut response = response(status, body);
            response.headers_mut().insert("date", "Fri, 15 Jan 2027 08:00:00 GMT".parse().unwrap());
            response
        });
        let client = ClientAuthentication::client_secret_jwt("orders", "secret");
        let grant = Grant::refresh_token(RefreshToken::new("r0"));
        let login = OAuth2Login::new(http, authorization_server(), client, grant)
            .transport_config(SkewedClock(3600).config());
        log_in(login).await.unwrap_err();
        assert_eq!(server.requests().len(), 1, "{body}");
    }
}

#[tokio::test]
async fn right_local_clock_causes_no_second_assertion() {
    let server = MockServer::default();
    let http = server.service(|_| {
        let mut response = response(401, r#"{"error":"invalid_client"}"#);
        response.headers_mut().insert("date", "Fri, 15 Jan 2027 08:00:00 GMT".parse().unwrap());
        response
    });
    let client = ClientAuthentication::client_secret_jwt("orders", "secret");
    let login = OAuth2Login::new(http, authorization_server(), client, Grant::client_credentials());
    assert!(
        log_in(login.transport_config(SkewedClock(0).config())).await.unwrap_err().is_permanent()
    );
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn post_and_public_clients_send_id_in_body() {
    for (client, secret) in [
        (ClientAuthentication::client_secret_post("orders", "swordfish"), Some("swordfish")),
        (ClientAuthentication::public("orders"), None),
    ] {
        let server = MockServer::default();
        let http = server.service(|_| response(200, GRANTED));
        log_in(OAuth2Login::new(http, authorization_server(), client, Grant::client_credentials()))
            .await
            .unwrap();
        let request = server.last_request();
        assert!(!request.headers.contains_key("authorization"));
        assert_eq!(request.parameter("client_id"), "orders");
        assert_eq!(request.form.get("client_secret").map(|values| &*values[0]), secret);
    }
}

#[tokio::test]
async fn client_assertion_is_signed_for_each_login() {
    let server = MockServer::default();
    let client =
        ClientAuthentication::client_secret_jwt("orders", "a secret of thirty-two bytes, yes");
    let login = OAuth2Login::new(
        server.service(|_| response(200, GRANTED)),
        authorization_server(),
        client,
        Grant::client_credentials(),
    );
    let mut login = login.transport_config(SkewedClock(0).config());
    for _ in 0..2 {
        login.ready().await.unwrap().call(LoginRequest::new(LoginReason::First)).await.unwrap();
    }
    let mut ids = Vec::new();
    for request in server.requests() {
        assert_eq!(
            request.parameter("client_assertion_type"),
            "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
        );
        assert_eq!(request.parameter("client_id"), "orders");
        assert!(
            !request.form.contains_key("client_secret")
                && !request.headers.contains_key("authorization")
        );
        let (header, claims) = claims(request.parameter("client_assertion"));
        assert_eq!(header, json!({"alg": "HS256", "typ": "JWT"}));
        assert_eq!(
            (&claims["iss"], &claims["sub"], &claims["aud"]),
            (&json!("orders"), &json!("orders"), &json!(ENDPOINT))
        );
        assert_eq!(
            (&claims["iat"], &claims["exp"]),
            (&json!(1_799_999_990), &json!(1_800_000_060))
        );
        ids.push(claims["jti"].as_str().unwrap().to_owned());
    }
    assert_ne!(ids[0], ids[1]);
}
