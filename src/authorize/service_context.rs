//! [`ServiceContext`]: what all clones of one service share.

use super::{config::Config, header_cache::SharedHeader};
use crate::AuthRefresher;

#[derive(Clone, Debug)]
pub(crate) struct ServiceContext<P, C> {
    pub(crate) refresher: AuthRefresher,
    pub(crate) config: Config<P, C>,
    /// Every `https` request to an allowed origin uses the fast path. `false` if other conditions must be checked too.
    pub(crate) https_suffices: bool,
    pub(crate) header: SharedHeader,
}

impl<P, C> ServiceContext<P, C> {
    pub(crate) fn new(refresher: AuthRefresher, config: Config<P, C>) -> Self {
        let https_suffices = !config.insert_token_info && !config.header.if_not_present;
        Self { refresher, config, https_suffices, header: SharedHeader::default() }
    }
}
