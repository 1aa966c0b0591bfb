//! The reader of the login's cookies: no input makes it panic, and what it takes for a token can be sent.
#![no_main]

use std::sync::LazyLock;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, header::SET_COOKIE};
use http_body_util::Full;
use libfuzzer_sys::fuzz_target;
use tokio::runtime::{Builder, Runtime};
use tower::{BoxError, ServiceExt, service_fn};
use tower_auth_refresh::arthur::{ArthurApi, BaseUrl, Credentials, UserLogin};

static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Builder::new_current_thread().enable_time().build().expect("a runtime"));

fuzz_target!(|cookies: Vec<&[u8]>| {
    let mut response = Response::new(Full::<Bytes>::default());
    for cookie in cookies {
        if let Ok(value) = HeaderValue::from_bytes(cookie) {
            response.headers_mut().append(SET_COOKIE, value);
        }
    }
    let http = service_fn(move |_: Request<Full<Bytes>>| {
        let response = response.clone();
        async move { Ok::<_, BoxError>(response) }
    });
    let api = ArthurApi::new(BaseUrl::parse("localhost").expect("a base URL"), http);
    let login = UserLogin::new(api).oneshot(Credentials::new("jo", "a-password-to-look-for"));
    match RUNTIME.block_on(login) {
        Ok(login) => {
            let secret = login.token.secret();
            assert!(!secret.is_empty() && secret.bytes().all(|byte| (0x20..0x7f).contains(&byte)));
            assert_eq!(secret, secret.trim());
            assert_eq!(login.token.header_value(), secret);
        }
        Err(error) => assert!(!format!("{error} {error:?}").contains("a-password-to-look-for")),
    }
});
