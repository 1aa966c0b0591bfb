//! An issuer of short-lived tokens that can be revoked. A login gets tokens from it, and a server verifies them with it.

use std::{
    collections::HashMap,
    future::{Ready, ready},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tower::{BoxError, Service, service_fn};
use tower_auth_refresh::{AccessToken, LoginRequest};

/// How long after its expiry a token is accepted. Real servers have a leeway too, for clock differences and slow
/// networks. This one is long, so that no example depends on the speed of the machine.
const LEEWAY: Duration = Duration::from_secs(60);

/// An issuer. Clones share the tokens.
#[derive(Clone, Debug)]
pub struct Issuer {
    lifetime: Duration,
    issued: Arc<Mutex<Issued>>,
}

#[derive(Debug, Default)]
struct Issued {
    count: u64,
    /// The expiry of each valid token.
    valid: HashMap<String, Instant>,
}

impl Issuer {
    /// Creates an issuer of tokens with this lifetime.
    pub fn new(lifetime: Duration) -> Self {
        Self { lifetime, issued: Arc::default() }
    }

    /// Returns a login service. A real one sends a request to an identity provider.
    pub fn login(
        &self,
    ) -> impl Service<
        LoginRequest,
        Response = AccessToken,
        Error = BoxError,
        Future = Ready<Result<AccessToken, BoxError>>,
    > + Send
    + 'static {
        let issuer = self.clone();
        service_fn(move |_: LoginRequest| ready(issuer.issue()))
    }

    /// Issues a token.
    ///
    /// # Errors
    ///
    /// None in practice: the token is a valid header value.
    pub fn issue(&self) -> Result<AccessToken, BoxError> {
        let mut issued = self.issued.lock().unwrap_or_else(PoisonError::into_inner);
        issued.count += 1;
        let token =
            AccessToken::bearer(format!("t{}", issued.count))?.with_expires_in(self.lifetime);
        issued
            .valid
            .insert(token.header_value().to_str()?.to_owned(), Instant::now() + self.lifetime);
        Ok(token)
    }

    /// Returns the number of tokens issued so far.
    pub fn count(&self) -> u64 {
        self.issued.lock().unwrap_or_else(PoisonError::into_inner).count
    }

    /// Returns whether an `Authorization` header has a valid token.
    pub fn accepts(&self, header: &[u8]) -> bool {
        let issued = self.issued.lock().unwrap_or_else(PoisonError::into_inner);
        std::str::from_utf8(header)
            .ok()
            .and_then(|header| issued.valid.get(header))
            .is_some_and(|expires| Instant::now() < *expires + LEEWAY)
    }

    /// Revokes all tokens.
    pub fn revoke(&self) {
        self.issued.lock().unwrap_or_else(PoisonError::into_inner).valid.clear();
    }
}
