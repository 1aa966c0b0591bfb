//! [`ServiceContext`]: what all clones of one service share.

use super::{config::Config, header_cache::SharedHeader};
use crate::AuthRefresher;

#[derive(Clone, Debug)]
pub(crate) struct ServiceContext<P, C> {
    pub(crate) refresher: AuthRefresher,
    pub(crate) config: Config<P, C>,
    /// Every `https` request takes the fast path.
    pub(crate) allows_any_https: bool,
    pub(crate) header: SharedHeader,
}

impl<P, C> ServiceContext<P, C> {
    pub(crate) fn new(refresher: AuthRefresher, config: Config<P, C>) -> Self {
        let allows_any_https = !config.insert_token_info && config.header.allows_any_https();
        Self { refresher, config, allows_any_https, header: SharedHeader::default() }
    }
}
