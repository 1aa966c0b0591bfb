//! [`History`]: the tokens that a process has used, and which token of a record it adopts.

use std::{collections::VecDeque, time::Duration};

use ring::digest::{SHA256, digest};

use super::{Revision, aged_token::AgedToken};
use crate::{clock::Timestamp, token::AccessToken};

/// How many used tokens and how many rejected ones a process remembers.
const MAX_DIGESTS: usize = 64;
/// A token with less remaining time than this, or than an eighth of its lifetime if that is less, is not adopted. It
/// could expire before its first use.
const MIN_REMAINING: Duration = Duration::from_secs(10);
/// Two clocks differ about a duration by a thirty-second of it at most.
pub(super) const CLOCK_TOLERANCE: u32 = 32;

/// How much an age can be too high, because it includes the duration of the call that read it.
const MAX_AGE_ERROR: Duration = Duration::from_secs(1);

/// The SHA-256 of a header value.
type Digest = Vec<u8>;

/// The revisions of a record and of its token. An error that is put beside a token changes only that of the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RecordRevisions {
    pub(super) token: Revision,
    pub(super) record: Revision,
}

impl RecordRevisions {
    /// Returns those of a record that was put for its token.
    pub(super) fn of_token(revision: Revision) -> Self {
        Self { token: revision, record: revision }
    }
}

/// The tokens that a process has used.
#[derive(Default)]
pub(super) struct History {
    last_used: Option<UsedToken>,
    used: RecentDigests,
    rejected: RecentDigests,
}

/// The token that the process has used last.
struct UsedToken {
    /// The revisions of its record; `None` if it is in no record.
    revision: Option<RecordRevisions>,
    digest: Digest,
    aged: AgedToken,
    /// When the age was measured.
    measured_at: Timestamp,
    /// Whether a server has rejected it. Newer tokens are still compared with it.
    is_rejected: bool,
}

impl UsedToken {
    /// Returns the token with its age at `now`, by the clock that shows more.
    fn aged(&self, now: Timestamp) -> AgedToken {
        let age = self.aged.age.saturating_add(self.measured_at.elapsed_at(now));
        AgedToken { token: self.aged.token.clone(), age }
    }

    /// Returns the age by the monotonic clock, which stops while the machine is suspended. So it is never too high.
    fn min_age(&self, now: Timestamp) -> Duration {
        self.aged
            .age
            .saturating_add(now.monotonic.saturating_duration_since(self.measured_at.monotonic))
    }
}

impl History {
    /// Forgets the used tokens, because the process has no token now. Rejected tokens stay rejected.
    pub(super) fn reset(&mut self) {
        self.last_used = None;
        self.used = RecentDigests::default();
    }

    /// Notes that a server has rejected the token used last.
    pub(super) fn reject_last_used(&mut self) {
        if let Some(last) = &mut self.last_used {
            last.is_rejected = true;
            self.rejected.add(last.digest.clone());
        }
    }

    /// Notes that the process uses a token from now on.
    pub(super) fn use_token(
        &mut self,
        aged: AgedToken,
        revision: Option<RecordRevisions>,
        now: Timestamp,
    ) {
        let digest = digest_of(&aged.token);
        self.used.add(digest.clone());
        self.last_used =
            Some(UsedToken { revision, digest, aged, measured_at: now, is_rejected: false });
    }

    /// Notes the revision of a record with this token, if it is the token used last.
    pub(super) fn note_revision(&mut self, aged: &AgedToken, revision: RecordRevisions) {
        if let Some(last) = &mut self.last_used
            && last.digest == digest_of(&aged.token)
        {
            last.revision = Some(revision);
        }
    }

    /// Returns whether the token of a record is live, was not rejected, and is newer than the token used last.
    ///
    /// - Within an epoch, the order of the revisions is that of the tokens, unless the store has gone back to an
    ///   earlier state. So the revision must be later, and the token must not be clearly older.
    /// - Without a common epoch, the ages decide. A token of about the same age counts as older.
    ///
    /// A token can be older than its age by the duration of its put. That is less than `claim_time_to_live`: later, the
    /// put returns false.
    pub(super) fn can_adopt(
        &self,
        aged: &AgedToken,
        revision: Revision,
        claim_time_to_live: Duration,
        now: Timestamp,
    ) -> bool {
        let digest = digest_of(&aged.token);
        if !is_worth_adopting(aged) || self.rejected.contains(&digest) {
            return false;
        }
        let Some(last) = &self.last_used else { return true };
        if self.used.contains(&digest) {
            return false;
        }
        // Tokens with a short lifetime all have about the same age.
        let delay = aged
            .lifetime()
            .map_or(claim_time_to_live, |lifetime| claim_time_to_live.min(lifetime / 8));
        let (age, min_age) = (last.aged(now).age, last.min_age(now));
        match last.revision.and_then(|last| revision.is_after(&last.token)) {
            Some(is_after) => {
                let tolerance = age / CLOCK_TOLERANCE + MAX_AGE_ERROR;
                is_after && aged.age <= age.saturating_add(tolerance)
            }
            None => aged.age.saturating_add(delay) < min_age - min_age / CLOCK_TOLERANCE,
        }
    }

    /// Returns the token used last, if it is live and was not rejected.
    pub(super) fn live_token(&self, now: Timestamp) -> Option<AgedToken> {
        let aged = self.accepted()?.aged(now);
        aged.is_live().then_some(aged)
    }

    /// Returns the lifetime of the token used last, if that was not rejected.
    pub(super) fn lifetime(&self) -> Option<Duration> {
        self.accepted()?.aged.lifetime()
    }

    /// Returns the revision of the record of the token used last, even if that was rejected.
    pub(super) fn revision(&self) -> Option<Revision> {
        Some(self.last_used.as_ref()?.revision?.record)
    }

    /// Returns whether the token is one of the rejected ones.
    pub(super) fn is_rejected(&self, token: &AccessToken) -> bool {
        self.rejected.contains(&digest_of(token))
    }

    /// Returns whether this is the token used last, and was not rejected.
    pub(super) fn is_last_used(&self, token: &AccessToken) -> bool {
        self.accepted().is_some_and(|last| last.digest == digest_of(token))
    }

    fn accepted(&self) -> Option<&UsedToken> {
        self.last_used.as_ref().filter(|last| !last.is_rejected)
    }
}

fn is_worth_adopting(aged: &AgedToken) -> bool {
    let Some((lifetime, remaining)) = aged.lifetime().zip(aged.remaining()) else { return true };
    remaining > (lifetime / 8).min(MIN_REMAINING)
}

fn digest_of(token: &AccessToken) -> Digest {
    digest(&SHA256, token.header_value().as_bytes()).as_ref().to_vec()
}

/// The latest digests, oldest first.
#[derive(Default)]
struct RecentDigests(VecDeque<Digest>);

impl RecentDigests {
    fn add(&mut self, digest: Digest) {
        if self.contains(&digest) {
            return;
        }
        if self.0.len() >= MAX_DIGESTS {
            self.0.pop_front();
        }
        self.0.push_back(digest);
    }

    fn contains(&self, digest: &Digest) -> bool {
        self.0.contains(digest)
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use tokio::time::Instant;

    use super::*;

    const TIME_TO_LIVE: Duration = secs(5);

    const fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    fn start() -> Timestamp {
        Timestamp { wall: SystemTime::UNIX_EPOCH + secs(1_800_000_000), monotonic: Instant::now() }
    }

    fn later(start: Timestamp, after: Duration) -> Timestamp {
        Timestamp { wall: start.wall + after, monotonic: start.monotonic + after }
    }

    /// A token for an hour.
    fn token(secret: &str, age: u64) -> AgedToken {
        let token = AccessToken::bearer(secret).unwrap().with_expires_in(secs(3600));
        AgedToken { token, age: secs(age) }
    }

    fn revision(epoch: u8, number: u8) -> Revision {
        let mut bytes = [0; 16];
        (bytes[0], bytes[11]) = (epoch, number);
        Revision(bytes)
    }

    fn history(aged: AgedToken, revision: Option<Revision>, now: Timestamp) -> History {
        let mut history = History::default();
        history.use_token(aged, revision.map(RecordRevisions::of_token), now);
        history
    }

    #[test]
    fn first_token_is_any_that_lives_long_enough() {
        let history = History::default();
        for (age, expected) in
            [(0, true), (3589, true), (3590, false), (3600, false), (9999, false)]
        {
            let adopted =
                history.can_adopt(&token("t1", age), revision(1, 1), TIME_TO_LIVE, start());
            assert_eq!(adopted, expected, "{age}");
        }
        let short = |age| {
            let token = AccessToken::bearer("t1").unwrap().with_expires_in(secs(3));
            AgedToken { token, age: Duration::from_millis(age) }
        };
        assert!(history.can_adopt(&short(2624), revision(1, 1), TIME_TO_LIVE, start()));
        assert!(!history.can_adopt(&short(2625), revision(1, 1), TIME_TO_LIVE, start()));
        let endless = AgedToken { token: AccessToken::bearer("t1").unwrap(), age: secs(99_999) };
        assert!(history.can_adopt(&endless, revision(1, 1), TIME_TO_LIVE, start()));
    }

    #[test]
    fn later_revision_is_adopted_and_no_other_of_its_epoch() {
        let now = start();
        let history = history(token("t2", 100), Some(revision(1, 2)), now);
        for (number, expected) in [(1, false), (2, false), (3, true)] {
            for age in [0, 100, 104] {
                let adopted =
                    history.can_adopt(&token("t3", age), revision(1, number), TIME_TO_LIVE, now);
                assert_eq!(adopted, expected, "{number} {age}");
            }
        }
    }

    #[test]
    fn later_revision_of_an_older_token_is_not_adopted() {
        let now = start();
        let history = history(token("t2", 100), Some(revision(1, 2)), now);
        // The store has gone back to a record before, and an error was put beside its token.
        assert!(!history.can_adopt(&token("t1", 105), revision(1, 3), TIME_TO_LIVE, now));
    }

    #[test]
    fn revision_after_a_flush_is_adopted_only_if_its_token_is_newer() {
        let start = start();
        let history = history(token("t2", 60), Some(revision(1, 9)), start);
        let now = later(start, secs(580));
        // The token used last is 640 seconds old. Clocks can differ by 20 seconds, and the put can have taken 5.
        for (age, expected) in [(0, true), (614, true), (615, false), (640, false), (700, false)] {
            assert_eq!(
                history.can_adopt(&token("t3", age), revision(2, 1), TIME_TO_LIVE, now),
                expected,
                "{age}"
            );
        }
    }

    #[test]
    fn token_in_no_record_is_compared_by_age() {
        let now = start();
        let history = history(token("t0", 100), None, now);
        assert!(history.can_adopt(&token("t2", 90), revision(1, 2), TIME_TO_LIVE, now));
        assert!(!history.can_adopt(&token("t1", 110), revision(1, 1), TIME_TO_LIVE, now));
    }

    #[test]
    fn suspend_of_the_machine_does_not_make_a_record_newer() {
        let start = start();
        let history = history(token("t2", 60), Some(revision(1, 9)), start);
        // The monotonic clock stood still.
        let now = Timestamp { wall: start.wall + secs(600), ..start };
        assert!(!history.can_adopt(&token("t1", 300), revision(2, 1), TIME_TO_LIVE, now));
        assert_eq!(history.live_token(now).unwrap().remaining(), Some(secs(2940)));
    }

    #[test]
    fn rejected_token_is_never_adopted() {
        let now = start();
        let mut history = history(token("t1", 100), Some(revision(1, 1)), now);
        history.reject_last_used();
        assert!(history.live_token(now).is_none());
        assert!(!history.can_adopt(&token("t1", 0), revision(1, 2), TIME_TO_LIVE, now));
        assert!(!history.can_adopt(&token("t1", 0), revision(2, 1), TIME_TO_LIVE, now));
        assert!(history.can_adopt(&token("t2", 0), revision(1, 2), TIME_TO_LIVE, now));
        assert!(!history.is_last_used(&token("t1", 0).token));
        history.reset();
        assert!(
            !history.can_adopt(&token("t1", 0), revision(3, 1), TIME_TO_LIVE, now),
            "not in a new start"
        );
        for n in 2..=MAX_DIGESTS {
            history.use_token(token(&format!("t{n}"), 0), None, now);
            history.reject_last_used();
        }
        assert!(
            !history.can_adopt(&token("t1", 0), revision(3, 1), TIME_TO_LIVE, now),
            "the 64th latest"
        );
    }

    #[test]
    fn token_older_than_a_rejected_one_is_not_adopted() {
        let now = start();
        let mut history = history(token("t1", 200), Some(revision(1, 1)), now);
        history.use_token(token("t3", 100), Some(RecordRevisions::of_token(revision(1, 3))), now);
        history.reject_last_used();
        // A failover has brought an earlier record back.
        assert!(!history.can_adopt(&token("t1", 200), revision(1, 1), TIME_TO_LIVE, now));
        assert!(!history.can_adopt(&token("t2", 150), revision(1, 2), TIME_TO_LIVE, now));
        assert!(!history.can_adopt(&token("t2", 150), revision(2, 1), TIME_TO_LIVE, now));
        assert!(!history.can_adopt(&token("t1", 0), revision(1, 4), TIME_TO_LIVE, now));
        assert!(history.can_adopt(&token("t4", 0), revision(1, 4), TIME_TO_LIVE, now));
        assert_eq!(history.revision(), Some(revision(1, 3)));
    }

    #[test]
    fn used_token_is_not_adopted_a_second_time() {
        let now = start();
        let mut history = history(token("t1", 1000), Some(revision(1, 1)), now);
        history.use_token(token("t2", 500), None, now);
        // A record that was restored, or that was put again beside an error.
        assert!(!history.can_adopt(&token("t1", 0), revision(2, 1), TIME_TO_LIVE, now));
        assert!(!history.can_adopt(&token("t2", 0), revision(2, 1), TIME_TO_LIVE, now));
        history.reset();
        assert!(history.can_adopt(&token("t1", 0), revision(2, 1), TIME_TO_LIVE, now));
    }

    #[test]
    fn token_used_last_has_the_revision_it_was_seen_with() {
        let now = start();
        let mut history = history(token("t1", 10), None, now);
        history.note_revision(&token("t9", 10), RecordRevisions::of_token(revision(1, 4)));
        assert_eq!(history.revision(), None);
        history.note_revision(&token("t1", 10), RecordRevisions::of_token(revision(1, 5)));
        assert_eq!(history.revision(), Some(revision(1, 5)));
        assert!(history.is_last_used(&token("t1", 0).token));
        assert!(!history.is_last_used(&token("t2", 0).token));
        assert_eq!(history.lifetime(), Some(secs(3600)));
    }
}
