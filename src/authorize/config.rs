//! [`Config`]: the settings of one layer.

use http::Request;

use super::{
    classify::UnauthorizedAsRejection, header_config::HeaderConfig, replay::policy::NeverReplay,
};

/// Cloning is cheap.
#[derive(Clone, Debug)]
pub(crate) struct Config<P, C> {
    pub(crate) header: HeaderConfig,
    /// Insert a `TokenInfo` into each response.
    pub(crate) insert_token_info: bool,
    pub(crate) replay: P,
    pub(crate) classify: C,
}

impl Default for Config<NeverReplay, UnauthorizedAsRejection> {
    fn default() -> Self {
        Self {
            header: HeaderConfig::default(),
            insert_token_info: false,
            replay: NeverReplay,
            classify: UnauthorizedAsRejection,
        }
    }
}

impl<P, C> Config<P, C> {
    /// Returns whether a request can use the fast path.
    pub(crate) fn allows_fast_path<B>(&self, request: &Request<B>) -> bool {
        !self.insert_token_info && self.header.allows_fast_path(request.uri(), request.headers())
    }

    pub(crate) fn with_replay<Q>(self, replay: Q) -> Config<Q, C> {
        let Self { header, insert_token_info, replay: _, classify } = self;
        Config { header, insert_token_info, replay, classify }
    }

    pub(crate) fn with_classify<D>(self, classify: D) -> Config<P, D> {
        let Self { header, insert_token_info, replay, classify: _ } = self;
        Config { header, insert_token_info, replay, classify }
    }
}
