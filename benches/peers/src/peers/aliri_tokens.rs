//! `TokenWatcher` of `aliri_tokens`: borrows the token for each request, and builds the header each time.

use ::aliri_tokens::{
    TokenWatcher, backoff::ErrorBackoffConfig, jitter::NullJitter, sources::ConstTokenSource,
};
use aliri_clock::DurationSecs;
use http::{HeaderValue, header::AUTHORIZATION};
use tower::Service;

use super::{Peer, Surroundings};
use crate::{
    calls::{self, Calls},
    common::secret,
    endpoint::Endpoint,
};

#[derive(Debug)]
pub(super) struct Watcher(TokenWatcher);

impl Peer for Watcher {
    const NAME: &'static str = "aliri_tokens";
    const PACKAGE: &'static str = "aliri_tokens";

    fn start(surroundings: &Surroundings) -> Self {
        let source = ConstTokenSource::new(secret()).with_token_valid_for(DurationSecs(86_400));
        let watcher = TokenWatcher::spawn_from_token_source(
            source,
            NullJitter,
            ErrorBackoffConfig::default(),
        );
        Self(surroundings.runtime.block_on(watcher).expect("a constant token is there"))
    }

    fn calls<const CHECKED: bool>(&self) -> Calls {
        let watcher = self.0.clone();
        calls::by(async move |mut request| {
            let header = format!("Bearer {}", watcher.token().access_token().as_str());
            let mut value = HeaderValue::try_from(header).expect("the token is a header's value");
            value.set_sensitive(true);
            request.headers_mut().insert(AUTHORIZATION, value);
            let Ok(_) = Endpoint::<CHECKED>.call(request).await;
        })
    }
}
