//! The peers with a token for each key. They select the token of a key that is drawn for each call.
//!
//! All keys have a token before the first call. The bare call draws a key too.

mod azure_identity;
mod dash_map;
mod gcp_auth;
mod moka;
mod ours;

use http::{HeaderValue, Request, header::AUTHORIZATION};
use tower::Service;

use super::{Entry, Group, Peer};
use crate::{
    calls::{self, Calls},
    endpoint::Endpoint,
    key_draws::KeyDraws,
};

/// The peers with keys.
pub const KEYED: Group = Group {
    title: "Nanoseconds added to a call, with one token for each key",
    note: "* The key is in the request's extensions: added to such a call without a token.",
    file: "keyed.svg",
    baseline: <ours::OneIdentity as Peer>::NAME,
    bare,
    entries: &[
        Entry::of::<ours::OneIdentity>(),
        Entry::of::<ours::Ours<1>>(),
        Entry::of::<ours::Ours<1_000>>(),
        Entry::of::<ours::Ours<100_000>>(),
        Entry::of::<dash_map::DashMapOfLocks<1>>(),
        Entry::of::<dash_map::DashMapOfLocks<1_000>>(),
        Entry::of::<dash_map::DashMapOfLocks<100_000>>(),
        Entry::of::<moka::Moka<1>>(),
        Entry::of::<moka::Moka<1_000>>(),
        Entry::of::<moka::Moka<100_000>>(),
        Entry::of::<azure_identity::ClientSecret<1>>(),
        Entry::of::<azure_identity::ClientSecret<1_000>>(),
        Entry::of::<gcp_auth::ServiceAccount<1>>(),
        Entry::of::<gcp_auth::ServiceAccount<1_000>>(),
    ],
};

/// Calls of the bare inner service.
fn bare() -> Calls {
    calls::by_key(KeyDraws::new(1_000), async |_, request| send::<false>(request).await)
}

/// Sends a request to the inner service.
async fn send<const CHECKED: bool>(request: Request<()>) {
    let Ok(_) = Endpoint::<CHECKED>.call(request).await;
}

/// Sends a request with a token that is not yet a header value.
async fn send_with<const CHECKED: bool>(token: &str, mut request: Request<()>) {
    let header = format!("Bearer {token}");
    let mut value = HeaderValue::try_from(header).expect("the token is a header's value");
    value.set_sensitive(true);
    request.headers_mut().insert(AUTHORIZATION, value);
    send::<CHECKED>(request).await;
}

/// Returns a scope for each key, for peers that select the token by its scopes.
fn scopes(keys: u64) -> Vec<String> {
    (0..keys).map(|key| format!("https://api-{key}.example.com/.default")).collect()
}
