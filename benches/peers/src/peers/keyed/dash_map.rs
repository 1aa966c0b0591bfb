//! A map of header values by hand: `dashmap`, with a lock for each key, so that one call logs in and others wait.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use ::dashmap::DashMap;
use http::{HeaderValue, Request, header::AUTHORIZATION};
use tokio::sync::RwLock;

use super::{Peer, send};
use crate::{
    calls::{self, Calls},
    common::secret,
    key_draws::KeyDraws,
    peers::Surroundings,
};

#[derive(Clone)]
struct Token {
    value: HeaderValue,
    expires: Instant,
}

type Tokens = DashMap<u64, Arc<RwLock<Option<Token>>>>;

pub(super) struct DashMapOfLocks<const KEYS: u64>(Arc<Tokens>);

impl<const KEYS: u64> Peer for DashMapOfLocks<KEYS> {
    const NAME: &'static str = match KEYS {
        1 => "DashMap of RwLocks, 1 key",
        1_000 => "DashMap of RwLocks, 1,000 keys",
        _ => "DashMap of RwLocks, 100,000 keys",
    };
    const PACKAGE: &'static str = "dashmap";

    fn start(Surroundings { runtime, .. }: &Surroundings) -> Self {
        let tokens = Arc::new(Tokens::new());
        runtime.block_on(async {
            for key in 0..KEYS {
                token(&tokens, key).await;
            }
        });
        Self(tokens)
    }

    fn calls<const CHECKED: bool>(&self) -> Calls {
        let tokens = self.0.clone();
        calls::by_key(KeyDraws::new(KEYS), async move |key, mut request: Request<()>| {
            request.headers_mut().insert(AUTHORIZATION, token(&tokens, key).await);
            send::<CHECKED>(request).await;
        })
    }
}

async fn token(tokens: &Tokens, key: u64) -> HeaderValue {
    // No reference into the map is held at an await.
    let known = tokens.get(&key).map(|lock| lock.clone());
    let lock = known.unwrap_or_else(|| tokens.entry(key).or_default().clone());
    let current = |token: &Option<Token>| {
        token
            .as_ref()
            .filter(|token| Instant::now() < token.expires)
            .map(|token| token.value.clone())
    };
    if let Some(value) = current(&*lock.read().await) {
        return value;
    }
    let mut token = lock.write().await;
    if let Some(value) = current(&token) {
        return value;
    }
    let mut value = HeaderValue::try_from(format!("Bearer {}", secret())).expect("a header value");
    value.set_sensitive(true);
    *token =
        Some(Token { value: value.clone(), expires: Instant::now() + Duration::from_secs(86_400) });
    value
}
