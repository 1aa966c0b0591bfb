//! The origin of requests whose URI has neither a scheme nor an authority.

use std::convert::Infallible;

use http::{Request, Response, Uri, header::AUTHORIZATION};
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_auth_refresh::{
    AuthRefreshLayer, DestinationPolicy, Error, InvalidOrigin, Origin, UnsafeDestination, login_fn,
};

fn layer() -> AuthRefreshLayer {
    AuthRefreshLayer::with_login(login_fn(|_| async {
        Ok(tower_auth_refresh::AccessToken::bearer("abc")?)
    }))
}

/// Sends a request. Returns its URI and whether it had the token, as the inner service received it.
async fn send(layer: AuthRefreshLayer, uri: &str) -> Result<(Uri, bool), Error> {
    let inner = service_fn(|request: Request<()>| async move {
        let has_token =
            request.headers().get(AUTHORIZATION).is_some_and(|value| value == "Bearer abc");
        Ok::<_, Infallible>(Response::new((request.uri().clone(), has_token)))
    });
    let request = Request::get(uri).body(()).unwrap();
    layer.layer(inner).oneshot(request).await.map(Response::into_body)
}

fn is_refused(result: Result<(Uri, bool), Error>, expected: UnsafeDestination) -> bool {
    matches!(result, Err(Error::Destination(error)) if error == expected)
}

#[tokio::test]
async fn origin_lets_path_requests_have_the_token_unchanged() {
    assert!(is_refused(send(layer(), "/pods").await, UnsafeDestination::NoAuthority));
    let with_origin = layer().origin("https://cluster.example.com").unwrap();
    assert_eq!(
        send(with_origin, "/pods?watch").await.unwrap(),
        (Uri::from_static("/pods?watch"), true)
    );
}

#[tokio::test]
async fn origin_is_checked_like_the_uri_of_a_request() {
    let plaintext = layer().origin("http://cluster.example.com").unwrap();
    assert!(is_refused(send(plaintext.clone(), "/pods").await, UnsafeDestination::Plaintext));
    assert!(send(plaintext.allow_plaintext(true), "/pods").await.unwrap().1);
    assert!(send(layer().origin("http://127.0.0.1:8001").unwrap(), "/pods").await.unwrap().1);

    let listed = layer().allow_origin("https://api.example.com").unwrap();
    let elsewhere = listed.clone().origin("https://cluster.example.com").unwrap();
    assert!(is_refused(
        send(elsewhere.clone(), "/pods").await,
        UnsafeDestination::OriginNotAllowed
    ));
    assert!(send(listed.origin("https://api.example.com:443").unwrap(), "/pods").await.unwrap().1);
    let without_token = elsewhere.destination_policy(DestinationPolicy::SendUnauthenticated);
    assert!(!send(without_token, "/pods").await.unwrap().1);
}

#[tokio::test]
async fn origin_does_not_apply_to_a_request_with_an_authority() {
    let layer = layer().origin("https://cluster.example.com").unwrap();
    assert!(is_refused(
        send(layer.clone(), "http://example.com/").await,
        UnsafeDestination::Plaintext
    ));
    assert!(is_refused(
        send(layer.clone(), "cluster.example.com:443").await,
        UnsafeDestination::NoAuthority
    ));
    assert!(send(layer, "https://example.com/").await.unwrap().1);
}

#[tokio::test]
async fn origin_converts_from_text_uri_and_origin() {
    let origin: Origin = "https://api.example.com".parse().unwrap();
    let uri = Uri::from_static("https://api.example.com");
    let layers: [Result<_, InvalidOrigin>; 5] = [
        layer().origin("https://api.example.com"),
        layer().origin(origin.to_string()),
        layer().origin(&uri),
        layer().origin(uri.clone()),
        layer().origin(origin),
    ];
    for layer in layers {
        assert!(send(layer.unwrap(), "/").await.unwrap().1);
    }
    assert!(layer().origin("api.example.com").is_err());
    assert!(layer().allow_origin(Uri::from_static("https://api.example.com/path")).is_err());
}

#[tokio::test]
async fn cached_token_is_not_sent_to_another_origin() {
    let inner = service_fn(|request: Request<()>| async move {
        Ok::<_, Infallible>(Response::new(request.headers().contains_key(AUTHORIZATION)))
    });
    let mut client = layer().allow_origin("https://api.example.com").unwrap().layer(inner);
    for _ in 0..3 {
        for uri in ["https://api.example.com/", "https://API.example.com:443/"] {
            let request = Request::get(uri).body(()).unwrap();
            assert!(
                client.ready().await.unwrap().call(request).await.unwrap().into_body(),
                "{uri}"
            );
        }
        for uri in [
            "https://evil.example.com/",
            "https://api.example.com.evil.com/",
            "https://api.example.com:8443/",
        ] {
            let request = Request::get(uri).body(()).unwrap();
            let result = client.ready().await.unwrap().call(request).await;
            assert!(
                matches!(result, Err(Error::Destination(UnsafeDestination::OriginNotAllowed))),
                "{uri}"
            );
        }
    }
}
