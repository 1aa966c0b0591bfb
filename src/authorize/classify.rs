//! [`ClassifyRejection`]: whether a response rejects the token.

use http::{HeaderMap, StatusCode};

/// Decides from the status and the headers of a response whether the server has rejected the token.
///
/// Any function of status and headers implements it. [`AuthRefreshLayer::reject_when`] accepts a closure without type
/// annotations.
///
/// [`AuthRefreshLayer::reject_when`]: crate::AuthRefreshLayer::reject_when
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
    /// Returns whether the token has been rejected.
    fn is_rejection(&self, status: StatusCode, headers: &HeaderMap) -> bool;
}

impl<F: Fn(StatusCode, &HeaderMap) -> bool> ClassifyRejection for F {
    fn is_rejection(&self, status: StatusCode, headers: &HeaderMap) -> bool {
        self(status, headers)
    }
}

/// Classifies 401 (RFC 9110, section 15.5.2) as a rejection. The default.
///
/// ```
/// use http::{HeaderMap, StatusCode};
/// use tower_auth_refresh::{ClassifyRejection, UnauthorizedAsRejection};
///
/// assert!(UnauthorizedAsRejection.is_rejection(StatusCode::UNAUTHORIZED, &HeaderMap::new()));
/// assert!(!UnauthorizedAsRejection.is_rejection(StatusCode::FORBIDDEN, &HeaderMap::new()));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct UnauthorizedAsRejection;

impl ClassifyRejection for UnauthorizedAsRejection {
    #[inline]
    fn is_rejection(&self, status: StatusCode, _: &HeaderMap) -> bool {
        status == StatusCode::UNAUTHORIZED
    }
}

/// Classifies the gRPC status `UNAUTHENTICATED` (16) and the HTTP status 401 as rejections. Proxies send 401.
///
/// It reads `grpc-status` in the headers: a response without messages has it there, not in the trailers.
///
/// ```
/// use http::{HeaderMap, HeaderValue, StatusCode};
/// use tower_auth_refresh::{ClassifyRejection, GrpcUnauthenticatedAsRejection};
///
/// let mut headers = HeaderMap::new();
/// headers.insert("grpc-status", HeaderValue::from_static("16"));
/// assert!(GrpcUnauthenticatedAsRejection.is_rejection(StatusCode::OK, &headers));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct GrpcUnauthenticatedAsRejection;

impl ClassifyRejection for GrpcUnauthenticatedAsRejection {
    #[inline]
    fn is_rejection(&self, status: StatusCode, headers: &HeaderMap) -> bool {
        status == StatusCode::UNAUTHORIZED
            || headers.get("grpc-status").is_some_and(|status| status == "16")
    }
}

/// Classifies no response as a rejection, so that a token is used until it expires.
///
/// ```
/// use tower_auth_refresh::{AccessToken, AuthRefreshLayer, NeverReject, login_fn};
///
/// let login = login_fn(|_| async { Ok(AccessToken::bearer("abc")?) });
/// let layer = AuthRefreshLayer::with_login(login).reject_on(NeverReject);
/// # let _ = layer;
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct NeverReject;

impl ClassifyRejection for NeverReject {
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
    fn classifier_detects_its_rejections_only() {
        let none = HeaderMap::new();
        let grpc = |status| {
            HeaderMap::from_iter([(
                "grpc-status".parse().unwrap(),
                HeaderValue::from_static(status),
            )])
        };
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
            assert_eq!(
                UnauthorizedAsRejection.is_rejection(status, headers),
                by_status,
                "{status} {headers:?}"
            );
            assert_eq!(
                GrpcUnauthenticatedAsRejection.is_rejection(status, headers),
                by_grpc,
                "{status} {headers:?}"
            );
            assert_eq!(gateway.is_rejection(status, headers), by_function, "{status} {headers:?}");
            assert!(!NeverReject.is_rejection(status, headers));
        }
    }
}
