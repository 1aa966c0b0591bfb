//! Clocks that stop, jump or are wrong, and every kind of expiry.
#![cfg(feature = "jwt")]

use std::time::{Duration, SystemTime};

use crate::support::{HOUR, MockLogin, TestClock, secs, send, token};
use jsonwebtoken::{EncodingKey, Header, encode};
use tokio::time::sleep;
use tower_auth_refresh::{AccessToken, BoxError, Clock, Expiry, LoginError};

#[tokio::test(start_paused = true)]
async fn token_expired_in_suspend_is_replaced_at_clock_check() {
    let (logins, clock) = (MockLogin::default(), TestClock::default());
    let refresher =
        logins.builder(|n| async move { token(n, HOUR) }).clock(clock.clone()).build().unwrap();
    assert_eq!(send(&refresher).await.unwrap(), "Bearer t1");
    // The machine is suspended: only the wall clock advances.
    clock.advance(5 * HOUR);
    sleep(secs(15) + Duration::from_millis(1)).await;
    assert_eq!(send(&refresher).await.unwrap(), "Bearer t2");
    assert_eq!(logins.started(), 2);
}

#[tokio::test(start_paused = true)]
async fn clock_set_back_does_not_extend_token() {
    let (logins, clock) = (MockLogin::default(), TestClock::default());
    let refresher = logins
        .builder(|n| async move { if n == 1 { token(n, HOUR) } else { Err("down".into()) } })
        .clock(clock.clone())
        .build()
        .unwrap();
    refresher.ready().await.unwrap();
    clock.rewind(HOUR);
    sleep(HOUR - secs(1)).await;
    assert_eq!(send(&refresher).await.unwrap(), "Bearer t1");
    sleep(secs(2)).await;
    assert!(send(&refresher).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn clock_jump_costs_one_login_and_fails_no_request() {
    for (direction, jump) in
        [("forward", TestClock::advance as fn(&TestClock, Duration)), ("back", TestClock::rewind)]
    {
        let (logins, clock) = (MockLogin::default(), TestClock::default());
        let refresher =
            logins.builder(|n| async move { token(n, HOUR) }).clock(clock.clone()).build().unwrap();
        refresher.ready().await.unwrap();
        sleep(secs(600)).await;
        jump(&clock, HOUR);
        for _ in 0..60 {
            send(&refresher).await.unwrap();
            sleep(secs(1)).await;
        }
        assert!(logins.started() <= 2, "jump {direction}: {} logins", logins.started());
    }
}

/// Returns a JWT that an issuer signs at this time of its own clock.
fn jwt(n: usize, issued_at: SystemTime, lifetime: u64) -> String {
    let iat = issued_at.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let claims = serde_json::json!({ "iat": iat, "exp": iat + lifetime, "n": n });
    encode(&Header::default(), &claims, &EncodingKey::from_secret(b"key")).unwrap()
}

#[tokio::test(start_paused = true)]
async fn wrong_clock_at_login_causes_no_outage_and_no_storm() {
    for (direction, set) in
        [("ahead", TestClock::advance as fn(&TestClock, Duration)), ("behind", TestClock::rewind)]
    {
        for server_time_is_known in [true, false] {
            let (logins, issuer, local) =
                (MockLogin::default(), TestClock::default(), TestClock::default());
            set(&local, HOUR);
            let clocks = (issuer.clone(), local.clone());
            let refresher = logins
                .builder(move |n| {
                    let (issuer, local) = (clocks.0.now(), clocks.1.now());
                    let jwt = jwt(n, issuer, 1800);
                    let server_time = server_time_is_known.then_some(issuer);
                    async move {
                        let expiry = Expiry::from_jwt(&jwt, server_time, local);
                        Ok(AccessToken::raw(jwt)?.with_expiry(expiry))
                    }
                })
                .clock(local.clone())
                .build()
                .unwrap();
            for _ in 0..3600 {
                send(&refresher).await.unwrap();
                sleep(secs(1)).await;
            }
            assert_eq!(
                logins.started(),
                3,
                "clock {direction}, server time known: {server_time_is_known}"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn lifetime_counts_from_start_of_login() {
    let logins = MockLogin::default();
    let refresher = logins
        .builder(|n| async move {
            if n > 1 {
                return Err("down".into());
            }
            sleep(secs(50)).await;
            token(n, secs(60))
        })
        .login_timeout(secs(90))
        .wait_timeout(secs(90))
        .build()
        .unwrap();
    refresher.ready().await.unwrap();
    sleep(secs(9)).await;
    assert_eq!(send(&refresher).await.unwrap(), "Bearer t1");
    sleep(secs(2)).await;
    assert!(send(&refresher).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn distant_or_missing_expiry_causes_no_extra_login() {
    let clock = TestClock::default();
    let now = clock.now();
    for (expiry, logins_in_a_day) in [
        (Expiry::Never, 1),
        (Expiry::Unknown, 1),
        (Expiry::In(secs(u64::MAX)), 1),
        (Expiry::In(Duration::MAX), 1),
        (Expiry::At(now + Duration::from_secs(253_402_300_799 - 1_800_000_000)), 1),
        // The refresh is due in the last minutes of the day, after this test.
        (Expiry::At(now + secs(86_400)), 1),
    ] {
        let logins = MockLogin::default();
        let refresher = logins
            .builder(move |n| async move {
                Ok(AccessToken::bearer(format!("t{n}"))?.with_expiry(expiry))
            })
            .clock(clock.clone())
            .build()
            .unwrap();
        for _ in 0..23 {
            send(&refresher).await.unwrap();
            sleep(HOUR).await;
        }
        clock.rewind(23 * HOUR);
        assert_eq!(logins.started(), logins_in_a_day, "{expiry:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn unknown_expiry_is_refreshed_after_default_lifetime() {
    let logins = MockLogin::default();
    let refresher = logins
        .builder(|n| async move { Ok::<_, BoxError>(AccessToken::bearer(format!("t{n}"))?) })
        .default_lifetime(HOUR)
        .build()
        .unwrap();
    refresher.ready().await.unwrap();
    sleep(HOUR).await;
    assert_eq!(send(&refresher).await.unwrap(), "Bearer t2");
    assert_eq!(refresher.status().expires, Some(Expiry::Unknown));
}

#[tokio::test(start_paused = true)]
async fn refresh_hint_sets_time_of_refresh() {
    let logins = MockLogin::default();
    let refresher =
        logins.refresher(|n| async move { Ok(token(n, HOUR)?.with_refresh_in(secs(2400))) });
    refresher.ready().await.unwrap();
    sleep(secs(2399)).await;
    assert_eq!(logins.started(), 1);
    sleep(secs(2)).await;
    assert_eq!(logins.started(), 2);
}

#[tokio::test(start_paused = true)]
async fn suspended_machine_keeps_the_retries_of_a_permanent_error() {
    let (logins, clock) = (MockLogin::default(), TestClock::default());
    let login = |n| async move {
        if n == 2 { Err(LoginError::permanent("invalid_client").into()) } else { token(n, HOUR) }
    };
    let refresher = logins.builder(login).clock(clock.clone()).build().unwrap();
    refresher.ready().await.unwrap();
    sleep(secs(3301)).await;
    assert_eq!(logins.started(), 2);
    // 100 of the last 300 seconds remain after the machine was suspended, which is past the time of the first retry.
    clock.advance(secs(200));
    sleep(secs(90)).await;
    assert_eq!(logins.started(), 3);
}
