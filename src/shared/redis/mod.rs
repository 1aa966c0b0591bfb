//! [`RedisTokenStore`]: a store in Redis.
//!
//! | file | |
//! | --- | --- |
//! | `connection` | `Connection`: opened when it is needed, and again after a failure |
//! | `scripts` | `Scripts`: each method of the store, as a Lua script |
//! | `reply` | what the scripts return |
//! | `store` | [`RedisTokenStore`] |

mod connection;
mod reply;
mod scripts;
mod store;

pub use self::store::RedisTokenStore;
