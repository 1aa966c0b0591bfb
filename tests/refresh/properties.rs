//! Arbitrary URIs, headers and tokens: the layer sends a token to allowed destinations only, and nothing panics.

use std::{
    convert::Infallible,
    future::{Ready, ready},
};

use http::{HeaderName, HeaderValue, Request, Response, Uri, header::AUTHORIZATION};
use proptest::prelude::*;
use tokio::runtime::Builder;
use tower::{Layer, ServiceExt, service_fn};
use tower_auth_refresh::{AccessToken, AuthRefreshLayer, AuthRefresher, Error, LoginRequest};

fn block_on<F: Future>(future: F) -> F::Output {
    Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
}

fn refresher(token: AccessToken) -> AuthRefresher {
    AuthRefresher::new(service_fn(move |_: LoginRequest| ready(Ok::<_, Infallible>(token.clone()))))
}

fn authorization_headers(
    request: Request<()>,
) -> Ready<Result<Response<Vec<HeaderValue>>, Infallible>> {
    ready(Ok(Response::new(request.headers().get_all(AUTHORIZATION).iter().cloned().collect())))
}

/// Generates strings, most of which look like URIs.
fn uri() -> impl Strategy<Value = String> {
    let scheme = prop_oneof!["https", "HTTPS", "http", "Http", "ws", "[a-z]{1,5}", ""];
    let userinfo = prop_oneof!["", "api\\.example\\.com@", "a:b@", "[a-z.:@]{0,8}@"];
    let host = prop_oneof![
        "api\\.example\\.com\\.?",
        "API\\.Example\\.COM",
        "localhost",
        "127\\.0\\.0\\.1",
        "\\[::1\\]",
        "[a-z.]{1,20}",
        "[0-9.]{1,15}",
        "api\\.example\\.com[.a-z-]{1,8}",
        "\\PC{0,10}",
    ];
    let port = prop_oneof!["", ":443", ":80", ":0443", ":[0-9]{0,6}", ":"];
    let path = prop_oneof!["", "/", "/[a-z@:/.?#]{0,20}"];
    (scheme, userinfo, host, port, path).prop_map(|(scheme, userinfo, host, port, path)| {
        format!("{scheme}://{userinfo}{host}{port}{path}")
    })
}

/// Returns whether a connector would connect to the allowed origin. Does not use the crate's own check.
fn is_allowed_origin(uri: &Uri) -> bool {
    let Some(authority) = uri.authority() else { return false };
    let host = authority.host().to_ascii_lowercase();
    let host = host.strip_suffix('.').unwrap_or(&host);
    uri.scheme_str() == Some("https")
        && host == "api.example.com"
        && matches!(
            authority
                .port()
                .map(|port| port.as_str().trim_start_matches('0').to_owned())
                .as_deref(),
            None | Some("443")
        )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn token_is_sent_to_allowed_origin_only(text in uri()) {
        let Ok(uri) = text.parse::<Uri>() else { return Ok(()) };
        let layer = AuthRefreshLayer::new(refresher(AccessToken::bearer("abc").unwrap()));
        let client = layer.allow_origin("https://api.example.com").unwrap().layer(service_fn(authorization_headers));
        let Ok(request) = Request::get(uri.clone()).body(()) else { return Ok(()) };
        match block_on(client.oneshot(request)) {
            Ok(response) => {
                prop_assert!(is_allowed_origin(&uri), "sent to {uri}");
                prop_assert_eq!(response.into_body(), ["Bearer abc"]);
            }
            Err(error) => {
                prop_assert!(matches!(error, Error::Destination(_)), "{}", error);
                let is_clearly_allowed = text.starts_with("https://api.example.com/");
                prop_assert!(!is_clearly_allowed, "not sent to {uri}");
            }
        }
    }

    #[test]
    fn plaintext_token_is_sent_to_loopback_only(text in uri()) {
        let Ok(uri) = text.parse::<Uri>() else { return Ok(()) };
        let layer = AuthRefreshLayer::new(refresher(AccessToken::bearer("abc").unwrap()));
        let Ok(request) = Request::get(uri.clone()).body(()) else { return Ok(()) };
        let is_sent = block_on(layer.layer(service_fn(authorization_headers)).oneshot(request)).is_ok();
        if is_sent && uri.scheme_str() != Some("https") {
            let host = uri.host().unwrap_or_default().trim_matches(['[', ']', '.']).to_ascii_lowercase();
            let is_name = host == "localhost";
            let is_address = host.parse::<std::net::IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback());
            prop_assert!(is_name || is_address, "sent to {uri}");
        }
    }

    #[test]
    fn request_with_any_headers_carries_one_token(
        names in prop::collection::vec("(authorization|Authorization|x-[a-z]{1,5})", 0..5),
        values in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 5),
    ) {
        let mut request = Request::get("https://api.example.com/").body(()).unwrap();
        for (name, value) in names.iter().zip(values) {
            if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::from_bytes(&value)) {
                request.headers_mut().append(name, value);
            }
        }
        let layer = AuthRefreshLayer::new(refresher(AccessToken::bearer("abc").unwrap()));
        let response = block_on(layer.layer(service_fn(authorization_headers)).oneshot(request)).unwrap();
        prop_assert_eq!(response.into_body(), ["Bearer abc"]);
    }

    #[test]
    fn arbitrary_bytes_make_token_or_error_without_secret(
        secret in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        for token in [AccessToken::bearer(&secret), AccessToken::raw(&secret)] {
            match token {
                Ok(token) => {
                    prop_assert_eq!(token.secret().as_bytes(), &secret[..]);
                    prop_assert!(token.header_value().as_bytes().ends_with(&secret));
                    prop_assert!(token.header_value().is_sensitive());
                }
                Err(error) => {
                    let shown = format!("{error} {error:?}");
                    let text = String::from_utf8_lossy(&secret);
                    prop_assert!(text.len() < 12 || !shown.contains(&*text));
                }
            }
        }
    }
}
