//! [`TokenId`]: the number that identifies the token of a request in flight.

use std::num::NonZeroU64;

/// Identifies a token: the number of its refresher, and its generation.
///
/// A rejection can arrive long after its request was sent. A reference in each call would contend between threads. A
/// call stores this number; only a rejection looks up the refresher. The number contains 32 bits of the generation,
/// enough to distinguish tokens in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TokenId(NonZeroU64);

impl TokenId {
    #[inline]
    pub(crate) fn new(refresher: RefresherId, generation: u64) -> Self {
        Self(refresher.0 | (generation & u64::from(u32::MAX)))
    }

    /// Returns the lower 32 bits of the token's generation.
    pub(crate) fn generation(self) -> u32 {
        self.0.get() as u32
    }

    /// Returns the number of the token's refresher.
    pub(crate) fn refresher_number(self) -> u32 {
        (self.0.get() >> 32) as u32
    }
}

/// The number of a refresher, never zero, in the upper half.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RefresherId(NonZeroU64);

impl RefresherId {
    /// Returns `None` for zero.
    pub(crate) fn from_number(number: u32) -> Option<Self> {
        NonZeroU64::new(u64::from(number) << 32).map(Self)
    }

    pub(crate) fn number(self) -> u32 {
        (self.0.get() >> 32) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_tell_refreshers_and_generations_apart() {
        let (one, other) =
            (RefresherId::from_number(1).unwrap(), RefresherId::from_number(u32::MAX).unwrap());
        assert!(RefresherId::from_number(0).is_none());
        assert_ne!(TokenId::new(one, 1), TokenId::new(one, 2));
        assert_ne!(TokenId::new(one, 1), TokenId::new(other, 1));
        for generation in [0, 1, u64::from(u32::MAX), u64::MAX] {
            assert_eq!(TokenId::new(one, generation).refresher_number(), 1);
            assert_eq!(TokenId::new(other, generation).refresher_number(), other.number());
        }
    }
}
