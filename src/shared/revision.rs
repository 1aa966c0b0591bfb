//! The order of [`Revision`]s.
//!
//! A revision of an access token's record has three parts: the epoch (8 random bytes), the number of the record in its
//! epoch (4 bytes), and 4 random bytes.

use super::Revision;

impl Revision {
    fn new(epoch: [u8; 8], number: u32, random: [u8; 4]) -> Self {
        let mut bytes = [0; 16];
        let parts = epoch.into_iter().chain(number.to_be_bytes()).chain(random);
        bytes.iter_mut().zip(parts).for_each(|(byte, part)| *byte = part);
        Self(bytes)
    }

    fn epoch(&self) -> u64 {
        (u128::from_be_bytes(self.0) >> 64) as u64
    }

    fn number(&self) -> u32 {
        (u128::from_be_bytes(self.0) >> 32) as u32
    }

    /// Returns the revision of the record that replaces the record with the revision `expected`.
    ///
    /// Its number is higher than that of `used`, which the store may have lost. Its epoch is `new_epoch` if there is no
    /// record. A store that goes back to an earlier state gets the same number twice; `random` distinguishes these two
    /// revisions.
    pub(super) fn following(
        expected: Option<Self>,
        used: Option<Self>,
        new_epoch: [u8; 8],
        random: [u8; 4],
    ) -> Self {
        let Some(expected) = expected else { return Self::new(new_epoch, 1, random) };
        let used = used.filter(|used| used.epoch() == expected.epoch());
        let number = used.map_or(expected.number(), |used| used.number().max(expected.number()));
        match number.checked_add(1) {
            Some(number) => Self::new(expected.epoch().to_be_bytes(), number, random),
            None => Self::new(new_epoch, 1, random),
        }
    }

    /// Returns whether this revision's record was put after the other one. `None`: only the ages can show the order.
    pub(super) fn is_after(&self, other: &Self) -> Option<bool> {
        if self.epoch() != other.epoch() || (self.number() == other.number() && self != other) {
            return None;
        }
        Some(self.number() > other.number())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EPOCH: [u8; 8] = [1; 8];

    #[test]
    fn following_revision_is_after_expected_and_used() {
        let first = Revision::following(None, None, EPOCH, [1; 4]);
        let second = Revision::following(Some(first), None, [2; 8], [0; 4]);
        let third = Revision::following(Some(second), None, [2; 8], [0; 4]);
        assert_eq!(second.is_after(&first), Some(true));
        assert_eq!(first.is_after(&second), Some(false));
        assert_eq!(first.is_after(&first), Some(false));
        // The store has gone back to the first record.
        let fourth = Revision::following(Some(first), Some(third), [2; 8], [0; 4]);
        assert_eq!(fourth.is_after(&third), Some(true));
    }

    #[test]
    fn revision_after_a_flush_has_no_order_with_those_before() {
        let before = Revision::following(None, None, EPOCH, [0; 4]);
        let after = Revision::following(None, Some(before), [2; 8], [0; 4]);
        assert_eq!(after.is_after(&before), None);
        assert_eq!(before.is_after(&after), None);
    }

    /// A failover has lost the second record, and another process has replaced the first one again.
    #[test]
    fn revision_with_a_number_that_was_lost_is_another_revision() {
        let first = Revision::following(None, None, EPOCH, [1; 4]);
        let lost = Revision::following(Some(first), None, EPOCH, [1; 4]);
        let second = Revision::following(Some(first), None, EPOCH, [2; 4]);
        assert_ne!(lost, second);
        assert_eq!((lost.is_after(&second), second.is_after(&lost)), (None, None));
        assert_eq!(second.is_after(&first), Some(true));
    }

    #[test]
    fn last_number_of_an_epoch_starts_another_epoch() {
        let last = Revision::new(EPOCH, u32::MAX, [0; 4]);
        let next = Revision::following(Some(last), None, [2; 8], [3; 4]);
        assert_eq!(next, Revision::new([2; 8], 1, [3; 4]));
    }
}
