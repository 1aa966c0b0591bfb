//! [`Actions`]: what the caller must do after the lock is released.

use std::sync::Arc;

use super::active_worker::WorkerId;
use crate::{login::LoginError, refresh::cached_token::CachedToken, token::AccessToken};

#[derive(Debug, Default)]
pub(crate) struct Actions {
    /// Wake the worker: there is something to do earlier than it expects.
    pub(crate) wake_worker: bool,
    /// Start this worker. The caller must read this under the lock.
    pub(crate) start_worker: Option<WorkerId>,
    /// Record these in the telemetry.
    pub(crate) notices: Vec<Notice>,
    /// Drop these. A drop can run user code.
    pub(crate) garbage: Vec<Garbage>,
}

/// An event in a token's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Notice {
    TokenExpired { generation: u64 },
    TokenRejected { generation: u64 },
}

/// A value to drop without the lock.
#[derive(Debug)]
#[expect(dead_code, reason = "the values are stored only to be dropped")]
pub(crate) enum Garbage {
    CachedToken(Arc<CachedToken>),
    Token(AccessToken),
    Error(LoginError),
}

impl Actions {
    pub(crate) fn discard_token(&mut self, token: Option<Arc<CachedToken>>) {
        self.garbage.extend(token.map(Garbage::CachedToken));
    }

    pub(crate) fn discard_error(&mut self, error: Option<LoginError>) {
        self.garbage.extend(error.map(Garbage::Error));
    }
}
