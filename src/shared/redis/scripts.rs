//! [`Scripts`]: each method of the store, as a Lua script, which Redis executes atomically.
//!
//! The clock is that of Redis: `TIME` in the scripts, and the expiry of keys. All scripts have the same two keys.

use std::time::Duration;

use redis::Script;

/// The greatest number of sealed bytes in a record.
pub(super) const MAX_RECORD_LEN: usize = 1 << 20;

pub(super) struct Scripts {
    pub(super) load: Script,
    pub(super) claim: Script,
    pub(super) extend: Script,
    pub(super) release: Script,
    pub(super) put: Script,
}

impl Scripts {
    pub(super) fn new() -> Self {
        Self {
            load: script(include_str!("load.lua")),
            claim: script(include_str!("claim.lua")),
            extend: script(include_str!("extend.lua")),
            release: script(include_str!("release.lua")),
            put: script(include_str!("put.lua")),
        }
    }
}

fn script(code: &str) -> Script {
    Script::new(&code.replace("MAX_RECORD_LEN", &MAX_RECORD_LEN.to_string()))
}

/// A century. Redis rejects an expiry that overflows.
const MAX_MILLISECONDS: u128 = 100 * 365 * 86_400_000;

/// Returns the whole milliseconds, rounded up. Redis rejects zero.
pub(super) fn milliseconds(time_to_live: Duration) -> String {
    time_to_live.as_nanos().div_ceil(1_000_000).clamp(1, MAX_MILLISECONDS).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn milliseconds_are_in_the_range_of_redis() {
        for (time_to_live, text) in [
            (Duration::ZERO, "1"),
            (Duration::from_nanos(1), "1"),
            (Duration::from_micros(1001), "2"),
            (Duration::from_secs(5), "5000"),
            (Duration::MAX, "3153600000000"),
        ] {
            assert_eq!(milliseconds(time_to_live), text, "{time_to_live:?}");
        }
    }
}
