//! Time and size limits.

use std::{convert::Infallible, error::Error, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use tower::{BoxError, service_fn};
use tower_auth_refresh::{
    AuthRefresher,
    oauth2::{Grant, OAuth2Login, RefreshToken, RefreshTokenStore, StoreFuture},
    transport::{TransportConfig, TransportError},
};

use crate::support::{
    GRANTED, MockServer, authorization_server, basic, log_in, log_in_again, login_with_response,
    oauth2_error, response, transport_error,
};

#[tokio::test]
async fn response_of_five_megabytes_is_rejected() {
    for status in [200, 400] {
        let error = login_with_response(response(status, " ".repeat(5 << 20))).await.unwrap_err();
        assert!(!error.is_permanent());
        assert_eq!(
            oauth2_error(&error).transport_error().is_some_and(TransportError::is_too_large),
            status == 200,
            "an error's status is enough: {error:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn slow_response_times_out() {
    let slow = service_fn(|_: Request<Full<Bytes>>| {
        std::future::pending::<Result<Response<Full<Bytes>>, Infallible>>()
    });
    let login =
        OAuth2Login::new(slow, authorization_server(), basic(), Grant::client_credentials())
            .transport_config(TransportConfig::new().timeout(Duration::from_secs(7)));
    let error = log_in(login).await.unwrap_err();
    assert!(transport_error(&error).is_timeout() && error.to_string().len() < 500, "{error:?}");
    assert!(format!("{error:?}").contains("7s"), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn slow_login_reports_its_cause_with_default_settings() {
    let slow = service_fn(|_: Request<Full<Bytes>>| {
        std::future::pending::<Result<Response<Full<Bytes>>, Infallible>>()
    });
    let login =
        OAuth2Login::new(slow, authorization_server(), basic(), Grant::client_credentials());
    let error = AuthRefresher::new(login).ready().await.unwrap_err();
    assert!(transport_error(&error).is_timeout(), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn endless_body_times_out() {
    use http_body_util::StreamBody;
    let hangs = service_fn(|_: Request<Full<Bytes>>| async {
        let body = StreamBody::new(futures::stream::pending::<
            Result<hyper::body::Frame<Bytes>, BoxError>,
        >());
        Ok::<_, Infallible>(Response::new(body))
    });
    let error = log_in(OAuth2Login::new(
        hangs,
        authorization_server(),
        basic(),
        Grant::client_credentials(),
    ))
    .await
    .unwrap_err();
    assert!(transport_error(&error).is_timeout(), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn hanging_store_times_out() {
    struct Hangs;
    impl RefreshTokenStore for Hangs {
        fn load(&self) -> StoreFuture<'_, Option<RefreshToken>> {
            Box::pin(std::future::pending())
        }
        fn save(&self, _: RefreshToken) -> StoreFuture<'_, ()> {
            Box::pin(std::future::pending())
        }
    }
    let http = MockServer::default().service(|_| response(200, GRANTED));
    let grant = Grant::refresh_token_store(Hangs);
    let mut login = OAuth2Login::new(http, authorization_server(), basic(), grant)
        .transport_config(TransportConfig::new().timeout(Duration::from_secs(7)));
    tokio::time::timeout(Duration::from_secs(1), log_in_again(&mut login)).await.unwrap_err();
    let error = log_in_again(&mut login).await.unwrap_err();
    assert_eq!(oauth2_error(&error).source().unwrap().to_string(), "timed out after 7s");
}
