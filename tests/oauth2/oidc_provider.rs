//! Logins at a certified authorization server, npm's `oidc-provider`, which `oidc/server.mjs` starts.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::{Request, StatusCode, header::AUTHORIZATION};
use http_body_util::Full;
use ring::{
    rsa::PublicKeyComponents,
    signature::{KeyPair, RsaKeyPair},
};
use rustls::pki_types::{PrivatePkcs8KeyDer, pem::PemObject};
use serde_json::{Value, json};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};
use tower::{Service, ServiceExt};
use tower_auth_refresh::{
    AccessToken, AuthRefresh, AuthRefreshLayer, AuthRefresher, LoginReason, LoginRequest,
    ReplayClone,
    http_client::HttpClient,
    oauth2::{
        AuthorizationServer, ClientAuthentication, Grant, OAuth2Login, RefreshToken, SigningKey,
    },
};

#[path = "../support/oidc_provider.rs"]
pub(crate) mod server;

use server::OidcProvider;

const RSA: &str = include_str!("../support/rsa_test_key.pem");

/// The server, and the private key of a client.
struct Provider {
    server: OidcProvider,
    ec: rcgen::KeyPair,
}

impl Provider {
    /// Returns `None`, with the cause on standard error, if the server cannot be started here.
    fn start() -> Option<Self> {
        let ec = rcgen::KeyPair::generate().unwrap();
        let server = OidcProvider::start(&[
            ("PUBLIC_JWK", rsa_jwk().to_string()),
            ("PUBLIC_JWK_EC", ec_jwk(&ec).to_string()),
        ])?;
        Some(Self { server, ec })
    }

    fn login(&self, client: ClientAuthentication, grant: Grant) -> OAuth2Login<HttpClient> {
        OAuth2Login::new(
            http(),
            AuthorizationServer::discover(&self.server.issuer).unwrap(),
            client,
            grant,
        )
    }

    /// Returns whether the server accepts the token.
    async fn accepts(&self, token: &AccessToken) -> bool {
        let request = self.introspection().header(AUTHORIZATION, token.header_value());
        http().oneshot(request.body(Full::default()).unwrap()).await.unwrap().status()
            == StatusCode::OK
    }

    fn introspection(&self) -> http::request::Builder {
        Request::get(format!("{}/test/introspect", self.server.issuer))
    }

    /// A client of the API that requires a token.
    fn api(&self, refresher: AuthRefresher) -> Api {
        Api {
            client: tower::Layer::layer(
                &AuthRefreshLayer::new(refresher).replay(ReplayClone),
                http(),
            ),
            url: self.server.issuer.clone(),
        }
    }
}

#[derive(Clone)]
struct Api {
    client: AuthRefresh<HttpClient, ReplayClone>,
    url: String,
}

impl Api {
    async fn call_api(&mut self) -> StatusCode {
        let request = Request::get(format!("{}/test/introspect", self.url))
            .body(Full::<Bytes>::default())
            .unwrap();
        self.client.ready().await.unwrap().call(request).await.unwrap().status()
    }
}

fn http() -> HttpClient {
    HttpClient::builder().build().unwrap()
}

fn rsa_jwk() -> Value {
    let der = PrivatePkcs8KeyDer::from_pem_slice(RSA.as_bytes()).unwrap();
    let key = RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()).unwrap();
    let PublicKeyComponents { n, e } = PublicKeyComponents::<Vec<u8>>::from(key.public_key());
    json!({"kty": "RSA", "n": URL_SAFE_NO_PAD.encode(n), "e": URL_SAFE_NO_PAD.encode(e)})
}

fn ec_jwk(key: &rcgen::KeyPair) -> Value {
    // An uncompressed point: 4, x, y.
    let (x, y) = key.public_key_raw()[1..].split_at(32);
    json!({"kty": "EC", "crv": "P-256", "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y)})
}

#[tokio::test]
async fn client_credentials_work_with_each_method() {
    let Some(provider) = Provider::start() else { return };
    let clients = [
        ClientAuthentication::client_secret_basic("basic", "s3cr3t/+ %:"),
        ClientAuthentication::client_secret_post("post", "post-secret-post-secret-post-secret-0"),
        ClientAuthentication::client_secret_jwt("secret-jwt", "jwt-secret-jwt-secret-jwt-secret-0"),
        ClientAuthentication::private_key_jwt("key-jwt", SigningKey::rs256_pem(RSA).unwrap()),
        ClientAuthentication::private_key_jwt(
            "key-jwt-ec",
            SigningKey::es256_pem(provider.ec.serialize_pem()).unwrap(),
        ),
    ];
    for client in clients {
        for resource in [None, Some("urn:jwt")] {
            let mut grant = Grant::client_credentials().scope("read");
            if let Some(resource) = resource {
                grant = grant.resource(resource);
            }
            let mut login = provider.login(client.clone(), grant);
            // An assertion is valid for one login, so the second login requires another.
            for _ in 0..2 {
                let token = login
                    .ready()
                    .await
                    .unwrap()
                    .call(LoginRequest::new(LoginReason::First))
                    .await
                    .unwrap();
                assert_eq!(token.secret().starts_with("eyJ"), resource.is_some(), "{client:?}");
                assert!(provider.accepts(&token).await, "{client:?}");
            }
        }
    }
}

#[tokio::test]
async fn rejection_by_the_server_is_permanent() {
    let Some(provider) = Provider::start() else { return };
    let wrong = ClientAuthentication::client_secret_basic("basic", "wrong");
    let right = ClientAuthentication::client_secret_basic("basic", "s3cr3t/+ %:");
    let gone = RefreshToken::new("gone");
    let refreshing = ClientAuthentication::client_secret_basic("refreshing", "refreshing-secret");
    for (client, grant, code) in [
        (wrong, Grant::client_credentials(), "invalid_client"),
        (right.clone(), Grant::client_credentials().scope("openid"), "invalid_scope"),
        (right, Grant::client_credentials().resource("urn:other"), "invalid_target"),
        (refreshing, Grant::refresh_token(gone), "invalid_grant"),
    ] {
        let error = provider
            .login(client, grant)
            .oneshot(LoginRequest::new(LoginReason::First))
            .await
            .unwrap_err();
        assert!(error.is_permanent() && format!("{error:?}").contains(code), "{code}: {error:?}");
    }
}

#[tokio::test]
async fn refresh_tokens_rotate_under_load_without_reuse() {
    let Some(provider) = Provider::start() else { return };
    let first = provider.server.new_refresh_token().await;
    let client = ClientAuthentication::client_secret_basic("refreshing", "refreshing-secret");
    let refresher = AuthRefresher::new(provider.login(client, Grant::refresh_token(first)));
    refresher.ready().await.unwrap();
    let mut calls = JoinSet::new();
    for _ in 0..100 {
        let mut api = provider.api(refresher.clone());
        calls.spawn(async move {
            for _ in 0..10 {
                assert_eq!(api.call_api().await, StatusCode::OK);
            }
        });
    }
    for _ in 0..5 {
        refresher.refresh().await.unwrap();
    }
    calls.join_all().await;
    let seen = provider.server.seen().await;
    assert_eq!(seen["twice"], 0, "{seen}");
    assert!(seen["requests"].as_u64() >= Some(6), "{seen}");
}

#[tokio::test]
async fn tokens_of_three_seconds_cause_no_failed_request() {
    let Some(provider) = Provider::start() else { return };
    let client = ClientAuthentication::client_secret_basic("basic", "s3cr3t/+ %:");
    let refresher =
        AuthRefresher::new(provider.login(client, Grant::client_credentials().scope("read")));
    let (mut api, start) = (provider.api(refresher.clone()), Instant::now());
    while start.elapsed() < Duration::from_secs(15) {
        assert_eq!(api.call_api().await, StatusCode::OK, "after {:?}", start.elapsed());
        sleep(Duration::from_millis(20)).await;
    }
    assert!(refresher.status().generation >= 5);
}
