//! A header value that is cloned into each request: the code that users write for a token that never changes.

use http::HeaderValue;

use super::{Peer, Surroundings};
use crate::{
    calls::{self, Calls},
    common::{self, secret},
    endpoint::Endpoint,
};

#[derive(Debug)]
pub(super) struct HandWritten(HeaderValue);

impl Peer for HandWritten {
    const NAME: &'static str = "http, static token by hand";
    const PACKAGE: &'static str = "http";

    fn start(_: &Surroundings) -> Self {
        Self(
            HeaderValue::try_from(format!("Bearer {}", secret()))
                .expect("the token is a header's value"),
        )
    }

    fn calls<const CHECKED: bool>(&self) -> Calls {
        calls::through::<(), _>(common::HandWritten {
            inner: Endpoint::<CHECKED>,
            value: self.0.clone(),
        })
    }
}
