//! [`Actions`]: what the caller must do after the lock is released.

use super::active_worker::WorkerId;
use crate::login::LoginError;

#[derive(Debug, Default)]
pub(crate) struct Actions {
    /// Wake the worker: there is something to do earlier than it expects.
    pub(crate) wake_worker: bool,
    /// Start this worker. The caller must read this under the lock.
    pub(crate) start_worker: Option<WorkerId>,
    /// Record these in the telemetry.
    pub(crate) notices: Vec<Notice>,
    /// Drop these. The drop of a cause is user code. That of a token is not, so tokens are dropped under the lock.
    pub(crate) errors: Vec<LoginError>,
}

/// An event in a token's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Notice {
    TokenExpired { generation: u64 },
    TokenRejected { generation: u64 },
}
