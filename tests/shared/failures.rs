//! Logins that fail: processes share a permanent error, and the time that an issuer requests before a retry.

use tokio::time::{Instant, sleep};
use tower::Layer;
use tower_auth_refresh::{AccessToken, BoxError, LoginError, LoginReason};

use crate::{
    Fleet, at_once, layer, log_in, millis, secrets,
    support::{HOUR, chain, secs, token},
};

async fn wrong_password() -> Result<AccessToken, BoxError> {
    sleep(millis(50)).await;
    Err(LoginError::permanent("wrong password").into())
}

#[tokio::test(start_paused = true)]
async fn wrong_password_causes_one_login_of_a_hundred_processes() {
    let fleet = Fleet::default();
    let processes: Vec<_> =
        (0..100).map(|seed| fleet.builder(seed, |_| wrong_password()).build().unwrap()).collect();
    let start = Instant::now();
    let results = futures::future::join_all(processes.iter().map(|process| process.token())).await;
    for result in results {
        let error = result.unwrap_err();
        assert!(error.is_permanent());
        assert!(chain(&error).join(": ").contains("wrong password"), "{error:?}");
    }
    assert_eq!(fleet.logins.started(), 1);
    // Requests continue for a minute, each of which could cause a login.
    while start.elapsed() < secs(60) {
        sleep(millis(500)).await;
        let calls = processes.iter().map(|process| process.token());
        assert!(futures::future::join_all(calls).await.iter().all(Result::is_err));
    }
    let logins = fleet.logins.started();
    // After 5, 15 and 35 seconds.
    assert!((3..=4).contains(&logins), "{logins} logins in a minute");
}

#[tokio::test(start_paused = true)]
async fn corrected_password_is_used_within_seconds() {
    let fleet = Fleet::default();
    let login = |nth| async move {
        match nth {
            1 => wrong_password().await,
            nth => token(nth, HOUR),
        }
    };
    let layer = layer(fleet.store.clone());
    let mut services: Vec<_> = (0..3).map(|_| layer.layer(fleet.logins.service(login))).collect();
    for service in &mut services {
        assert!(log_in(service, LoginReason::First).await.unwrap_err().is_permanent());
    }
    sleep(millis(4900)).await;
    for service in &mut services {
        assert!(log_in(service, LoginReason::First).await.unwrap_err().is_permanent());
    }
    sleep(millis(200)).await;
    for service in &mut services {
        assert_eq!(log_in(service, LoginReason::First).await.unwrap().secret(), "t2");
    }
    assert_eq!(fleet.logins.started(), 2);
}

#[tokio::test(start_paused = true)]
async fn success_ends_the_doubling_of_the_failure_pause() {
    let fleet = Fleet::default();
    let login = |nth| async move {
        match nth {
            3 => token(nth, HOUR),
            _ => wrong_password().await,
        }
    };
    let mut service = layer(fleet.store.clone()).layer(fleet.logins.service(login));
    let mut fails_until_login = async |reason: LoginReason, logins| {
        let start = Instant::now();
        while fleet.logins.started() < logins {
            let _ = log_in(&mut service, reason.clone()).await;
            sleep(millis(100)).await;
        }
        start.elapsed().as_secs()
    };
    fails_until_login(LoginReason::First, 1).await;
    assert_eq!(fails_until_login(LoginReason::First, 2).await, 5);
    assert_eq!(fails_until_login(LoginReason::First, 3).await, 10);
    fails_until_login(LoginReason::Forced, 4).await;
    assert_eq!(fails_until_login(LoginReason::Expiring, 5).await, 5);
}

#[tokio::test(start_paused = true)]
async fn permanent_error_of_another_process_is_transient_with_a_live_token() {
    let fleet = Fleet::default();
    let right = |nth| async move { token(nth, HOUR) };
    let layer = layer(fleet.store.clone());
    let mut healthy = layer.layer(fleet.logins.service(right));
    let mut broken = layer.layer(fleet.logins.service(|_| wrong_password()));
    log_in(&mut healthy, LoginReason::First).await.unwrap();
    log_in(&mut broken, LoginReason::First).await.unwrap();
    log_in(&mut broken, LoginReason::Forced).await.unwrap_err();
    let error = log_in(&mut healthy, LoginReason::Expiring).await.unwrap_err();
    assert!(!error.is_permanent());
    assert!(chain(&error).join(": ").contains("wrong password"), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn delay_that_the_issuer_requests_applies_to_all_processes() {
    let fleet = Fleet::default();
    let login = |nth| async move {
        sleep(millis(50)).await;
        match nth {
            1 => {
                let error = LoginError::transient("too many requests");
                Err(error.with_retry_after(secs(60)).into())
            }
            nth => token(nth, HOUR),
        }
    };
    let layer = layer(fleet.store.clone());
    let mut services: Vec<_> = (0..20).map(|_| layer.layer(fleet.logins.service(login))).collect();
    for after in [0, 20, 39] {
        sleep(secs(after)).await;
        for service in &mut services {
            let error = log_in(service, LoginReason::First).await.unwrap_err();
            assert!(!error.is_permanent());
            assert!(error.retry_after().is_some_and(|rest| rest <= secs(60)), "{error:?}");
            assert!(chain(&error).join(": ").contains("too many requests"), "{error:?}");
        }
        assert_eq!(fleet.logins.started(), 1);
    }
    sleep(secs(2)).await;
    for service in &mut services {
        assert_eq!(log_in(service, LoginReason::First).await.unwrap().secret(), "t2");
    }
    assert_eq!(fleet.logins.started(), 2);
}

#[tokio::test(start_paused = true)]
async fn forced_refresh_ignores_the_error_of_another_process() {
    let fleet = Fleet::default();
    let login = |nth| async move {
        match nth {
            1 => wrong_password().await,
            nth => token(nth, HOUR),
        }
    };
    let layer = layer(fleet.store.clone());
    let (mut one, mut two) =
        (layer.layer(fleet.logins.service(login)), layer.layer(fleet.logins.service(login)));
    log_in(&mut one, LoginReason::First).await.unwrap_err();
    assert_eq!(log_in(&mut two, LoginReason::Forced).await.unwrap().secret(), "t2");
}

#[tokio::test(start_paused = true)]
async fn permanent_error_does_not_remove_the_live_token() {
    let fleet = Fleet::default();
    let login = |nth| async move {
        match nth {
            1 => token(nth, HOUR),
            _ => wrong_password().await,
        }
    };
    let process = |seed| fleet.builder(seed, login).build().unwrap();
    let (first, second) = (process(1), process(2));
    assert_eq!(secrets(&[first.clone(), second.clone()]).await, ["t1", "t1"]);
    sleep(secs(600)).await;
    for _ in 0..3 {
        assert!(first.refresh().await.unwrap_err().is_permanent());
        // The error is younger than 5 seconds, and the token beside it is live.
        assert_eq!(process(3).token().await.unwrap().secret(), "t1");
        assert_eq!((at_once(&first), at_once(&second)), ("t1".into(), "t1".into()));
        sleep(secs(70)).await;
    }
    // The token expires at its time.
    assert!(process(4).token().await.is_ok());
    sleep(secs(2800)).await;
    assert!(process(5).token().await.unwrap_err().is_permanent());
}

#[tokio::test(start_paused = true)]
async fn permanent_error_does_not_put_a_rejected_token_again() {
    let fleet = Fleet::default();
    let login = |nth| async move {
        match nth {
            1 => token(nth, HOUR),
            _ => wrong_password().await,
        }
    };
    let process = |seed| fleet.builder(seed, login).build().unwrap();
    let first = process(1);
    let rejected = first.token().await.unwrap();
    sleep(secs(10)).await;
    assert!(first.reject(&rejected, None));
    first.token().await.unwrap_err();
    assert!(process(2).token().await.unwrap_err().is_permanent(), "no token is left");
    assert_eq!(fleet.logins.started(), 2);
}

#[tokio::test(start_paused = true)]
async fn permanent_error_does_not_remove_the_token_of_another_process() {
    let fleet = Fleet::default();
    let login = |nth| async move {
        match nth {
            1 | 2 => token(nth, HOUR),
            _ => wrong_password().await,
        }
    };
    let service = || layer(fleet.store.clone()).layer(fleet.logins.service(login));
    let (mut first, mut second) = (service(), service());
    log_in(&mut first, LoginReason::First).await.unwrap();
    sleep(secs(10)).await;
    // The second process has a newer token that is in no record, so it does not use that of the record.
    fleet.store.set_available(false);
    log_in(&mut second, LoginReason::First).await.unwrap();
    fleet.store.set_available(true);
    log_in(&mut second, LoginReason::Forced).await.unwrap_err();
    assert_eq!(log_in(&mut service(), LoginReason::First).await.unwrap().secret(), "t1");
}

#[tokio::test(start_paused = true)]
async fn token_rejected_during_a_failing_login_is_not_put_again() {
    let fleet = Fleet::default();
    let login = |nth| async move {
        match nth {
            1 => token(nth, HOUR),
            _ => {
                sleep(secs(2)).await;
                wrong_password().await
            }
        }
    };
    let process = |seed| fleet.builder(seed, login).build().unwrap();
    let first = process(1);
    let rejected = first.token().await.unwrap();
    sleep(secs(10)).await;
    let refreshing = first.clone();
    let refreshing = tokio::spawn(async move { refreshing.refresh().await });
    sleep(secs(1)).await;
    assert!(first.reject(&rejected, None));
    refreshing.await.unwrap().unwrap_err();
    assert!(process(2).token().await.is_err(), "no token is left");
}

#[tokio::test(start_paused = true)]
async fn transient_error_lets_the_next_process_log_in_at_once() {
    let fleet = Fleet::default();
    let login = |nth| async move {
        sleep(millis(50)).await;
        match nth {
            1 => Err("issuer unavailable".into()),
            nth => token(nth, HOUR),
        }
    };
    let layer = layer(fleet.store.clone());
    let (mut one, mut two) =
        (layer.layer(fleet.logins.service(login)), layer.layer(fleet.logins.service(login)));
    let start = Instant::now();
    let (failed, succeeded) =
        tokio::join!(log_in(&mut one, LoginReason::First), log_in(&mut two, LoginReason::First));
    assert!(!failed.unwrap_err().is_permanent());
    assert_eq!(succeeded.unwrap().secret(), "t2");
    assert!(start.elapsed() <= millis(210), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn token_that_the_issuer_returns_again_is_put_if_it_is_in_no_record() {
    let fleet = Fleet::default();
    let layer = layer(fleet.store.clone());
    let login = |_| async { Ok(AccessToken::bearer("same")?.with_expires_in(HOUR)) };
    let mut service = layer.layer(fleet.logins.service(login));
    fleet.store.set_available(false);
    log_in(&mut service, LoginReason::First).await.unwrap();
    fleet.store.set_available(true);
    log_in(&mut service, LoginReason::Expiring).await.unwrap();
    let logins = fleet.logins.started();
    let mut other = layer.layer(fleet.logins.service(login));
    assert_eq!(log_in(&mut other, LoginReason::First).await.unwrap().secret(), "same");
    assert_eq!(fleet.logins.started(), logins);
    // The same after a flush.
    fleet.store.flush();
    log_in(&mut service, LoginReason::Expiring).await.unwrap();
    let mut third = layer.layer(fleet.logins.service(login));
    let logins = fleet.logins.started();
    assert_eq!(log_in(&mut third, LoginReason::First).await.unwrap().secret(), "same");
    assert_eq!(fleet.logins.started(), logins);
}

#[tokio::test(start_paused = true)]
async fn issuer_that_returns_the_same_token_leaves_the_record_as_it_is() {
    let fleet = Fleet::default();
    let layer = layer(fleet.store.clone());
    let login = |_| async { Ok(AccessToken::bearer("same")?.with_expires_in(HOUR)) };
    let mut service = layer.layer(fleet.logins.service(login));
    log_in(&mut service, LoginReason::First).await.unwrap();
    let calls = fleet.store.calls();
    log_in(&mut service, LoginReason::Expiring).await.unwrap();
    assert_eq!(fleet.store.calls() - calls, 2, "a claim and a release");
    let mut other = layer.layer(fleet.logins.service(login));
    sleep(secs(60)).await;
    assert_eq!(log_in(&mut other, LoginReason::First).await.unwrap().secret(), "same");
    assert_eq!(fleet.logins.started(), 2);
}
