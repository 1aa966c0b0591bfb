//! [`AccessToken`]: the secret, rendered once into a header value, and when it ends.

use std::{fmt, sync::Weak, time::Duration};

use http::HeaderValue;

use crate::Expiry;

const BEARER: &str = "Bearer ";

/// An access token as a login service returns it: the value of the `Authorization` header and its [`Expiry`].
///
/// The header value is rendered once and marked [sensitive](HeaderValue::set_sensitive); cloning a token shares its
/// bytes. `Debug` shows the expiry only.
///
/// ```
/// use std::time::Duration;
/// use tower_auth_refresh::{AccessToken, Expiry};
///
/// let token = AccessToken::bearer("mF_9.B5f-4.1JqM")?.with_expires_in(Duration::from_secs(3600));
/// assert_eq!(token.header_value(), "Bearer mF_9.B5f-4.1JqM");
/// assert_eq!(token.expiry(), Expiry::In(Duration::from_secs(3600)));
/// assert!(!format!("{token:?}").contains("mF_9"));
/// # Ok::<(), tower_auth_refresh::InvalidToken>(())
/// ```
#[derive(Clone)]
pub struct AccessToken {
    value: HeaderValue,
    scheme_len: usize,
    expiry: Expiry,
    refresh_in: Option<Duration>,
    /// Alive as long as somebody watches its source.
    watch: Option<Weak<()>>,
}

impl AccessToken {
    /// A bearer token, sent as `Bearer <secret>` (RFC 6750, section 2.1).
    ///
    /// # Errors
    ///
    /// The secret is empty, or holds a byte other than visible ASCII. (RFC 6750 allows fewer characters still, but
    /// issuers are known to use more.)
    pub fn bearer(secret: impl AsRef<[u8]>) -> Result<Self, InvalidToken> {
        let secret = secret.as_ref();
        check(secret, |byte| byte.is_ascii_graphic())?;
        Self::render(BEARER, secret)
    }

    /// A token that is the whole header value, without a scheme before it.
    ///
    /// ```
    /// # use tower_auth_refresh::AccessToken;
    /// assert_eq!(AccessToken::raw("token 0a1b2c")?.header_value(), "token 0a1b2c");
    /// assert!(AccessToken::raw("0a1b2c\n").is_err());
    /// # Ok::<(), tower_auth_refresh::InvalidToken>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The value is empty, begins or ends with a space, or holds a byte other than visible ASCII and space.
    pub fn raw(value: impl AsRef<[u8]>) -> Result<Self, InvalidToken> {
        let value = value.as_ref();
        let last = value.len().saturating_sub(1);
        check(value, |byte| byte.is_ascii_graphic() || byte == b' ')?;
        match value.iter().enumerate().find(|&(at, byte)| *byte == b' ' && (at == 0 || at == last)) {
            Some((at, _)) => Err(InvalidToken(Trouble::Byte { at })),
            None => Self::render("", value),
        }
    }

    fn render(scheme: &str, secret: &[u8]) -> Result<Self, InvalidToken> {
        let value = [scheme.as_bytes(), secret].concat();
        let mut value = HeaderValue::try_from(value).map_err(|_| InvalidToken(Trouble::Header))?;
        value.set_sensitive(true);
        // The first clone is what makes the bytes shared; better now than in a request.
        drop(value.clone());
        Ok(Self { value, scheme_len: scheme.len(), expiry: Expiry::Unknown, refresh_in: None, watch: None })
    }

    /// Says when the token ends; [`Expiry::Unknown`] unless said.
    #[must_use]
    pub fn with_expiry(mut self, expiry: Expiry) -> Self {
        self.expiry = expiry;
        // Whoever knows better of its life does not rely on the source.
        self.watch = None;
        self
    }

    /// Says how long the token lives, counted from when its login was sent: `expires_in` of RFC 6749, section 5.1.
    #[must_use]
    pub fn with_expires_in(self, lifetime: Duration) -> Self {
        self.with_expiry(Expiry::In(lifetime))
    }

    /// Passes on the issuer's hint of when to refresh, counted from when the login was sent (`refresh_in`).
    ///
    /// It takes the place of the lead where it is earlier than the token's end.
    #[must_use]
    pub fn with_refresh_in(mut self, after: Duration) -> Self {
        self.refresh_in = Some(after);
        self.watch = None;
        self
    }

    /// Says that its source will tell when there is another: there is no use in asking before, nor anything wrong with the
    /// same one.
    #[cfg(feature = "token-file")]
    pub(crate) fn watched_by(mut self, watch: Weak<()>) -> Self {
        self.watch = Some(watch);
        self
    }

    /// The same, whose end has been worked out.
    pub(crate) fn ending(self, expiry: Expiry) -> Self {
        Self { expiry, ..self }
    }

    /// For whoever has it from a refresher: that refresher is told, and nobody else.
    pub(crate) fn for_others(&self) -> Self {
        Self { watch: None, ..self.clone() }
    }

    pub(crate) fn is_watched(&self) -> bool {
        self.watch.as_ref().is_some_and(|watch| watch.strong_count() > 0)
    }

    /// The value of the `Authorization` header, marked sensitive.
    pub fn header_value(&self) -> &HeaderValue {
        &self.value
    }

    /// The secret without its scheme, for uses other than HTTP. Take care where it goes.
    pub fn secret(&self) -> &str {
        self.value.to_str().ok().and_then(|value| value.get(self.scheme_len..)).unwrap_or_default()
    }

    /// When the token ends. In a token that comes from an [`AuthRefresher`](crate::AuthRefresher), never
    /// [`Expiry::In`]: the time has been worked out.
    pub fn expiry(&self) -> Expiry {
        self.expiry
    }

    /// The issuer's hint of when to refresh.
    pub fn refresh_in(&self) -> Option<Duration> {
        self.refresh_in
    }
}

fn check(secret: &[u8], allowed: impl Fn(u8) -> bool) -> Result<(), InvalidToken> {
    if secret.is_empty() {
        return Err(InvalidToken(Trouble::Empty));
    }
    match secret.iter().position(|&byte| !allowed(byte)) {
        Some(at) => Err(InvalidToken(Trouble::Byte { at })),
        None => Ok(()),
    }
}

impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessToken").field("expiry", &self.expiry).finish_non_exhaustive()
    }
}

/// A token that cannot be sent in a header. Names the trouble, never the token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidToken(Trouble);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Trouble {
    Empty,
    Byte { at: usize },
    Header,
}

impl fmt::Display for InvalidToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Trouble::Empty => f.write_str("the token is empty"),
            Trouble::Byte { at } => write!(f, "the token holds a byte that may not be sent there, at position {at}"),
            Trouble::Header => f.write_str("the token does not make a header value"),
        }
    }
}

impl std::error::Error for InvalidToken {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_rendered_once_and_sensitive() {
        for (token, header, secret) in [
            (AccessToken::bearer("a.b-c_d~e+f/g=="), "Bearer a.b-c_d~e+f/g==", "a.b-c_d~e+f/g=="),
            (AccessToken::bearer("1|abc:!"), "Bearer 1|abc:!", "1|abc:!"),
            (AccessToken::raw("abc"), "abc", "abc"),
            (AccessToken::raw("token a b"), "token a b", "token a b"),
        ] {
            let token = token.unwrap();
            assert_eq!(token.header_value(), header);
            assert_eq!(token.secret(), secret);
            assert!(token.header_value().is_sensitive());
            assert_eq!(token.expiry(), Expiry::Unknown);
            assert_eq!(token.refresh_in(), None);
        }
    }

    #[test]
    fn what_no_header_may_hold_is_refused_and_not_told() {
        for (secret, trouble) in [
            (&b""[..], "the token is empty"),
            (b"abc\n", "position 3"),
            (b"abc\r\nX: y", "position 3"),
            (b"abc\0", "position 3"),
            (b"abc\x7f", "position 3"),
            (b" abc", "position 0"),
            (b"abc ", "position 3"),
            (b"\tabc", "position 0"),
            ("abc\u{e9}".as_bytes(), "position 3"),
            (b"\xff", "position 0"),
        ] {
            for error in [AccessToken::bearer(secret).unwrap_err(), AccessToken::raw(secret).unwrap_err()] {
                let told = format!("{error} {error:?}");
                assert!(told.contains(trouble), "{told}");
                assert!(!told.contains("abc"));
            }
        }
        assert!(AccessToken::bearer("a b").is_err());
        assert!(AccessToken::raw(" ").is_err());
    }

    #[test]
    fn debug_shows_no_secret() {
        let token = AccessToken::bearer("s3cr3t").unwrap().with_expires_in(Duration::from_secs(60));
        assert_eq!(format!("{token:?}"), "AccessToken { expiry: In(60s), .. }");
    }

    #[test]
    fn the_issuers_hint_is_kept() {
        let token = AccessToken::raw("abc").unwrap().with_refresh_in(Duration::from_secs(5));
        assert_eq!(token.refresh_in(), Some(Duration::from_secs(5)));
    }
}
