//! Where a token is allowed to go.

use std::{fmt, sync::Arc};

use http::{
    Uri,
    uri::{Authority, Scheme},
};

use super::origin::Origin;
use crate::loopback::is_loopback;

/// The error for a request whose destination is not allowed to receive the token. The request was not sent.
///
/// Tokens go to `https`, and in plaintext to the loopback only (RFC 6750, section 5.3, requires TLS). See
/// [`origin`], [`allow_origin`] and [`allow_plaintext`].
///
/// ```
/// use tower::{BoxError, ServiceBuilder, ServiceExt};
/// use tower_auth_refresh::{AccessToken, AuthRefreshLayer, Error, UnsafeDestination, login_fn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let client = ServiceBuilder::new()
///     .layer(AuthRefreshLayer::with_login(login_fn(|_| async { Ok(AccessToken::bearer("abc")?) })))
///     .service_fn(|_: http::Request<()>| async { Ok::<_, BoxError>(http::Response::new(())) });
///
/// let request = http::Request::get("http://api.example.com/").body(()).unwrap();
/// let error = client.oneshot(request).await.unwrap_err();
/// assert!(matches!(error, Error::Destination(UnsafeDestination::Plaintext)));
/// # }
/// ```
///
/// [`origin`]: crate::AuthRefreshLayer::origin
/// [`allow_origin`]: crate::AuthRefreshLayer::allow_origin
/// [`allow_plaintext`]: crate::AuthRefreshLayer::allow_plaintext
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum UnsafeDestination {
    /// The scheme is not `https`, and the host is not the loopback.
    Plaintext,
    /// The URI has no scheme or no host, and the layer has no [`origin`](crate::AuthRefreshLayer::origin) for it.
    NoAuthority,
    /// The origin is not allowed.
    OriginNotAllowed,
}

impl UnsafeDestination {
    /// Returns the metric's label value.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Plaintext => "plaintext",
            Self::NoAuthority => "no_authority",
            Self::OriginNotAllowed => "origin_not_allowed",
        }
    }
}

impl fmt::Display for UnsafeDestination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plaintext => {
                "token must not be sent in plaintext to a host that is not the loopback (see `allow_plaintext`)"
            }
            Self::NoAuthority => {
                "token must not be sent to a URI without a scheme and a host (see `AuthRefreshLayer::origin`)"
            }
            Self::OriginNotAllowed => "token must not be sent to an origin that is not allowed",
        })
    }
}

impl std::error::Error for UnsafeDestination {}

/// Selects what happens to a request whose destination is not allowed to receive the token.
///
/// ```
/// use tower_auth_refresh::{AccessToken, AuthRefreshLayer, DestinationPolicy, InvalidOrigin, login_fn};
///
/// // Redirects to other origins are followed, without the token.
/// let layer = AuthRefreshLayer::with_login(login_fn(|_| async { Ok(AccessToken::bearer("abc")?) }))
///     .allow_origin("https://api.example.com")?
///     .destination_policy(DestinationPolicy::SendUnauthenticated);
/// # let _ = layer;
/// # Ok::<(), InvalidOrigin>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DestinationPolicy {
    /// The call fails with [`Error::Destination`](crate::Error::Destination). The request is not sent.
    #[default]
    Fail,
    /// The request is sent without a token.
    SendUnauthenticated,
}

/// Where the tokens of one layer are allowed to go.
#[derive(Clone, Debug, Default)]
pub(crate) struct AllowedDestinations {
    pub(crate) allow_plaintext: bool,
    /// The origin of URIs that have neither a scheme nor an authority.
    pub(crate) origin: Option<Origin>,
    /// `None`: any origin.
    origins: Option<Arc<[Origin]>>,
}

impl AllowedDestinations {
    pub(crate) fn check(&self, uri: &Uri) -> Result<(), UnsafeDestination> {
        // A client that resolves a path with two leading slashes takes what follows for the authority (RFC 3986, section
        // 4.2).
        let is_network_path = uri.path().starts_with("//");
        match (uri.scheme(), uri.authority(), &self.origin) {
            (None, None, Some(origin)) if !is_network_path => {
                self.check_origin(Some(origin.scheme()), Some(origin.authority()))
            }
            (scheme, authority, _) => self.check_origin(scheme, authority),
        }
    }

    fn check_origin(
        &self,
        scheme: Option<&Scheme>,
        authority: Option<&Authority>,
    ) -> Result<(), UnsafeDestination> {
        match scheme.map(Scheme::as_str) {
            Some("https") => {}
            _ if self.allow_plaintext => {}
            Some(_) if authority.is_some_and(|authority| is_loopback(authority.host())) => {}
            Some(_) => return Err(UnsafeDestination::Plaintext),
            None => return Err(UnsafeDestination::NoAuthority),
        }
        let Some(allowed) = &self.origins else { return Ok(()) };
        let (Some(scheme), Some(authority)) = (scheme, authority) else {
            return Err(UnsafeDestination::NoAuthority);
        };
        let is_allowed = allowed.iter().any(|origin| origin.is_origin_of(scheme, authority));
        if is_allowed { Ok(()) } else { Err(UnsafeDestination::OriginNotAllowed) }
    }

    /// Returns whether the URI is `https` and has an allowed origin in its shortest spelling. [`check`](Self::check)
    /// decides about other spellings.
    #[inline]
    pub(crate) fn surely_allows(&self, uri: &Uri) -> bool {
        uri.scheme_str() == Some("https")
            && self.origins.as_ref().is_none_or(|origins| is_spelled(origins, uri))
    }

    pub(crate) fn allow(&mut self, origin: Origin) {
        let before = self.origins.iter().flat_map(|origins| origins.iter().cloned());
        self.origins = Some(before.chain([origin]).collect());
    }
}

/// Returns whether the URI has the shortest spelling of its origin, as the list has. Most requests do, and this
/// comparison parses nothing.
fn is_spelled(origins: &[Origin], uri: &Uri) -> bool {
    uri.authority().is_some_and(|authority| {
        origins.iter().any(|origin| origin.is_https_spelled(authority.as_str()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(uri: &'static str) -> Result<(), UnsafeDestination> {
        AllowedDestinations::default().check(&Uri::from_static(uri))
    }

    #[test]
    fn https_and_loopback_are_allowed() {
        for uri in [
            "https://example.com/",
            "HTTPS://example.com:8443/a?b",
            "http://127.0.0.1:3000/",
            "http://127.8.9.10/",
            "http://[::1]:3000/",
            "http://[::ffff:127.0.0.1]/",
            "http://localhost/",
            "http://LOCALHOST:80/",
        ] {
            assert_eq!(check(uri), Ok(()), "{uri}");
        }
    }

    #[test]
    fn plaintext_to_another_host_is_refused() {
        for uri in [
            "http://example.com/",
            "http://127.0.0.1.example.com/",
            "http://localhost.example.com/",
            "http://notlocalhost/",
            "http://api.localhost/",
            "http://localhost./",
            "http://127.0.0.1./",
            "http://127.0.0.1@example.com/",
            "http://localhost:80@example.com/",
            "http://[::2]/",
            "http://10.0.0.1/",
            "ws://example.com/",
        ] {
            assert_eq!(check(uri), Err(UnsafeDestination::Plaintext), "{uri}");
        }
    }

    #[test]
    fn uri_without_authority_is_refused() {
        for uri in ["/path", "example.com:443", "*"] {
            assert_eq!(check(uri), Err(UnsafeDestination::NoAuthority), "{uri}");
        }
    }

    fn allow(origins: &[&str]) -> AllowedDestinations {
        let mut destinations = AllowedDestinations::default();
        for origin in origins {
            destinations.allow(origin.parse().unwrap());
        }
        destinations
    }

    #[test]
    fn allowed_origin_matches_in_any_spelling() {
        let destinations =
            allow(&["https://Api.example.com", "http://[::1]:3000/", "https://[2001:db8::A]"]);
        for uri in [
            "https://api.example.com/",
            "https://api.example.com:443/a",
            "HTTPS://API.EXAMPLE.COM./",
            "https://user:secret@api.example.com/",
            "http://[::1]:3000/",
            "http://[0:0:0:0:0:0:0:1]:3000/",
            "http://[0::0001]:3000/",
            "http://[::0.0.0.1]:3000/",
            "https://[2001:DB8:0::a]/",
        ] {
            assert_eq!(destinations.check(&Uri::from_static(uri)), Ok(()), "{uri}");
        }
    }

    #[test]
    fn only_listed_spelling_is_allowed_without_parsing() {
        let any = AllowedDestinations::default();
        let listed = allow(&["https://api.example.com", "http://localhost:3000"]);
        for (uri, by_any, by_list) in [
            ("https://api.example.com/a?b", true, true),
            ("https://api.example.com:443/", true, false),
            ("https://API.example.com/", true, false),
            ("https://evil.example.com/", true, false),
            ("https://localhost:3000/", true, false),
            ("http://localhost:3000/", false, false),
            ("http://api.example.com/", false, false),
            ("/a", false, false),
        ] {
            let uri = Uri::from_static(uri);
            assert_eq!(
                (any.surely_allows(&uri), listed.surely_allows(&uri)),
                (by_any, by_list),
                "{uri}"
            );
        }
    }

    #[test]
    fn origin_that_is_not_allowed_is_refused() {
        let destinations = allow(&["https://api.example.com", "http://[::1]:3000"]);
        for uri in [
            "https://example.com/",
            "https://api.example.com:8443/",
            "https://api.example.com:80/",
            "https://api.example.com.evil.com/",
            "https://evil.com/api.example.com",
            "https://evil.com/?https://api.example.com",
            "https://api.example.com@evil.com/",
            "https://api.example.com:443@evil.com/",
            "https://xn--api-example-com.evil.com/",
            "http://[::1]/",
            "http://[::1]:3001/",
            "http://127.0.0.1:3000/",
            "http://localhost:3000/",
            "https://[::1]:3000/",
        ] {
            assert_eq!(
                destinations.check(&Uri::from_static(uri)),
                Err(UnsafeDestination::OriginNotAllowed),
                "{uri}"
            );
        }
        assert_eq!(
            destinations.check(&Uri::from_static("/a")),
            Err(UnsafeDestination::NoAuthority)
        );
        let plain = allow(&["http://api.example.com"]);
        let uri = Uri::from_static("http://api.example.com/");
        assert_eq!(
            plain.check(&uri),
            Err(UnsafeDestination::Plaintext),
            "an allowed origin does not allow plaintext"
        );
    }

    fn with_origin(mut destinations: AllowedDestinations, origin: &str) -> AllowedDestinations {
        destinations.origin = Some(origin.parse().unwrap());
        destinations
    }

    #[test]
    fn origin_applies_to_uris_without_scheme_and_authority() {
        let none = AllowedDestinations::default;
        let (plaintext, not_allowed) =
            (Err(UnsafeDestination::Plaintext), Err(UnsafeDestination::OriginNotAllowed));
        let allow_plaintext = || AllowedDestinations { allow_plaintext: true, ..none() };
        for (destinations, origin, expected) in [
            (none(), "https://api.example.com", Ok(())),
            (none(), "http://localhost:8001", Ok(())),
            (none(), "http://api.example.com", plaintext),
            (allow_plaintext(), "http://api.example.com", Ok(())),
            (allow(&["https://api.example.com"]), "https://api.example.com:443", Ok(())),
            (allow(&["https://api.example.com"]), "https://example.com", not_allowed),
            (allow(&["http://api.example.com"]), "http://api.example.com", plaintext),
        ] {
            let destinations = with_origin(destinations, origin);
            for uri in ["/path?query", "/", "/path//segment", "*"] {
                assert_eq!(destinations.check(&Uri::from_static(uri)), expected, "{origin} {uri}");
            }
        }
    }

    #[test]
    fn origin_does_not_apply_to_other_uris() {
        let destinations = with_origin(AllowedDestinations::default(), "https://api.example.com");
        for (uri, expected) in [
            ("https://example.com/", Ok(())),
            ("http://localhost/", Ok(())),
            ("http://api.example.com/", Err(UnsafeDestination::Plaintext)),
            ("api.example.com:443", Err(UnsafeDestination::NoAuthority)),
            ("api.example.com", Err(UnsafeDestination::NoAuthority)),
            ("//example.com/", Err(UnsafeDestination::NoAuthority)),
        ] {
            assert_eq!(destinations.check(&Uri::from_static(uri)), expected, "{uri}");
        }
    }

    #[test]
    fn loopback_with_trailing_dot_is_another_host() {
        for origin in ["http://localhost.:3000", "http://127.0.0.1.:3000"] {
            let destinations = with_origin(AllowedDestinations::default(), origin);
            assert_eq!(
                destinations.check(&Uri::from_static("/")),
                Err(UnsafeDestination::Plaintext),
                "{origin}"
            );
        }
        let listed =
            AllowedDestinations { allow_plaintext: true, ..allow(&["http://localhost:3000"]) };
        let uri = Uri::from_static("http://localhost.:3000/");
        assert_eq!(listed.check(&uri), Err(UnsafeDestination::OriginNotAllowed));
    }
}
