//! Tokens whose lifetime the issuer does not state, and tokens that the refresher has from elsewhere.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use tokio::time::{Instant, sleep};
use tower::{BoxError, Layer};
use tower_auth_refresh::{AccessToken, LoginError, LoginReason};

use crate::{
    Fleet, layer, log_in, millis, secrets,
    support::{HOUR, secs, token},
};

fn without_lifetime(nth: usize) -> Result<AccessToken, BoxError> {
    Ok(AccessToken::bearer(format!("t{nth}"))?)
}

#[tokio::test(start_paused = true)]
async fn token_past_the_default_lifetime_is_replaced_by_a_process_that_starts() {
    let fleet = Fleet::default();
    let build = |seed| {
        let login = |nth| async move { without_lifetime(nth) };
        fleet.builder(seed, login).default_lifetime(secs(900)).build().unwrap()
    };
    let first = build(1);
    assert_eq!(first.token().await.unwrap().secret(), "t1");
    drop(first);
    // No process runs for a while, and the record does not expire.
    sleep(secs(1000)).await;
    let next = build(2);
    next.token().await.unwrap_err();
    // The refresher retries after its first backoff.
    sleep(secs(2)).await;
    assert_eq!(next.token().await.unwrap().secret(), "t2");
}

#[tokio::test(start_paused = true)]
async fn outage_is_spread_over_the_lead_of_the_default_lifetime() {
    const PROCESSES: usize = 300;
    let fleet = Fleet::default();
    let starts = Arc::new(Mutex::new(BTreeMap::<u64, usize>::new()));
    let start = Instant::now();
    let processes: Vec<_> = (0..PROCESSES as u64)
        .map(|seed| {
            let starts = starts.clone();
            let login = move |nth| {
                let second = start.elapsed().as_secs();
                *starts.lock().unwrap().entry(second).or_default() += 1;
                async move {
                    sleep(millis(200)).await;
                    without_lifetime(nth)
                }
            };
            fleet.builder(seed, login).default_lifetime(HOUR).build().unwrap()
        })
        .collect();
    secrets(&processes).await;
    sleep(secs(3000)).await;
    fleet.store.set_available(false);
    sleep(secs(590)).await;
    let in_outage = starts.lock().unwrap().split_off(&1);
    let most = *in_outage.values().max().unwrap();
    assert!(most * 100 <= 3 * PROCESSES, "{most} processes in one second: {in_outage:?}");
}

#[tokio::test(start_paused = true)]
async fn permanent_error_of_another_process_is_transient_with_a_token_without_lifetime() {
    let fleet = Fleet::default();
    let login = move |nth| async move {
        match nth {
            1 => without_lifetime(nth),
            _ => Err(LoginError::permanent("wrong password").into()),
        }
    };
    let layer = layer(fleet.store.clone());
    let mut one = layer.layer(fleet.logins.service(login));
    let mut two = layer.layer(fleet.logins.service(login));
    log_in(&mut one, LoginReason::First).await.unwrap();
    log_in(&mut two, LoginReason::First).await.unwrap();
    log_in(&mut one, LoginReason::Expiring).await.unwrap_err();
    let error = log_in(&mut two, LoginReason::Expiring).await.unwrap_err();
    assert!(!error.is_permanent());
}

#[tokio::test(start_paused = true)]
async fn permanent_error_of_one_process_does_not_end_the_refreshes_of_others() {
    let fleet = Fleet::default();
    let login = |nth| async move {
        match nth {
            2 => Err(LoginError::permanent("wrong password").into()),
            nth => Ok(without_lifetime(nth)?.with_refresh_in(secs(600))),
        }
    };
    let process = |seed| fleet.builder(seed, login).jitter(false).build().unwrap();
    let processes = [process(1), process(2)];
    secrets(&processes).await;
    for _ in 0..24 * 60 {
        sleep(secs(60)).await;
        secrets(&processes).await;
    }
    assert!(fleet.logins.started() > 100, "{} logins in a day", fleet.logins.started());
}

#[tokio::test(start_paused = true)]
async fn rejected_initial_token_is_not_adopted_from_the_store() {
    let fleet = Fleet::default();
    let login = |nth| async move { token(nth, HOUR) };
    let first = fleet.builder(1, login).build().unwrap();
    let saved = first.token().await.unwrap();
    sleep(secs(60)).await;
    let initial = AccessToken::bearer(saved.secret()).unwrap().with_expires_in(secs(3000));
    let second = fleet.builder(2, login).initial_token(initial).build().unwrap();
    assert_eq!(second.token().await.unwrap().secret(), "t1");
    second.invalidate();
    assert_eq!(second.token().await.unwrap().secret(), "t2");
}

#[tokio::test(start_paused = true)]
async fn call_of_the_store_ends_before_the_default_lifetime() {
    let fleet = Fleet::default();
    let login = move |nth| async move { without_lifetime(nth) };
    let process = fleet.builder(1, login).default_lifetime(secs(2)).build().unwrap();
    process.token().await.unwrap();
    fleet.store.set_delay(HOUR);
    for _ in 0..2000 {
        let start = Instant::now();
        process.token().await.unwrap();
        assert_eq!(start.elapsed(), secs(0), "a request waited");
        sleep(millis(10)).await;
    }
}
