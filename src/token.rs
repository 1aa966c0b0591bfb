//! [`AccessToken`]: the secret, rendered once into a header value, and its expiry.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use http::HeaderValue;
use tokio::time::Instant;

use crate::expiry::Expiry;

const BEARER: &str = "Bearer ";

/// Contains an access token, rendered as the value of the `Authorization` header, and its [`Expiry`].
///
/// A login service returns it. The header value is rendered once, and marked [sensitive](HeaderValue::set_sensitive).
/// Clones share its bytes. `Debug` shows the expiry only.
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
    /// When the next login becomes impossible, counted from when the login was sent.
    refresh_deadline: Option<Duration>,
    has_unknown_age: bool,
    /// `None`: the login that returns the token has requested it.
    age: Option<TokenAge>,
    /// An upper bound of the lifetime, if the local clock is behind.
    max_lifetime: Option<Duration>,
    /// Set while the token's source reports the next token by itself.
    notifier: Option<Arc<AtomicBool>>,
    /// `None`: no refresher has returned the token.
    publication: Option<Publication>,
}

/// How long ago a token was requested, and returned by its issuer.
#[derive(Clone, Copy)]
pub(crate) struct TokenAge {
    since_request: Duration,
    since_response: Duration,
    /// When it had that age.
    at: Instant,
}

impl TokenAge {
    pub(crate) fn since_request(self, now: Instant) -> Duration {
        self.since_request.saturating_add(now.saturating_duration_since(self.at))
    }

    pub(crate) fn since_response(self, now: Instant) -> Duration {
        self.since_response.saturating_add(now.saturating_duration_since(self.at))
    }
}

/// Which refresher returned a token, and in which generation.
#[derive(Clone, Copy)]
pub(crate) struct Publication {
    pub(crate) refresher: u32,
    pub(crate) generation: u64,
}

impl AccessToken {
    /// Creates a bearer token, sent as `Bearer <secret>` (RFC 6750, section 2.1).
    ///
    /// # Errors
    ///
    /// The secret is empty, or contains a byte other than visible ASCII. RFC 6750 allows fewer characters, but issuers
    /// use others too.
    pub fn bearer(secret: impl AsRef<[u8]>) -> Result<Self, InvalidToken> {
        let secret = secret.as_ref();
        check(secret, |byte| byte.is_ascii_graphic())?;
        Self::render(BEARER, secret)
    }

    /// Creates a token from a whole header value, to which no scheme is added.
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
    /// The value is empty, starts or ends with a space, or contains a byte other than visible ASCII and space.
    pub fn raw(value: impl AsRef<[u8]>) -> Result<Self, InvalidToken> {
        let value = value.as_ref();
        let last = value.len().saturating_sub(1);
        check(value, |byte| byte.is_ascii_graphic() || byte == b' ')?;
        match value.iter().enumerate().find(|&(at, byte)| *byte == b' ' && (at == 0 || at == last))
        {
            Some((at, _)) => Err(InvalidToken(Reason::Byte { at })),
            None => Self::render("", value),
        }
    }

    fn render(scheme: &str, secret: &[u8]) -> Result<Self, InvalidToken> {
        let value = [scheme.as_bytes(), secret].concat();
        let mut value = HeaderValue::try_from(value).map_err(|_| InvalidToken(Reason::Header))?;
        value.set_sensitive(true);
        // The first clone makes the bytes shared. That cost belongs here and not in a request.
        drop(value.clone());
        Ok(Self {
            value,
            scheme_len: scheme.len(),
            expiry: Expiry::Unknown,
            refresh_in: None,
            refresh_deadline: None,
            has_unknown_age: false,
            age: None,
            max_lifetime: None,
            notifier: None,
            publication: None,
        })
    }

    /// Sets when the token expires. Defaults to [`Expiry::Unknown`].
    #[must_use]
    pub fn with_expiry(mut self, expiry: Expiry) -> Self {
        self.expiry = expiry;
        self.max_lifetime = None;
        // An explicit expiry replaces the source's knowledge.
        self.notifier = None;
        self
    }

    /// Sets the token's lifetime, counted from when the login was sent: `expires_in` of RFC 6749, section 5.1.
    #[must_use]
    pub fn with_expires_in(self, lifetime: Duration) -> Self {
        self.with_expiry(Expiry::In(lifetime))
    }

    /// Sets the issuer's refresh hint (`refresh_in`), counted from when the login was sent. Defaults to no hint.
    ///
    /// The hint replaces the [refresh lead](crate::AuthRefresherBuilder::refresh_before_expiry) if it is before the
    /// expiry. A hint before half of the lifetime counts as half of it. For a token of unknown expiry, a hint counts as
    /// 60 seconds at least.
    #[must_use]
    pub fn with_refresh_in(mut self, after: Duration) -> Self {
        self.refresh_in = Some(after);
        self.notifier = None;
        self
    }

    /// Declares that the token's age is unknown, because it comes from a cache, a file or a variable.
    ///
    /// By default, a token's age counts from its login, and the refresher
    /// [ignores](crate::AuthRefresherBuilder::min_rejection_age) the rejection of a new token. A token of unknown age
    /// is replaced as soon as a server rejects it.
    #[must_use]
    pub fn with_unknown_age(mut self) -> Self {
        self.has_unknown_age = true;
        self
    }

    /// Declares that the token was requested this long ago, because another login requested it. By default, the login that
    /// returns a token has requested it.
    ///
    /// The token's lifetime and its refresh hint then count from its request. A rejection of the token counts as the
    /// rejection of one of that age. So a [shared token](crate::shared) has the same schedule in each process.
    ///
    /// The age continues to grow from this call on, so call this when the age is measured. The last call wins. The age does
    /// not end what [`with_unknown_age`](Self::with_unknown_age) declares: a rejection of such a token is never ignored, and
    /// its times count from the request.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_auth_refresh::AccessToken;
    ///
    /// // Of the token's hour, 10 minutes have passed.
    /// let token = AccessToken::bearer("mF_9.B5f-4.1JqM")?
    ///     .with_expires_in(Duration::from_secs(3600))
    ///     .with_age(Duration::from_secs(600));
    /// # let _ = token;
    /// # Ok::<(), tower_auth_refresh::InvalidToken>(())
    /// ```
    #[must_use]
    pub fn with_age(self, age: Duration) -> Self {
        self.with_times(age, age)
    }

    /// Declares that the token was requested this long ago, and that the issuer has returned it just now.
    #[cfg(feature = "shared")]
    pub(crate) fn with_new_age(self, since_request: Duration) -> Self {
        self.with_times(since_request, Duration::ZERO)
    }

    fn with_times(mut self, since_request: Duration, since_response: Duration) -> Self {
        #[expect(clippy::disallowed_methods, reason = "the age is that of the present")]
        let at = Instant::now();
        self.age = Some(TokenAge { since_request, since_response, at });
        self
    }

    /// Declares that the token's source reports the next token by itself while `notifier` is set. Until it does, a
    /// refresh cannot help, and the same token is not a failure.
    #[cfg(feature = "token-file")]
    pub(crate) fn with_notifier(mut self, notifier: Arc<AtomicBool>) -> Self {
        self.notifier = Some(notifier);
        self
    }

    /// Returns the token for a caller of its refresher: without its source's notifier, which reports to one refresher
    /// only.
    pub(crate) fn published_as(&self, publication: Publication) -> Self {
        Self { notifier: None, publication: Some(publication), ..self.clone() }
    }

    pub(crate) fn publication(&self) -> Option<Publication> {
        self.publication
    }

    /// Returns the token with an absolute expiry in place of a lifetime.
    pub(crate) fn with_absolute_expiry(self, expiry: Expiry) -> Self {
        Self { expiry, ..self }
    }

    /// Returns whether the token's source reports the next token by itself.
    pub(crate) fn source_notifies(&self) -> bool {
        self.notifier.as_ref().is_some_and(|notifier| notifier.load(Ordering::Acquire))
    }

    /// Limits the lifetime of a token whose expiry is compared with the local clock, which can be behind.
    #[cfg(any(feature = "token-command", feature = "token-file"))]
    pub(crate) fn with_max_lifetime(self, max_lifetime: Option<Duration>) -> Self {
        Self { max_lifetime, ..self }
    }

    /// Sets when the next login becomes impossible, counted from when the login was sent.
    #[cfg(any(feature = "oauth2", feature = "shared"))]
    pub(crate) fn with_refresh_deadline(self, deadline: Duration) -> Self {
        Self { refresh_deadline: Some(deadline), ..self }
    }

    pub(crate) fn refresh_deadline(&self) -> Option<Duration> {
        self.refresh_deadline
    }

    pub(crate) fn max_lifetime(&self) -> Option<Duration> {
        self.max_lifetime
    }

    pub(crate) fn age(&self) -> Option<TokenAge> {
        self.age
    }

    pub(crate) fn has_unknown_age(&self) -> bool {
        self.has_unknown_age
    }

    /// Returns the value of the `Authorization` header. It is marked sensitive.
    pub fn header_value(&self) -> &HeaderValue {
        &self.value
    }

    /// Returns the secret without its scheme, for uses other than HTTP. The caller must keep it secret.
    pub fn secret(&self) -> &str {
        self.value.to_str().ok().and_then(|value| value.get(self.scheme_len..)).unwrap_or_default()
    }

    /// Returns when the token expires.
    ///
    /// A token that an [`AuthRefresher`](crate::AuthRefresher) returns has no [`Expiry::In`], because the refresher has
    /// resolved it to [`Expiry::At`].
    pub fn expiry(&self) -> Expiry {
        self.expiry
    }

    /// Returns the token's generation: a number that grows with each new token of a refresher. Returns `None` if the
    /// token does not come from an [`AuthRefresher`](crate::AuthRefresher).
    pub fn generation(&self) -> Option<u64> {
        self.publication.map(|publication| publication.generation)
    }

    /// Returns the issuer's refresh hint.
    pub fn refresh_in(&self) -> Option<Duration> {
        self.refresh_in
    }
}

fn check(secret: &[u8], allowed: impl Fn(u8) -> bool) -> Result<(), InvalidToken> {
    if secret.is_empty() {
        return Err(InvalidToken(Reason::Empty));
    }
    match secret.iter().position(|&byte| !allowed(byte)) {
        Some(at) => Err(InvalidToken(Reason::Byte { at })),
        None => Ok(()),
    }
}

impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessToken").field("expiry", &self.expiry).finish_non_exhaustive()
    }
}

/// The error for a token that cannot be sent in a header. It names the cause and never the token.
///
/// ```
/// use tower_auth_refresh::AccessToken;
///
/// let error = AccessToken::bearer("abc\n").unwrap_err();
/// assert_eq!(error.to_string(), "token contains an invalid byte at position 3");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidToken(Reason);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Reason {
    Empty,
    Byte { at: usize },
    Header,
}

impl fmt::Display for InvalidToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Reason::Empty => f.write_str("token is empty"),
            Reason::Byte { at } => write!(f, "token contains an invalid byte at position {at}"),
            Reason::Header => f.write_str("token is not a valid header value"),
        }
    }
}

impl std::error::Error for InvalidToken {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_renders_once_as_sensitive_header() {
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
    fn invalid_secret_fails_without_showing_it() {
        for (secret, cause) in [
            (&b""[..], "token is empty"),
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
            for error in
                [AccessToken::bearer(secret).unwrap_err(), AccessToken::raw(secret).unwrap_err()]
            {
                let shown = format!("{error} {error:?}");
                assert!(shown.contains(cause), "{shown}");
                assert!(!shown.contains("abc"));
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
    fn refresh_hint_is_kept() {
        let token = AccessToken::raw("abc").unwrap().with_refresh_in(Duration::from_secs(5));
        assert_eq!(token.refresh_in(), Some(Duration::from_secs(5)));
    }
}
