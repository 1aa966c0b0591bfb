//! The pages that the browser shows after a request to the listener.

use bytes::Bytes;
use http::{
    HeaderName, HeaderValue, Response, StatusCode,
    header::{ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY},
};
use http_body_util::Full;

const HEADERS: [(HeaderName, HeaderValue); 4] = [
    (CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
    (CACHE_CONTROL, HeaderValue::from_static("no-store")),
    (CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'")),
    (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
];

macro_rules! page {
    ($title:literal, $text:literal) => {
        concat!(
            "<!DOCTYPE html><html lang=\"en\"><title>",
            $title,
            "</title><h1>",
            $title,
            "</h1><p>",
            $text,
            "</p></html>\n"
        )
    };
}

// The client still has to exchange the code, so the page does not state that the login has succeeded.
pub(super) const RECEIVED: &str =
    page!("Login received", "You can close this page and return to the application.");
pub(super) const FAILED: &str =
    page!("Login failed", "You can close this page. The application shows the reason.");
pub(super) const NOT_FOUND: &str = page!("Not found", "This page is not part of a login.");
pub(super) const IGNORED: &str = page!(
    "Request ignored",
    "This request is not the redirect of the login. The application is still waiting."
);

pub(super) fn response(status: StatusCode, page: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(page));
    *response.status_mut() = status;
    response.headers_mut().extend(HEADERS);
    if status == StatusCode::METHOD_NOT_ALLOWED {
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET"));
    }
    response
}
