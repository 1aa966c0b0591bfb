//! A refresh token in a [`TokenStore`](super::TokenStore).
//!
//! | file of the module | |
//! | --- | --- |
//! | `content` | the content of the record: the token, and whether it has been sent |
//! | `record` | the sealed record: loaded, and replaced by compare-and-set |
//! | `lock_state` | what a process knows while it has the lock |
//! | `store` | [`SharedRefreshTokenStore`] |
//! | `lock` | the task that claims the lock, extends the claim and releases it |

mod content;
mod lock;
mod lock_state;
mod record;
mod store;

pub use self::store::SharedRefreshTokenStore;
