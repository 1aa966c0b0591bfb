//! What tells that a token was not accepted.

use http::{HeaderMap, StatusCode};

/// Tells from the head of a response whether the token that was sent has been rejected.
///
/// Any function of status and headers will do:
///
/// ```
/// use http::{HeaderMap, StatusCode};
/// use tower_auth_refresh::ClassifyRejection;
///
/// let vendor = |status: StatusCode, headers: &HeaderMap| {
///     status == StatusCode::FORBIDDEN && headers.contains_key("x-token-expired")
/// };
/// assert!(!vendor.is_rejection(StatusCode::UNAUTHORIZED, &HeaderMap::new()));
/// ```
pub trait ClassifyRejection {
    /// Whether the token has been rejected.
    fn is_rejection(&self, status: StatusCode, headers: &HeaderMap) -> bool;
}

impl<F: Fn(StatusCode, &HeaderMap) -> bool> ClassifyRejection for F {
    fn is_rejection(&self, status: StatusCode, headers: &HeaderMap) -> bool {
        self(status, headers)
    }
}

/// 401 (RFC 9110, section 15.5.2): the default.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unauthorized;

impl ClassifyRejection for Unauthorized {
    #[inline]
    fn is_rejection(&self, status: StatusCode, _: &HeaderMap) -> bool {
        status == StatusCode::UNAUTHORIZED
    }
}

/// For gRPC: the status `UNAUTHENTICATED` (16) in the headers, as an answer without messages has it; or 401, as proxies
/// send it.
#[derive(Clone, Copy, Debug, Default)]
pub struct GrpcUnauthenticated;

impl ClassifyRejection for GrpcUnauthenticated {
    #[inline]
    fn is_rejection(&self, status: StatusCode, headers: &HeaderMap) -> bool {
        status == StatusCode::UNAUTHORIZED || headers.get("grpc-status").is_some_and(|status| status == "16")
    }
}

/// Nothing: a token is used to its end, whatever the server says.
#[derive(Clone, Copy, Debug, Default)]
pub struct NeverRejected;

impl ClassifyRejection for NeverRejected {
    #[inline]
    fn is_rejection(&self, _: StatusCode, _: &HeaderMap) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn each_classifier_knows_its_rejections_and_no_others() {
        let none = HeaderMap::new();
        let grpc = |status| HeaderMap::from_iter([("grpc-status".parse().unwrap(), HeaderValue::from_static(status))]);
        let gateway = |status: StatusCode, _: &HeaderMap| status == StatusCode::TOO_MANY_REQUESTS;
        for (status, headers, by_status, by_grpc, by_function) in [
            (200, &none, false, false, false),
            (401, &none, true, true, false),
            (403, &none, false, false, false),
            (429, &none, false, false, true),
            (200, &grpc("16"), false, true, false),
            (200, &grpc("7"), false, false, false),
            (200, &grpc("160"), false, false, false),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(Unauthorized.is_rejection(status, headers), by_status, "{status} {headers:?}");
            assert_eq!(GrpcUnauthenticated.is_rejection(status, headers), by_grpc, "{status} {headers:?}");
            assert_eq!(gateway.is_rejection(status, headers), by_function, "{status} {headers:?}");
            assert!(!NeverRejected.is_rejection(status, headers));
        }
    }
}
