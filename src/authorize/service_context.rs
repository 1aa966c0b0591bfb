//! [`ServiceContext`]: what all clones of one service share.

use super::{
    config::Config,
    identity::{IdentityPolicy, Select},
};

#[derive(Clone, Debug)]
pub(crate) struct ServiceContext<P, C, I: IdentityPolicy> {
    pub(crate) identity: I,
    pub(crate) config: Config<P, C>,
    /// Every `https` request to an allowed origin uses the fast path. `false` if other conditions must be checked too.
    pub(crate) https_suffices: bool,
    pub(crate) shared: <I as Select>::Shared,
}

impl<P, C, I: IdentityPolicy> ServiceContext<P, C, I> {
    pub(crate) fn new(identity: I, config: Config<P, C>) -> Self {
        let https_suffices = !config.insert_token_info && !config.header.if_not_present;
        Self { identity, config, https_suffices, shared: Default::default() }
    }
}
