//! [`LoginLine`]: which logins of several refreshers are under way, and which are next. Pure.
//!
//! Places are served in order of arrival, with two exceptions, so that a slow issuer does not delay the others:
//!
//! 1. Keys whose last login was slow ([`Pace::Slow`]) use at most a quarter of the permits, and at least one.
//! 2. While there are slow logins, a quarter of the permits, rounded down, is reserved for keys whose last login was
//!    quick ([`Pace::Quick`]).
//!
//! A new key is neither slow nor quick ([`Pace::Unknown`]). So new keys of a slow issuer can delay other new keys: the
//! line does not know the issuers, and a login that holds a permit is not ended for another.
//!
//! A login is slow if it takes more than a third of its time limit. The second rule applies from then on, until there
//! has been no slow login for that time limit.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::{sync::Notify, time::Instant};

/// How often a worker in line polls its place.
pub(crate) const LINE_TICK: Duration = Duration::from_secs(1);
/// The delay of a poll after which a place is skipped. Also how long a permit counts after the login's time limit.
const MAX_DELAY: Duration = Duration::from_secs(1);

/// When a refresher came into the line: a number in order of arrival. It also names the refresher's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Arrival(pub(super) u64);

/// How long a key's last login took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    Quick,
    /// The key has had no login yet. So the key of a slow issuer is unknown once.
    Unknown,
    Slow,
}

#[derive(Debug)]
pub(crate) struct LoginLine {
    max: usize,
    /// Until then, permits are reserved for quick keys.
    reserved_until: Option<Instant>,
    running: BTreeMap<Arrival, Running>,
    /// The places of each pace.
    waiting: [BTreeMap<Arrival, Waiting>; 3],
}

/// A login under way.
#[derive(Debug)]
struct Running {
    pace: Pace,
    slow_from: Instant,
    login_timeout: Duration,
    /// From then on the permit is free: the login's time limit has passed, so its runtime stands still.
    counts_until: Instant,
    wake: Arc<Notify>,
}

/// A worker that waits for a permit.
#[derive(Debug)]
struct Waiting {
    polled_at: Instant,
    wake: Arc<Notify>,
}

/// The permits in use.
#[derive(Clone, Copy, Debug, Default)]
struct Usage {
    running: usize,
    /// Logins of keys that are not known to be quick: unknown and slow ones.
    not_quick: usize,
    /// Logins of keys whose last login was slow.
    slow: usize,
}

impl Pace {
    /// Returns the pace of a key, by the duration of its last login.
    pub(crate) fn of(last_login: Option<Duration>, login_timeout: Duration) -> Self {
        match last_login {
            None => Self::Unknown,
            Some(duration) if duration > slow_after(login_timeout) => Self::Slow,
            Some(_) => Self::Quick,
        }
    }
}

fn slow_after(login_timeout: Duration) -> Duration {
    login_timeout / 3
}

impl Waiting {
    /// Returns whether the worker's runtime makes progress.
    fn is_live(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.polled_at) <= LINE_TICK + MAX_DELAY
    }
}

impl Usage {
    fn add(&mut self, pace: Pace) {
        self.running += 1;
        self.not_quick += usize::from(pace != Pace::Quick);
        self.slow += usize::from(pace == Pace::Slow);
    }
}

impl LoginLine {
    /// Creates a line with at least one permit.
    pub(crate) fn new(max: usize) -> Self {
        Self {
            max: max.max(1),
            reserved_until: None,
            running: BTreeMap::new(),
            waiting: Default::default(),
        }
    }

    /// Polls for a permit. Returns `true` if the place has it now.
    ///
    /// A place that was skipped returns to its position, because it arrived earlier. A worker that replaces another one
    /// takes over its place with its first poll.
    pub(crate) fn poll(
        &mut self,
        arrival: Arrival,
        pace: Pace,
        login_timeout: Duration,
        wake: &Arc<Notify>,
        now: Instant,
    ) -> bool {
        self.waiting_of(pace).insert(arrival, Waiting { polled_at: now, wake: wake.clone() });
        let is_next = self.next_places(now).iter().any(|(next, _)| *next == arrival);
        if is_next {
            self.waiting_of(pace).remove(&arrival);
            let login = Running {
                pace,
                slow_from: now + slow_after(login_timeout),
                login_timeout,
                counts_until: now + login_timeout + MAX_DELAY,
                wake: wake.clone(),
            };
            self.running.insert(arrival, login);
        }
        is_next
    }

    /// Leaves the line, or returns the permit, unless another worker has taken over the place. `wake` is that of the
    /// worker that leaves.
    pub(crate) fn leave(&mut self, arrival: Arrival, wake: &Arc<Notify>, now: Instant) {
        self.on_tick(now);
        if self.running.get(&arrival).is_some_and(|login| Arc::ptr_eq(&login.wake, wake)) {
            self.running.remove(&arrival);
        }
        for waiting in &mut self.waiting {
            if waiting.get(&arrival).is_some_and(|place| Arc::ptr_eq(&place.wake, wake)) {
                waiting.remove(&arrival);
            }
        }
    }

    /// Returns the places that would get a permit if they were polled now.
    pub(crate) fn next_places(&mut self, now: Instant) -> Vec<(Arrival, Arc<Notify>)> {
        self.on_tick(now);
        let mut usage = Usage::default();
        for login in self.running.values() {
            usage.add(login.pace);
        }
        let mut next = Vec::new();
        if usage.running >= self.max {
            return next;
        }
        for waiting in &mut self.waiting {
            // Else each poll would pass over them. A place that is polled again returns to its position.
            while let Some(first) = waiting.first_entry().filter(|first| !first.get().is_live(now))
            {
                first.remove();
            }
        }
        let [quick, unknown, slow] = &self.waiting;
        let mut lines = [(Pace::Quick, quick), (Pace::Unknown, unknown), (Pace::Slow, slow)].map(
            |(pace, waiting)| {
                (pace, waiting.iter().filter(|(_, place)| place.is_live(now)).peekable())
            },
        );
        loop {
            let allowed = lines.iter_mut().filter(|(pace, _)| self.allows(&usage, *pace));
            let first = allowed.filter_map(|(pace, line)| Some((*line.peek()?.0, *pace, line)));
            let Some((arrival, pace, line)) = first.min_by_key(|(arrival, ..)| *arrival) else {
                return next;
            };
            if let Some((_, place)) = line.next() {
                next.push((arrival, place.wake.clone()));
            }
            usage.add(pace);
        }
    }

    /// Precedes every event.
    fn on_tick(&mut self, now: Instant) {
        let is_slow = |login: &&Running| login.pace == Pace::Slow || login.slow_from < now;
        let slow_until =
            self.running.values().filter(is_slow).map(|login| now + login.login_timeout).max();
        self.reserved_until = self.reserved_until.max(slow_until).filter(|until| now < *until);
        self.running.retain(|_, login| now < login.counts_until);
    }

    /// Returns whether a place of this pace may get a permit in addition to those in use.
    fn allows(&self, usage: &Usage, pace: Pace) -> bool {
        let quarter = self.max / 4;
        let reserved = if self.reserved_until.is_some() { quarter } else { 0 };
        let allows_not_quick = usage.not_quick + reserved < self.max;
        usage.running < self.max
            && match pace {
                Pace::Quick => true,
                Pace::Unknown => allows_not_quick,
                Pace::Slow => allows_not_quick && usage.slow < quarter.max(1),
            }
    }

    fn waiting_of(&mut self, pace: Pace) -> &mut BTreeMap<Arrival, Waiting> {
        let [quick, unknown, slow] = &mut self.waiting;
        match pace {
            Pace::Quick => quick,
            Pace::Unknown => unknown,
            Pace::Slow => slow,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(30);

    struct Model {
        line: LoginLine,
        now: Instant,
        wake: Arc<Notify>,
        last: Arrival,
    }

    impl Model {
        fn new(max: usize) -> Self {
            let (line, wake) = (LoginLine::new(max), Arc::new(Notify::new()));
            Self { line, now: Instant::now(), wake, last: Arrival(0) }
        }

        fn poll(&mut self, place: Arrival, pace: Pace) -> bool {
            self.line.poll(place, pace, TIMEOUT, &self.wake, self.now)
        }

        fn enter(&mut self, pace: Pace) -> (Arrival, bool) {
            self.last = Arrival(self.last.0 + 1);
            (self.last, self.poll(self.last, pace))
        }

        fn enter_all(&mut self, count: usize, pace: Pace) -> usize {
            (0..count).filter(|_| self.enter(pace).1).count()
        }

        fn leave(&mut self, place: Arrival) {
            self.line.leave(place, &self.wake, self.now);
        }

        fn next(&mut self) -> Vec<Arrival> {
            self.line.next_places(self.now).into_iter().map(|(place, _)| place).collect()
        }

        fn pass(&mut self, secs: u64) {
            self.now += Duration::from_secs(secs);
        }
    }

    #[test]
    fn permits_are_limited_and_served_in_order() {
        let mut model = Model::new(2);
        let places: Vec<_> = (0..5).map(|_| model.enter(Pace::Unknown)).collect();
        assert_eq!(
            places.iter().map(|place| place.1).collect::<Vec<_>>(),
            [true, true, false, false, false]
        );
        assert!(model.next().is_empty());
        model.leave(places[1].0);
        assert_eq!(model.next(), [places[2].0]);
        assert!(!model.poll(places[3].0, Pace::Unknown), "another place is next");
        assert!(model.poll(places[2].0, Pace::Unknown));
        model.leave(places[3].0);
        model.leave(places[0].0);
        assert_eq!(model.next(), [places[4].0], "a place that has left is not next");
    }

    #[test]
    fn place_of_a_stalled_runtime_is_skipped_until_it_is_polled() {
        let mut model = Model::new(1);
        let (running, _) = model.enter(Pace::Unknown);
        let (stalled, _) = model.enter(Pace::Unknown);
        model.pass(1);
        let (driven, _) = model.enter(Pace::Unknown);
        model.pass(1);
        model.leave(running);
        assert_eq!(model.next(), [stalled]);
        model.now += Duration::from_millis(1);
        assert_eq!(model.next(), [driven]);
        assert!(model.poll(driven, Pace::Unknown));
    }

    #[test]
    fn place_that_is_polled_again_returns_to_its_position() {
        let mut model = Model::new(1);
        let (running, _) = model.enter(Pace::Unknown);
        let (stalled, _) = model.enter(Pace::Unknown);
        model.pass(3);
        let (driven, _) = model.enter(Pace::Unknown);
        model.leave(running);
        assert_eq!(model.next(), [driven]);
        assert!(
            model.poll(stalled, Pace::Unknown),
            "it is the oldest, and the permit is still free"
        );
        assert!(!model.poll(driven, Pace::Unknown));
    }

    #[test]
    fn worker_that_replaces_another_takes_over_its_place() {
        let mut model = Model::new(1);
        let (running, _) = model.enter(Pace::Unknown);
        let (place, _) = model.enter(Pace::Unknown);
        model.enter(Pace::Unknown);
        let replaced = std::mem::replace(&mut model.wake, Arc::new(Notify::new()));
        assert!(!model.poll(place, Pace::Unknown));
        // The replaced worker ends before its successor has the permit, or after that.
        model.line.leave(place, &replaced, model.now);
        model.line.leave(running, &replaced, model.now);
        assert_eq!(model.next(), [place]);
        assert!(model.poll(place, Pace::Unknown));
        model.line.leave(place, &replaced, model.now);
        assert!(model.next().is_empty());
        model.leave(place);
        assert_eq!(model.next(), [Arrival(3)]);
    }

    #[test]
    fn permit_of_a_stalled_login_is_free_after_its_time_limit() {
        let mut model = Model::new(1);
        model.enter(Pace::Unknown);
        let (waiting, _) = model.enter(Pace::Unknown);
        model.pass(30);
        assert!(
            !model.poll(waiting, Pace::Unknown),
            "the login may still end by its own time limit"
        );
        model.pass(1);
        assert!(model.poll(waiting, Pace::Unknown));
    }

    #[test]
    fn slow_keys_use_at_most_a_quarter_of_the_permits() {
        let mut model = Model::new(16);
        assert_eq!(model.enter_all(100, Pace::Slow), 4);
        assert_eq!(model.enter_all(100, Pace::Unknown), 8, "a quarter is reserved for quick keys");
        assert_eq!(model.enter_all(100, Pace::Quick), 4);
    }

    #[test]
    fn quick_keys_use_all_permits_if_no_login_is_slow() {
        for pace in [Pace::Quick, Pace::Unknown] {
            assert_eq!(Model::new(16).enter_all(100, pace), 16);
        }
    }

    /// Thousands of new keys of an issuer that does not respond.
    #[test]
    fn logins_that_hang_leave_a_quarter_of_the_permits_to_quick_keys() {
        let mut model = Model::new(16);
        let mut running: Vec<_> = (0..16).map(|_| model.enter(Pace::Unknown).0).collect();
        assert_eq!(model.enter_all(200, Pace::Unknown), 0);
        for _ in 0..10 {
            for tick in 0..30 {
                for place in
                    model.line.waiting_of(Pace::Unknown).keys().copied().collect::<Vec<_>>()
                {
                    assert!(!model.poll(place, Pace::Unknown), "after {tick} s");
                }
                model.pass(1);
            }
            running.into_iter().for_each(|place| model.leave(place));
            running = model.next();
            assert_eq!(running.len(), 12);
            running.iter().for_each(|place| assert!(model.poll(*place, Pace::Unknown)));
            let quick: Vec<_> = (0..4).map(|_| model.enter(Pace::Quick)).collect();
            quick.into_iter().for_each(|(place, has_permit)| {
                assert!(has_permit);
                model.leave(place);
            });
        }
    }

    #[test]
    fn permits_are_reserved_until_the_login_time_limit_after_a_slow_login() {
        for (pause, permits) in [(0, 3), (29, 3), (30, 4)] {
            let mut model = Model::new(4);
            let (slow, _) = model.enter(Pace::Unknown);
            model.pass(11);
            model.leave(slow);
            model.pass(pause);
            assert_eq!(model.enter_all(4, Pace::Unknown), permits, "after {pause} s");
        }
    }

    #[test]
    fn places_that_are_next_are_as_many_as_the_free_permits() {
        let mut model = Model::new(4);
        let running: Vec<_> = (0..4).map(|_| model.enter(Pace::Quick).0).collect();
        assert_eq!(model.enter_all(8, Pace::Quick), 0);
        for (number, place) in (1..).zip(running) {
            model.leave(place);
            assert_eq!(model.next().len(), number);
        }
    }

    #[test]
    fn single_permit_serves_every_pace() {
        for pace in [Pace::Quick, Pace::Unknown, Pace::Slow] {
            assert_eq!(Model::new(1).enter_all(2, pace), 1);
        }
    }

    #[test]
    fn fewer_than_four_permits_are_not_reserved() {
        for max in 1..4 {
            let mut model = Model::new(max);
            model.enter(Pace::Unknown);
            model.pass(11);
            assert_eq!(model.enter_all(4, Pace::Unknown), max - 1, "of {max}");
        }
    }

    #[test]
    fn pace_depends_on_the_last_login() {
        assert_eq!(Pace::of(None, TIMEOUT), Pace::Unknown);
        assert_eq!(Pace::of(Some(Duration::from_secs(10)), TIMEOUT), Pace::Quick);
        assert_eq!(Pace::of(Some(Duration::from_millis(10_001)), TIMEOUT), Pace::Slow);
    }
}
