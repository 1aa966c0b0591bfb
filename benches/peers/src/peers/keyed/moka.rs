//! A cache of header values by hand: `moka`, with `try_get_with`. The guide on many identities has its lines.

use std::{convert::Infallible, time::Duration};

use ::moka::future::Cache;
use http::{HeaderValue, header::AUTHORIZATION};

use super::{Peer, send};
use crate::{
    calls::{self, Calls},
    common::secret,
    key_draws::KeyDraws,
    peers::Surroundings,
};

pub(super) struct Moka<const KEYS: u64>(Cache<u64, HeaderValue>);

impl<const KEYS: u64> Peer for Moka<KEYS> {
    const NAME: &'static str = match KEYS {
        1 => "moka by hand, 1 key",
        1_000 => "moka by hand, 1,000 keys",
        _ => "moka by hand, 100,000 keys",
    };
    const PACKAGE: &'static str = "moka";

    fn start(Surroundings { runtime, .. }: &Surroundings) -> Self {
        let day = Duration::from_secs(86_400);
        let tokens = Cache::builder().max_capacity(2 * KEYS).time_to_live(day).build();
        runtime.block_on(async {
            for key in 0..KEYS {
                tokens.try_get_with(key, login()).await.expect("the login does not fail");
            }
        });
        Self(tokens)
    }

    fn calls<const CHECKED: bool>(&self) -> Calls {
        let tokens = self.0.clone();
        calls::by_key(KeyDraws::new(KEYS), async move |key, mut request| {
            let token = tokens.try_get_with(key, login()).await.expect("the login does not fail");
            request.headers_mut().insert(AUTHORIZATION, token);
            send::<CHECKED>(request).await;
        })
    }
}

async fn login() -> Result<HeaderValue, Infallible> {
    let mut value = HeaderValue::try_from(format!("Bearer {}", secret())).expect("a header value");
    value.set_sensitive(true);
    Ok(value)
}
