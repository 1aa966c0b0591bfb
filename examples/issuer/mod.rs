//! An issuer of tokens that live for a short time, and can be taken back: for servers to ask, and for a login to get them from.
#![allow(dead_code, reason = "each example uses a part")]

use std::{
    collections::HashMap,
    future::{Ready, ready},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tower::{BoxError, Service, service_fn};
use tower_auth_refresh::{AccessToken, LoginRequest};

/// How long after its expiry a token is accepted, as real servers do to allow for other clocks and slow networks. It is long,
/// so that no example depends on the speed of the machine.
const LEEWAY: Duration = Duration::from_secs(60);

/// Clones share the tokens.
#[derive(Clone, Debug)]
pub(crate) struct Issuer {
    lifetime: Duration,
    issued: Arc<Mutex<Issued>>,
}

#[derive(Debug, Default)]
struct Issued {
    count: u64,
    /// When each expires.
    valid: HashMap<String, Instant>,
}

impl Issuer {
    pub(crate) fn new(lifetime: Duration) -> Self {
        Self { lifetime, issued: Arc::default() }
    }

    /// A login service: where a real one would ask an identity provider.
    pub(crate) fn login(
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

    pub(crate) fn issue(&self) -> Result<AccessToken, BoxError> {
        let mut issued = self.issued.lock().unwrap_or_else(PoisonError::into_inner);
        issued.count += 1;
        let token = AccessToken::bearer(format!("t{}", issued.count))?.with_expires_in(self.lifetime);
        issued.valid.insert(token.header_value().to_str()?.to_owned(), Instant::now() + self.lifetime);
        Ok(token)
    }

    /// How many tokens there have been.
    pub(crate) fn count(&self) -> u64 {
        self.issued.lock().unwrap_or_else(PoisonError::into_inner).count
    }

    /// Whether a request with this `Authorization` header may come in.
    pub(crate) fn accepts(&self, header: &[u8]) -> bool {
        let issued = self.issued.lock().unwrap_or_else(PoisonError::into_inner);
        std::str::from_utf8(header)
            .ok()
            .and_then(|header| issued.valid.get(header))
            .is_some_and(|expires| Instant::now() < *expires + LEEWAY)
    }

    /// Takes back all tokens.
    pub(crate) fn revoke(&self) {
        self.issued.lock().unwrap_or_else(PoisonError::into_inner).valid.clear();
    }
}
