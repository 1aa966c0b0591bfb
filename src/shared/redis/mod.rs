//! [`RedisTokenStore`]: a store in Redis.

// | file | |
// | --- | --- |
// | `connection` | `Connection`: opened at the first call, and after a failure |
// | `scripts` | `Scripts`: each method of the store, as a Lua script |
// | `reply` | the replies of the scripts |
// | `store` | `RedisTokenStore` |

mod connection;
mod reply;
mod scripts;
mod store;

pub use self::store::RedisTokenStore;
