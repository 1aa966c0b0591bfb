//! The process that logs in for all: it dies, freezes, hangs, is cancelled, or loses its claim.

use std::{future::pending, time::Duration};

use tokio::time::{Instant, sleep, timeout};
use tower::Layer;
use tower_auth_refresh::{AuthRefresher, LoginReason, shared::SharedToken};

use crate::{
    Fleet, TIME_TO_LIVE, at_once, layer,
    link::{Condition, Link},
    log_in, millis,
    support::{HOUR, alive_tasks, secs, token},
};

const LOGIN: Duration = secs(10);

/// Creates a service whose login takes 10 seconds.
fn slow(fleet: &Fleet) -> SharedToken {
    layer(fleet.store.clone()).layer(fleet.logins.service(|nth| async move {
        sleep(LOGIN).await;
        token(nth, HOUR)
    }))
}

/// Creates a service whose login takes 10 milliseconds.
fn fast(fleet: &Fleet) -> SharedToken {
    layer(fleet.store.clone()).layer(fleet.logins.service(|nth| async move {
        sleep(millis(10)).await;
        token(nth, HOUR)
    }))
}

#[tokio::test(start_paused = true)]
async fn next_process_logs_in_soon_after_the_leader_dies() {
    // Before and after the claim is extended.
    for dies_after in [millis(100), millis(1600), millis(1700), millis(4200), secs(9)] {
        let fleet = Fleet::default();
        let (condition, link) = Link::new(fleet.store.clone());
        let mut leader = layer(link.clone()).layer(fleet.logins.service(move |nth| {
            let link = link.clone();
            async move {
                sleep(LOGIN).await;
                link.thaw().await;
                token(nth, HOUR)
            }
        }));
        let mut follower = fast(&fleet);
        let leading = tokio::spawn(async move { log_in(&mut leader, LoginReason::First).await });
        sleep(millis(1)).await;
        let following =
            tokio::spawn(async move { log_in(&mut follower, LoginReason::First).await });
        sleep(dies_after).await;
        condition.send_replace(Condition::Dead);
        let died = Instant::now();
        let adopted = following.await.unwrap().unwrap();
        assert_eq!(adopted.secret(), "t2");
        let limit = TIME_TO_LIVE + millis(100) + millis(10);
        assert!(died.elapsed() <= limit, "{dies_after:?}: {:?}", died.elapsed());
        leading.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn claim_is_extended_while_a_login_takes_longer() {
    let fleet = Fleet::default();
    let (mut leader, mut follower) = (slow(&fleet), fast(&fleet));
    let (first, second) = tokio::join!(
        log_in(&mut leader, LoginReason::First),
        log_in(&mut follower, LoginReason::First)
    );
    assert_eq!((first.unwrap().secret(), second.unwrap().secret()), ("t1", "t1"));
    assert_eq!(fleet.logins.started(), 1);
}

/// The store must still have the old record, because the put names its revision.
#[tokio::test(start_paused = true)]
async fn login_that_ends_after_the_old_token_expires_is_put() {
    let fleet = Fleet::default();
    let process = || {
        layer(fleet.store.clone()).layer(fleet.logins.service(|nth| async move {
            sleep(secs(5)).await;
            token(nth, secs(8))
        }))
    };
    let (mut leader, mut follower) = (process(), process());
    log_in(&mut leader, LoginReason::First).await.unwrap();
    let second = log_in(&mut leader, LoginReason::Expiring).await.unwrap();
    let adopted = log_in(&mut follower, LoginReason::First).await.unwrap();
    assert_eq!((second.secret(), adopted.secret()), ("t2", "t2"));
}

#[tokio::test(start_paused = true)]
async fn claim_is_not_extended_beyond_the_login_timeout() {
    let fleet = Fleet::default();
    let limit = secs(12);
    let mut leader =
        layer(fleet.store.clone()).login_timeout(limit).layer(fleet.logins.service(|_| pending()));
    let start = Instant::now();
    let hanging = tokio::spawn(async move { log_in(&mut leader, LoginReason::First).await });
    sleep(millis(1)).await;
    let mut follower = fast(&fleet);
    assert_eq!(log_in(&mut follower, LoginReason::First).await.unwrap().secret(), "t2");
    assert!(start.elapsed() <= limit + millis(120), "{:?}", start.elapsed());
    let error = hanging.await.unwrap().unwrap_err();
    assert_eq!(error.to_string(), "login timed out after 12s");
    assert_eq!(fleet.logins.max_concurrent(), 1);
}

/// The claim of a leader that hangs in the store ends too, although it can no longer release it.
#[tokio::test(start_paused = true)]
async fn claim_of_a_leader_that_cannot_release_it_ends_with_the_login_timeout() {
    let fleet = Fleet::default();
    let (condition, link) = Link::new(fleet.store.clone());
    let limit = secs(6);
    let mut leader = layer(link).login_timeout(limit).layer(fleet.logins.service(|_| pending()));
    let start = Instant::now();
    let hanging = tokio::spawn(async move { log_in(&mut leader, LoginReason::First).await });
    // The last extension is at 5 seconds, for one second.
    sleep(millis(5500)).await;
    condition.send_replace(Condition::Frozen);
    let mut follower = fast(&fleet);
    assert_eq!(log_in(&mut follower, LoginReason::First).await.unwrap().secret(), "t2");
    assert!(start.elapsed() <= limit + millis(120), "{:?}", start.elapsed());
    hanging.abort();
}

#[tokio::test(start_paused = true)]
async fn login_timeout_of_followers_causes_no_login_of_each() {
    let fleet = Fleet::default();
    let mut services: Vec<_> = (0..20)
        .map(|_| {
            layer(fleet.store.clone()).layer(fleet.logins.service(|nth| async move {
                if nth == 1 {
                    pending::<()>().await;
                }
                sleep(secs(3)).await;
                token(nth, HOUR)
            }))
        })
        .collect();
    let logins = services.iter_mut().map(|service| log_in(service, LoginReason::First));
    let results = futures::future::join_all(logins).await;
    // When the first login has timed out, another process has the claim.
    assert_eq!(fleet.logins.started(), 2);
    for error in results.into_iter().filter_map(Result::err) {
        assert!(!error.is_permanent(), "{error:?}");
    }
    for service in &mut services {
        assert_eq!(log_in(service, LoginReason::First).await.unwrap().secret(), "t2");
    }
    assert_eq!(fleet.logins.started(), 2);
}

#[tokio::test(start_paused = true)]
async fn frozen_leader_that_puts_late_does_not_replace_the_next_token() {
    let fleet = Fleet::default();
    let (condition, link) = Link::new(fleet.store.clone());
    let mut leader = layer(link.clone()).layer(fleet.logins.service(move |nth| {
        let link = link.clone();
        async move {
            sleep(secs(1)).await;
            link.thaw().await;
            token(nth, HOUR)
        }
    }));
    let leading = tokio::spawn(async move { log_in(&mut leader, LoginReason::First).await });
    sleep(millis(500)).await;
    condition.send_replace(Condition::Frozen);
    let mut follower = fast(&fleet);
    assert_eq!(log_in(&mut follower, LoginReason::First).await.unwrap().secret(), "t2");
    condition.send_replace(Condition::Well);
    // The leader can use its token, but has not put it.
    assert_eq!(leading.await.unwrap().unwrap().secret(), "t1");
    let mut third = fast(&fleet);
    assert_eq!(log_in(&mut third, LoginReason::First).await.unwrap().secret(), "t2");
    assert_eq!(fleet.logins.started(), 2);
}

#[tokio::test(start_paused = true)]
async fn login_that_loses_its_claim_returns_its_token() {
    let fleet = Fleet::default();
    let mut leader = slow(&fleet);
    let leading = tokio::spawn(async move { log_in(&mut leader, LoginReason::First).await });
    sleep(secs(2)).await;
    fleet.store.lose_claims();
    let mut other = fast(&fleet);
    assert_eq!(log_in(&mut other, LoginReason::First).await.unwrap().secret(), "t2");
    assert_eq!(leading.await.unwrap().unwrap().secret(), "t1");
    let mut third = fast(&fleet);
    assert_eq!(log_in(&mut third, LoginReason::First).await.unwrap().secret(), "t2");
}

#[tokio::test(start_paused = true)]
async fn dropped_login_continues_and_its_token_is_put() {
    let fleet = Fleet::default();
    let mut service = slow(&fleet);
    let dropped = timeout(secs(1), log_in(&mut service, LoginReason::First)).await;
    assert!(dropped.is_err());
    assert_eq!(fleet.logins.running(), 1);
    // The next login of the process waits for it, and so do other processes.
    let mut other = fast(&fleet);
    let (own, other) = tokio::join!(
        log_in(&mut service, LoginReason::First),
        log_in(&mut other, LoginReason::First)
    );
    assert_eq!((own.unwrap().secret(), other.unwrap().secret()), ("t1", "t1"));
    assert_eq!(fleet.logins.started(), 1);
}

#[tokio::test(start_paused = true)]
async fn dropped_refresh_is_adopted_by_the_next_one() {
    let fleet = Fleet::default();
    let mut service = slow(&fleet);
    log_in(&mut service, LoginReason::First).await.unwrap();
    let refresh = timeout(secs(1), log_in(&mut service, LoginReason::Expiring)).await;
    assert!(refresh.is_err());
    assert_eq!(log_in(&mut service, LoginReason::Expiring).await.unwrap().secret(), "t2");
    assert_eq!(fleet.logins.started(), 2);
}

#[tokio::test(start_paused = true)]
async fn shut_down_refresher_leaves_its_token_to_the_others() {
    let fleet = Fleet::default();
    let login = |nth| async move {
        sleep(LOGIN).await;
        token(nth, HOUR)
    };
    let first = fleet.builder(1, login).build().unwrap();
    let waiting = first.clone();
    let waiting = tokio::spawn(async move { waiting.token().await });
    sleep(secs(1)).await;
    first.shutdown();
    assert!(waiting.await.unwrap().unwrap_err().is_shut_down());
    drop(first);
    let second = fleet.builder(2, login).wait_timeout(secs(20)).build().unwrap();
    assert_eq!(second.token().await.unwrap().secret(), "t1");
    drop(second);
    assert_eq!((fleet.logins.started(), alive_tasks().await), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn panic_of_the_login_ends_the_claim() {
    let fleet = Fleet::default();
    let mut broken =
        layer(fleet.store.clone()).layer(fleet.logins.service(|_| async { panic!("by script") }));
    let error = log_in(&mut broken, LoginReason::First).await.unwrap_err();
    assert_eq!(error.to_string(), "login service panicked");
    let start = Instant::now();
    assert_eq!(log_in(&mut fast(&fleet), LoginReason::First).await.unwrap().secret(), "t2");
    assert_eq!(start.elapsed(), millis(10), "it did not wait for the claim");
}

#[tokio::test(start_paused = true)]
async fn login_cannot_wait_for_its_own_token_through_the_layer() {
    let fleet = Fleet::default();
    let slot = std::sync::Arc::new(std::sync::OnceLock::<AuthRefresher>::new());
    let inner = slot.clone();
    let process = fleet
        .builder(1, move |_| {
            let refresher = inner.get().unwrap().clone();
            async move { Ok(refresher.token().await?) }
        })
        .build()
        .unwrap();
    slot.set(process.clone()).unwrap();
    let error = process.token().await.unwrap_err();
    let messages = crate::support::chain(&error).join(": ");
    assert!(messages.contains("waits for its own token"), "{messages}");
    process.shutdown();
}

#[tokio::test(start_paused = true)]
async fn requests_do_not_wait_for_a_leader_that_hangs() {
    let fleet = Fleet::default();
    let login = |nth| async move {
        // The first refresh hangs.
        if nth == 2 {
            pending::<()>().await;
        }
        token(nth, HOUR)
    };
    let processes: Vec<_> =
        (0..5).map(|seed| fleet.builder(seed, login).build().unwrap()).collect();
    crate::secrets(&processes).await;
    for _ in 0..360 {
        sleep(secs(10)).await;
        processes.iter().for_each(|process| drop(at_once(process)));
    }
    assert_eq!(fleet.logins.started(), 3);
}

/// The extensions of one login are limited, with any setting.
#[tokio::test(start_paused = true)]
async fn claim_with_a_time_to_live_of_zero_is_extended_every_thirtieth_of_a_second() {
    let fleet = Fleet::default();
    let mut leader = layer(fleet.store.clone()).claim_time_to_live(Duration::ZERO).layer(
        fleet.logins.service(|nth| async move {
            sleep(secs(3)).await;
            token(nth, HOUR)
        }),
    );
    log_in(&mut leader, LoginReason::First).await.unwrap();
    assert!((80..=100).contains(&fleet.store.calls()), "{}", fleet.store.calls());
}

#[tokio::test(start_paused = true)]
async fn claim_that_was_granted_to_a_dropped_login_is_released() {
    let fleet = Fleet::default();
    let login = |nth| async move { token(nth, HOUR) };
    fleet.store.set_delay(millis(100));
    let process = fleet.builder(1, login).build().unwrap();
    let waiting = process.clone();
    let waiting = tokio::spawn(async move { drop(waiting.token().await) });
    sleep(millis(150)).await;
    process.shutdown();
    waiting.await.unwrap();
    let start = Instant::now();
    let mut other = layer(fleet.store.clone()).layer(fleet.logins.service(login));
    assert_eq!(log_in(&mut other, LoginReason::First).await.unwrap().secret(), "t1");
    assert!(start.elapsed() < secs(1), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn claim_survives_an_extension_that_failed() {
    let fleet = Fleet::default();
    let (mut leader, mut follower) = (slow(&fleet), fast(&fleet));
    let leading = tokio::spawn(async move { log_in(&mut leader, LoginReason::First).await });
    // The first extension is after a third of 5 seconds.
    sleep(millis(1600)).await;
    fleet.store.set_available(false);
    sleep(millis(200)).await;
    fleet.store.set_available(true);
    let adopted = log_in(&mut follower, LoginReason::First).await.unwrap();
    let issued = leading.await.unwrap().unwrap();
    assert_eq!((issued.secret(), adopted.secret()), ("t1", "t1"));
}
