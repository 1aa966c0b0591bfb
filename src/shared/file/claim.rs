//! [`GrantedClaim`]: the bytes of a lock file.
//!
//! ```text
//! magic 8 | claim id 16 | granted at 8 | time to live 8
//! ```
//!
//! A lock file with any other content has no claim.

use std::time::Duration;

use super::format::nanoseconds;
use crate::shared::ClaimId;

/// Its last byte is the version of the format.
const MAGIC: [u8; 8] = *b"TARclaim";

/// The length of a lock file in bytes.
pub(super) const CLAIM_LEN: usize = MAGIC.len() + 16 + 8 + 8;

/// A claim. The wall-clock time counts from 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct GrantedClaim {
    pub(super) id: ClaimId,
    pub(super) granted_at: Duration,
    pub(super) time_to_live: Duration,
}

impl GrantedClaim {
    /// Returns the rest of the time to live, or `None` if the claim has ended.
    ///
    /// It is at most the time to live, even if the clock has been set back since.
    pub(super) fn remaining(&self, now: Duration) -> Option<Duration> {
        let elapsed = now.saturating_sub(self.granted_at);
        self.time_to_live.checked_sub(elapsed).filter(|remaining| !remaining.is_zero())
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let times =
            [self.granted_at, self.time_to_live].map(|time| nanoseconds(time).to_be_bytes());
        [&MAGIC[..], self.id.as_bytes(), times.as_flattened()].concat()
    }

    pub(super) fn decode(file: &[u8]) -> Option<Self> {
        let rest = file.strip_prefix(&MAGIC)?;
        let (&id, rest) = rest.split_first_chunk()?;
        let (&granted_at, rest) = rest.split_first_chunk()?;
        let (&time_to_live, _) = rest.split_first_chunk()?;
        let [granted_at, time_to_live] = [granted_at, time_to_live]
            .map(|nanoseconds| Duration::from_nanos(u64::from_be_bytes(nanoseconds)));
        Some(Self { id: ClaimId::from_bytes(id), granted_at, time_to_live })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(1_800_000_000);
    const CLAIM: GrantedClaim = GrantedClaim {
        id: ClaimId([7; 16]),
        granted_at: NOW,
        time_to_live: Duration::from_secs(5),
    };

    #[test]
    fn claim_is_decoded_as_it_was_encoded() {
        let file = CLAIM.encode();
        assert_eq!((file.len(), GrantedClaim::decode(&file)), (CLAIM_LEN, Some(CLAIM)));
        for len in 0..CLAIM_LEN {
            assert_eq!(GrantedClaim::decode(&file[..len]), None, "{len}");
        }
        assert_eq!(GrantedClaim::decode(&[0; CLAIM_LEN]), None);
    }

    #[test]
    fn claim_ends_after_its_time_to_live() {
        let second = Duration::from_secs(1);
        let nanosecond = Duration::from_nanos(1);
        for (now, remaining) in [
            (NOW, Some(5 * second)),
            (NOW + 5 * second - nanosecond, Some(nanosecond)),
            (NOW + 5 * second, None),
            (Duration::MAX, None),
            // The clock has been set back.
            (NOW - second, Some(5 * second)),
            (Duration::ZERO, Some(5 * second)),
        ] {
            assert_eq!(CLAIM.remaining(now), remaining, "{now:?}");
        }
    }

    #[test]
    fn time_that_does_not_fit_is_cut() {
        let claim = GrantedClaim { time_to_live: Duration::MAX, ..CLAIM };
        let decoded = GrantedClaim::decode(&claim.encode()).unwrap();
        assert_eq!(decoded.time_to_live, Duration::from_nanos(u64::MAX));
    }
}
