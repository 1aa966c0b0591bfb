//! Trouble with the login never becomes trouble with requests, and never more than a few logins.

#[path = "support/lifecycle.rs"]
mod harness;

use std::{
    future::{Ready, pending, ready},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use harness::{HOUR, Logins, cause, chain, client, request, secs, send, token};
use tokio::{
    sync::Barrier,
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};
use tower::{Service, ServiceExt};
use tower_auth_refresh::{
    AccessToken, AuthRefresher, Error, LoginError, LoginReason, LoginRequest, NoTokenPolicy, State,
};

#[tokio::test(start_paused = true)]
async fn a_lead_longer_than_the_lifetime_neither_refuses_the_token_nor_storms() {
    let logins = Logins::default();
    let refresher =
        logins.builder(|n| async move { token(n, secs(30)) }).refresh_before_expiry(secs(60)).build().unwrap();
    for _ in 0..300 {
        send(&refresher).await.unwrap();
        sleep(secs(1)).await;
    }
    // One every 22.5 s.
    assert_eq!(logins.started(), 14);
}

#[tokio::test(start_paused = true)]
async fn short_lifetimes_cost_at_most_two_logins_each_and_no_request() {
    for lifetime in [299, 60, 10, 1] {
        let logins = Logins::default();
        let refresher = logins.builder(move |n| async move { token(n, secs(lifetime)) }).jitter(true).build().unwrap();
        let start = Instant::now();
        while start.elapsed() < secs(lifetime * 10) {
            send(&refresher).await.unwrap();
            sleep(Duration::from_millis(100)).await;
        }
        assert!(logins.started() <= 20, "{lifetime} s: {} logins in ten lifetimes", logins.started());
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_that_has_expired_on_arrival_is_a_failed_login_with_growing_pauses() {
    let logins = Logins::default();
    let refresher = logins.refresher(|n| async move { token(n, Duration::ZERO) });
    let start = Instant::now();
    while start.elapsed() < secs(60) {
        let Err(Error::Login(error)) = send(&refresher).await else { panic!("there is no token to send") };
        assert_eq!(error.to_string(), "login returned an expired token");
        sleep(Duration::from_millis(10)).await;
    }
    assert!((5..=8).contains(&logins.started()), "{}", logins.started());
}

#[tokio::test(start_paused = true)]
async fn the_same_token_again_is_used_on_and_asked_for_with_growing_pauses() {
    // As a metadata server does: the cached token until a minute before its end, with what is left of its life.
    let logins = Logins::default();
    let end = Instant::now() + HOUR;
    let refresher = logins.refresher(move |_| async move {
        let now = Instant::now();
        if now < end - secs(60) { token(1, end - now) } else { token(2, HOUR) }
    });
    refresher.ready().await.unwrap();
    sleep_until(end - secs(61)).await;
    assert_eq!(send(&refresher).await.unwrap(), "Bearer t1");
    assert!((2..=4).contains(&logins.started()), "{} logins in the lead", logins.started());
    assert_eq!(refresher.status().generation, 1);
    assert!(refresher.status().consecutive_failures > 0);
    let error = refresher.status().last_error.unwrap();
    assert_eq!(error.to_string(), "login returned the same token");

    sleep_until(end).await;
    assert_eq!(send(&refresher).await.unwrap(), "Bearer t2");
    assert_eq!(refresher.status().consecutive_failures, 0);
}

#[tokio::test(start_paused = true)]
async fn the_same_token_with_a_longer_life_is_progress() {
    let logins = Logins::default();
    let refresher = logins.refresher(|_| async { token(1, HOUR) });
    refresher.ready().await.unwrap();
    sleep(5 * HOUR).await;
    assert_eq!(send(&refresher).await.unwrap(), "Bearer t1");
    assert_eq!(logins.started(), 6);
    assert_eq!((refresher.status().consecutive_failures, refresher.status().generation), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_rejected_token_that_comes_again_is_a_failed_login() {
    let logins = Logins::default();
    let refresher = logins.refresher(|n| async move { if n < 3 { token(1, HOUR) } else { token(2, HOUR) } });
    refresher.ready().await.unwrap();
    sleep(secs(10)).await;
    refresher.invalidate();
    let Err(Error::Login(error)) = send(&refresher).await else { panic!("the rejected token was sent") };
    assert_eq!(error.to_string(), "login returned the same token");
    sleep(secs(1)).await;
    assert_eq!(send(&refresher).await.unwrap(), "Bearer t2");
}

#[tokio::test(start_paused = true)]
async fn a_thousand_requests_at_the_instant_of_expiry_cause_one_login() {
    let logins = Logins::default();
    let start = Instant::now();
    let refresher = logins.refresher(move |n| async move {
        // The refreshes before the end fail.
        if n > 1 && start.elapsed() < secs(60) {
            return Err("no".into());
        }
        sleep(secs(1)).await;
        token(n, secs(60))
    });
    refresher.ready().await.unwrap();
    sleep(secs(50)).await;
    let before = loop {
        // Past the end, and past the pause of the last failure.
        sleep(Duration::from_millis(100)).await;
        if refresher.status().state == State::LoggingIn {
            break logins.started();
        }
    };
    let client = client(&refresher);
    let barrier = Arc::new(Barrier::new(1000));
    let mut tasks = JoinSet::new();
    for _ in 0..1000 {
        let (client, barrier) = (client.clone(), barrier.clone());
        tasks.spawn(async move {
            barrier.wait().await;
            client.oneshot(request()).await.is_ok()
        });
    }
    assert!(tasks.join_all().await.into_iter().all(|sent| sent));
    assert_eq!(logins.started(), before);
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_requests_do_not_flood_a_failing_issuer() {
    let logins = Logins::default();
    let refresher = logins.refresher(|_| async { Err("429".into()) });
    for _ in 0..10_000 {
        assert!(send(&refresher).await.is_err());
        sleep(Duration::from_millis(6)).await;
    }
    // Pauses of 0.5, 1, 2, 4, 8, 16 and 30 s.
    assert_eq!(logins.started(), 7);
}

#[tokio::test(start_paused = true)]
async fn an_issuers_retry_after_is_honoured_for_at_most_five_minutes() {
    for (asked, honoured) in [(30, 30), (3600, 300)] {
        let logins = Logins::default();
        let refresher = logins
            .refresher(move |_| async move { Err(LoginError::transient("429").with_retry_after(secs(asked)).into()) });
        let Err(Error::Login(error)) = send(&refresher).await else { panic!("there is no token") };
        assert_eq!(error.retry_after(), Some(secs(asked)));
        sleep(secs(honoured - 1)).await;
        assert!(send(&refresher).await.is_err());
        assert_eq!(logins.started(), 1);
        sleep(secs(2)).await;
        assert_eq!(logins.started(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn a_permanent_error_costs_one_login_for_each_pause_and_only_if_somebody_asks() {
    let logins = Logins::default();
    let mended = Instant::now() + secs(600);
    let refresher = logins.refresher(move |n| async move {
        if Instant::now() < mended { Err(LoginError::permanent("wrong password").into()) } else { token(n, HOUR) }
    });
    let Err(Error::Login(error)) = send(&refresher).await else { panic!("there is no token") };
    assert!(error.is_permanent());
    assert_eq!(chain(&error), ["login refused", "wrong password"]);

    // Nobody asks: nobody logs in.
    sleep(secs(300)).await;
    assert_eq!(logins.started(), 1);

    // The burst after the pause costs one login.
    for _ in 0..100 {
        assert!(send(&refresher).await.is_err());
    }
    assert_eq!(logins.started(), 2);

    sleep_until(mended).await;
    assert_eq!(send(&refresher).await.unwrap(), "Bearer t3");
}

#[tokio::test(start_paused = true)]
async fn a_permanent_error_is_not_repeated_while_there_is_a_token() {
    let logins = Logins::default();
    let day = 24 * HOUR;
    let mended = Instant::now() + 4 * day + HOUR;
    let refresher = logins
        .builder(move |n| async move {
            if n == 1 || Instant::now() >= mended {
                token(n, 4 * day)
            } else {
                Err(LoginError::permanent("wrong password").into())
            }
        })
        .refresh_before_expiry(12 * HOUR)
        .build()
        .unwrap();
    refresher.ready().await.unwrap();
    sleep(4 * day - secs(1)).await;
    assert_eq!(send(&refresher).await.unwrap(), "Bearer t1");
    assert_eq!(logins.started(), 2);

    // At the token's end the first call asks once more.
    sleep(secs(2)).await;
    assert!(send(&refresher).await.is_err());
    assert_eq!(logins.started(), 3);
    sleep_until(mended).await;
    assert_eq!(send(&refresher).await.unwrap(), "Bearer t4");
}

#[tokio::test(start_paused = true)]
async fn an_issuers_hint_cannot_cause_a_storm() {
    let logins = Logins::default();
    let refresher = logins.refresher(|n| async move { Ok(token(n, HOUR)?.with_refresh_in(Duration::ZERO)) });
    refresher.ready().await.unwrap();
    sleep(24 * HOUR - secs(1)).await;
    assert_eq!(logins.started(), 48);
}

#[tokio::test(start_paused = true)]
async fn a_login_through_its_own_client_by_a_detour_is_bounded_in_time_and_in_causes() {
    // In a task of its own, where nobody can tell that the login waits for itself.
    let own = Arc::new(std::sync::OnceLock::<AuthRefresher>::new());
    let handle = own.clone();
    let refresher = Logins::default().refresher(move |_| {
        let handle = handle.clone();
        async move { tokio::spawn(async move { handle.get().unwrap().token().await.map_err(Into::into) }).await? }
    });
    own.set(refresher.clone()).unwrap();
    for _ in 0..200 {
        let start = Instant::now();
        let error = refresher.token().await.unwrap_err();
        assert!(start.elapsed() <= secs(11));
        assert!(chain(&error).len() <= 20, "{} causes", chain(&error).len());
        sleep(secs(60)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_may_do_as_it_likes_when_it_is_dropped() {
    struct Curious(Arc<std::sync::OnceLock<AuthRefresher>>);
    impl std::fmt::Debug for Curious {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("Curious")
        }
    }
    impl std::fmt::Display for Curious {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("curious")
        }
    }
    impl std::error::Error for Curious {}
    impl Drop for Curious {
        fn drop(&mut self) {
            let _ = self.0.get().map(AuthRefresher::status);
        }
    }
    let own = Arc::new(std::sync::OnceLock::new());
    let handle = own.clone();
    let refresher = Logins::default().refresher(move |n| {
        let error = Curious(handle.clone());
        async move { if n < 3 { Err(error.into()) } else { token(n, HOUR) } }
    });
    own.set(refresher.clone()).unwrap();
    refresher.ready().await.unwrap_err();
    sleep(secs(10)).await;
    refresher.ready().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_login_may_use_another_refreshers_token() {
    let other = Logins::default().refresher(|_| async { token(7, HOUR) });
    let refresher = Logins::default().refresher(move |_| {
        let other = other.clone();
        async move { Ok(other.token().await?) }
    });
    assert_eq!(send(&refresher).await.unwrap(), "Bearer t7");
}

#[tokio::test(start_paused = true)]
async fn another_refreshers_shutdown_is_not_this_ones() {
    let other = Logins::default().refresher(|_| async { token(7, HOUR) });
    other.shutdown();
    let refresher = Logins::default().refresher(move |_| {
        let other = other.clone();
        async move { Ok(other.token().await?) }
    });
    let error = refresher.token().await.unwrap_err();
    assert!(!error.is_shut_down() && !error.is_permanent());
    assert_eq!(chain(&error), ["login failed", "refresher shut down"]);
}

#[tokio::test(start_paused = true)]
async fn a_permanent_error_is_known_through_other_layers() {
    #[derive(Debug)]
    struct Wrapped(LoginError);
    impl std::fmt::Display for Wrapped {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("wrapped")
        }
    }
    impl std::error::Error for Wrapped {
        fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
            Some(&self.0)
        }
    }
    let refresher = Logins::default()
        .refresher(|_| async { Err(Wrapped(LoginError::permanent("no").with_retry_after(secs(7))).into()) });
    let error = refresher.token().await.unwrap_err();
    assert!(error.is_permanent());
    assert_eq!(error.retry_after(), Some(secs(7)));
    assert_eq!(chain(&error), ["login refused", "wrapped", "login refused", "no"]);
}

#[tokio::test(start_paused = true)]
async fn without_a_token_requests_do_as_the_policy_says_and_the_expiry_is_never_altered() {
    for policy in
        [NoTokenPolicy::Fail, NoTokenPolicy::SendUnauthenticated, NoTokenPolicy::ServeStale { max_stale: secs(120) }]
    {
        let logins = Logins::default();
        let refresher = logins
            .builder(|n| async move { if n == 1 { token(n, secs(60)) } else { Err("down".into()) } })
            .no_token_policy(policy)
            .build()
            .unwrap();
        // The inner service of the harness fails without a token.
        let sent = || async { send(&refresher).await.map_err(cause) };
        assert_eq!(sent().await.unwrap(), "Bearer t1");
        let expiry = refresher.status().expires;
        sleep(secs(59)).await;
        assert_eq!(sent().await.unwrap(), "Bearer t1");
        sleep(secs(2)).await;
        let after_the_end = sent().await;
        let state = refresher.status().state;
        sleep(secs(118)).await;
        let before_the_grace_ends = sent().await;
        sleep(secs(2)).await;
        let after_the_grace = sent().await;
        assert_eq!(refresher.status().expires, expiry);

        let failed = Err("login failed".to_owned());
        let unauthenticated = Err("no token".to_owned());
        let stale = Ok("Bearer t1".to_owned());
        match policy {
            NoTokenPolicy::Fail => {
                assert_eq!([&after_the_end, &before_the_grace_ends, &after_the_grace], [&failed; 3]);
            }
            NoTokenPolicy::SendUnauthenticated => {
                assert_eq!([&after_the_end, &before_the_grace_ends, &after_the_grace], [&unauthenticated; 3]);
            }
            _ => {
                assert_eq!([&after_the_end, &before_the_grace_ends, &after_the_grace], [&stale, &stale, &failed]);
                assert_eq!(state, State::Stale);
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_sends_unauthenticated_waits_for_the_first_login_and_obeys_a_shutdown() {
    let logins = Logins::default();
    let refresher = logins
        .builder(|n| async move {
            sleep(secs(1)).await;
            token(n, HOUR)
        })
        .no_token_policy(NoTokenPolicy::SendUnauthenticated)
        .build()
        .unwrap();
    assert_eq!(send(&refresher).await.unwrap(), "Bearer t1");
    refresher.shutdown();
    assert!(matches!(send(&refresher).await, Err(Error::Login(error)) if error.is_shut_down()));
}

#[tokio::test(start_paused = true)]
async fn both_limits_tell_themselves_and_the_last_cause() {
    let logins = Logins::default();
    let refresher = logins.refresher(|n| async move { if n == 1 { Err("down".into()) } else { pending().await } });
    assert!(send(&refresher).await.is_err());
    sleep(secs(1)).await;

    let error = refresher.token().await.unwrap_err();
    assert!(error.is_timeout());
    assert_eq!(chain(&error), ["wait for a token timed out after 10s", "login failed", "down"]);

    // However many attempts hang, the cause before them is kept, and nothing besides.
    sleep(secs(300)).await;
    let error = refresher.status().last_error.unwrap();
    assert!(error.is_timeout());
    assert_eq!(chain(&error), ["login timed out after 30s", "login failed", "down"]);
}

#[tokio::test(start_paused = true)]
async fn a_login_service_that_panics_anywhere_has_failed_and_is_used_again() {
    /// Panics when made ready, then when called, then when polled.
    struct Panicky(usize);
    impl Service<LoginRequest> for Panicky {
        type Response = AccessToken;
        type Error = std::convert::Infallible;
        type Future = Ready<Result<AccessToken, Self::Error>>;
        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
            self.0 += 1;
            assert!(self.0 != 1, "not made ready");
            Poll::Ready(Ok(()))
        }
        fn call(&mut self, _: LoginRequest) -> Self::Future {
            assert!(self.0 != 2, "not called");
            ready(Ok(AccessToken::bearer("abc").unwrap()))
        }
    }
    let refresher = AuthRefresher::builder(Panicky(0)).rng(|| 0).build().unwrap();
    for _ in 0..2 {
        assert_eq!(cause(send(&refresher).await.unwrap_err()), "login service panicked");
        sleep(Duration::from_millis(600)).await;
    }
    sleep(secs(1)).await;
    assert_eq!(send(&refresher).await.unwrap(), "Bearer abc");
}

#[tokio::test(start_paused = true)]
async fn an_issuer_that_is_down_at_start_up_is_no_lasting_trouble() {
    let logins = Logins::default();
    let refresher = logins.refresher(|n| async move { if n == 1 { Err("down".into()) } else { token(n, HOUR) } });
    assert_eq!(chain(&refresher.ready().await.unwrap_err()), ["login failed", "down"]);
    sleep(secs(1)).await;
    refresher.ready().await.unwrap();
    assert_eq!(send(&refresher).await.unwrap(), "Bearer t2");
}

#[tokio::test(start_paused = true)]
async fn a_seed_token_is_used_until_it_is_refreshed() {
    let logins = Logins::default();
    let seed = token(0, HOUR).unwrap();
    let refresher = logins.builder(|n| async move { token(n, HOUR) }).initial_token(seed).build().unwrap();
    assert_eq!(send(&refresher).await.unwrap(), "Bearer t0");
    assert_eq!(logins.started(), 0);
    sleep(HOUR - secs(299)).await;
    assert_eq!(send(&refresher).await.unwrap(), "Bearer t1");
    assert_eq!(logins.requests()[0].reason, LoginReason::Expiring);
}

#[tokio::test(start_paused = true)]
async fn a_seed_token_that_has_expired_is_not_used() {
    let logins = Logins::default();
    let seed = token(0, secs(60)).unwrap();
    let refresher = logins.builder(|n| async move { token(n, HOUR) }).initial_token(seed).build().unwrap();
    sleep(secs(60)).await;
    assert_eq!(send(&refresher).await.unwrap(), "Bearer t1");
}

#[tokio::test(start_paused = true)]
async fn a_seed_token_can_be_invalidated_before_its_first_use() {
    let logins = Logins::default();
    let seed = token(0, HOUR).unwrap();
    let refresher = logins.builder(|n| async move { token(n, HOUR) }).initial_token(seed).build().unwrap();
    refresher.invalidate();
    assert_eq!(send(&refresher).await.unwrap(), "Bearer t1");
}

#[tokio::test(start_paused = true)]
async fn jitter_is_drawn_from_the_given_source_and_makes_refreshes_earlier_only() {
    for (draw, refresh) in [(0, 3300), (u64::MAX / 2, 3285), (u64::MAX, 3270)] {
        let logins = Logins::default();
        let refresher =
            logins.builder(|n| async move { token(n, HOUR) }).jitter(true).rng(move || draw).build().unwrap();
        refresher.ready().await.unwrap();
        sleep(secs(refresh - 1)).await;
        assert_eq!(logins.started(), 1, "{draw}");
        sleep(secs(2)).await;
        assert_eq!(logins.started(), 2, "{draw}");
    }
}

#[test]
fn a_setting_that_makes_no_sense_is_named() {
    let builder = || AuthRefresher::builder(Logins::default().service(|n| async move { token(n, HOUR) }));
    let day = 24 * HOUR;
    for (builder, told) in [
        (builder().login_timeout(Duration::ZERO), "`login_timeout` must be more than zero"),
        (builder().login_timeout(day + secs(1)), "`login_timeout` must be at most 24 hours"),
        (builder().wait_timeout(Duration::ZERO), "`wait_timeout` must be more than zero"),
        (builder().wait_timeout(Duration::MAX), "`wait_timeout` must be at most 24 hours"),
        (builder().backoff(Duration::ZERO, secs(1)), "`backoff` must be more than zero"),
        (builder().backoff(secs(1), Duration::MAX), "`backoff` must be at most 24 hours"),
        (builder().backoff(secs(2), secs(1)), "`backoff` must have a minimum not above its maximum"),
        (builder().default_lifetime(Duration::ZERO), "`default_lifetime` must be more than zero"),
    ] {
        assert_eq!(builder.build().unwrap_err().to_string(), told);
    }
    let extreme = builder()
        .login_timeout(day)
        .wait_timeout(day)
        .backoff(day, day)
        .refresh_before_expiry(Duration::MAX)
        .default_lifetime(Duration::MAX)
        .pause_when_idle(Duration::MAX)
        .no_token_policy(NoTokenPolicy::ServeStale { max_stale: Duration::MAX });
    assert!(extreme.build().is_ok());
}
