//! Failed logins and unusual tokens: requests do not fail while a token lives, and the issuer sees few logins.

use std::{
    future::{Ready, pending, ready},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    task::{Context, Poll},
    time::Duration,
};

use crate::support::{HOUR, MockLogin, cause, chain, client, request, secs, send, token};
use tokio::{
    sync::Barrier,
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};
use tower::{Service, ServiceExt};
use tower_auth_refresh::{
    AccessToken, AuthRefresher, Error, Expiry, LoginError, LoginReason, LoginRequest,
    NoTokenPolicy, State,
};

#[tokio::test(start_paused = true)]
async fn lead_longer_than_lifetime_causes_no_login_storm() {
    let logins = MockLogin::default();
    let refresher = logins
        .builder(|n| async move { token(n, secs(30)) })
        .refresh_before_expiry(secs(60))
        .build()
        .unwrap();
    for _ in 0..300 {
        send(&refresher).await.unwrap();
        sleep(secs(1)).await;
    }
    // One login every 22.5 s.
    assert_eq!(logins.started(), 14);
}

#[tokio::test(start_paused = true)]
async fn short_lifetime_costs_two_logins_and_fails_no_request() {
    for lifetime in [299, 60, 10, 1] {
        let logins = MockLogin::default();
        let refresher = logins
            .builder(move |n| async move { token(n, secs(lifetime)) })
            .jitter(true)
            .build()
            .unwrap();
        let start = Instant::now();
        while start.elapsed() < secs(lifetime * 10) {
            send(&refresher).await.unwrap();
            sleep(Duration::from_millis(100)).await;
        }
        assert!(
            logins.started() <= 20,
            "{lifetime} s: {} logins in ten lifetimes",
            logins.started()
        );
    }
}

#[tokio::test(start_paused = true)]
async fn token_expired_on_arrival_counts_as_failed_login() {
    let logins = MockLogin::default();
    let refresher = logins.refresher(|n| async move { token(n, Duration::ZERO) });
    let start = Instant::now();
    while start.elapsed() < secs(60) {
        let Err(Error::Login(error)) = send(&refresher).await else { panic!("unexpected token") };
        assert_eq!(error.to_string(), "login returned an expired token");
        sleep(Duration::from_millis(10)).await;
    }
    assert!((5..=8).contains(&logins.started()), "{}", logins.started());
}

#[tokio::test(start_paused = true)]
async fn unchanged_token_stays_in_use_and_login_backs_off() {
    // Metadata servers do this: they return a cached token with its remaining lifetime, until a minute before its
    // expiry.
    let logins = MockLogin::default();
    let expires_at = Instant::now() + HOUR;
    let refresher = logins.refresher(move |_| async move {
        let now = Instant::now();
        if now < expires_at - secs(60) { token(1, expires_at - now) } else { token(2, HOUR) }
    });
    refresher.ready().await.unwrap();
    sleep_until(expires_at - secs(61)).await;
    assert_eq!(send(&refresher).await.unwrap(), "Bearer t1");
    assert!((2..=4).contains(&logins.started()), "{} logins during the lead", logins.started());
    assert_eq!(refresher.status().generation, 1);
    assert!(refresher.status().consecutive_failures > 0);
    let error = refresher.status().last_error.unwrap();
    assert_eq!(error.to_string(), "login returned the same token");

    sleep_until(expires_at).await;
    assert_eq!(send(&refresher).await.unwrap(), "Bearer t2");
    assert_eq!(refresher.status().consecutive_failures, 0);
}

#[tokio::test(start_paused = true)]
async fn refresh_succeeds_if_issuer_returns_its_cached_token() {
    let logins = MockLogin::default();
    let expires_at = Instant::now() + HOUR;
    let refresher = logins.refresher(move |_| async move { token(1, expires_at - Instant::now()) });
    refresher.ready().await.unwrap();
    sleep(secs(600)).await;
    // The second call is in the pause after the first, and starts no login.
    for _ in 0..2 {
        let refreshed = refresher.refresh().await.unwrap();
        assert_eq!(refreshed.token.header_value(), "Bearer t1");
        assert_eq!((refresher.status().generation, logins.started()), (1, 2));
    }
}

#[tokio::test(start_paused = true)]
async fn unchanged_token_with_later_expiry_counts_as_success() {
    let logins = MockLogin::default();
    let refresher = logins.refresher(|_| async { token(1, HOUR) });
    refresher.ready().await.unwrap();
    sleep(5 * HOUR).await;
    assert_eq!(send(&refresher).await.unwrap(), "Bearer t1");
    assert_eq!(logins.started(), 6);
    assert_eq!((refresher.status().consecutive_failures, refresher.status().generation), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn reissued_rejected_token_counts_as_failed_login() {
    let logins = MockLogin::default();
    let refresher =
        logins.refresher(|n| async move { if n < 3 { token(1, HOUR) } else { token(2, HOUR) } });
    refresher.ready().await.unwrap();
    sleep(secs(10)).await;
    refresher.invalidate();
    let Err(Error::Login(error)) = send(&refresher).await else {
        panic!("the layer sent the rejected token")
    };
    assert_eq!(error.to_string(), "login returned the same token");
    sleep(secs(1)).await;
    assert_eq!(send(&refresher).await.unwrap(), "Bearer t2");
}

#[tokio::test(start_paused = true)]
async fn reissued_token_without_expiry_is_used_again_at_once() {
    // An issuer whose token never expires has no other.
    let logins = MockLogin::default();
    let refresher = logins.refresher(|_| async { Ok(token(1, HOUR)?.with_expiry(Expiry::Never)) });
    refresher.ready().await.unwrap();
    sleep(secs(10)).await;
    refresher.invalidate();
    assert_eq!(send(&refresher).await.unwrap(), "Bearer t1");
    assert_eq!(logins.started(), 2);
}

#[tokio::test(start_paused = true)]
async fn thousand_requests_at_expiry_cause_one_login() {
    let logins = MockLogin::default();
    let start = Instant::now();
    let refresher = logins.refresher(move |n| async move {
        // All refreshes before the expiry fail.
        if n > 1 && start.elapsed() < secs(60) {
            return Err("no".into());
        }
        sleep(secs(1)).await;
        token(n, secs(60))
    });
    refresher.ready().await.unwrap();
    sleep(secs(50)).await;
    let before = loop {
        // Wait for the expiry and for the end of the last backoff.
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
    assert!(tasks.join_all().await.into_iter().all(|is_ok| is_ok));
    assert_eq!(logins.started(), before);
}

#[tokio::test(start_paused = true)]
async fn failing_issuer_under_load_sees_few_logins() {
    let logins = MockLogin::default();
    let refresher = logins.refresher(|_| async { Err("429".into()) });
    for _ in 0..10_000 {
        assert!(send(&refresher).await.is_err());
        sleep(Duration::from_millis(6)).await;
    }
    // The pauses are 0.5, 1, 2, 4, 8, 16 and 30 s.
    assert_eq!(logins.started(), 7);
}

#[tokio::test(start_paused = true)]
async fn retry_after_is_followed_for_at_most_five_minutes() {
    for (retry_after, pause) in [(30, 30), (3600, 300)] {
        let logins = MockLogin::default();
        let refresher = logins.refresher(move |_| async move {
            Err(LoginError::transient("429").with_retry_after(secs(retry_after)).into())
        });
        let Err(Error::Login(error)) = send(&refresher).await else { panic!("unexpected token") };
        assert_eq!(error.retry_after(), Some(secs(retry_after)));
        sleep(secs(pause - 1)).await;
        assert!(send(&refresher).await.is_err());
        assert_eq!(logins.started(), 1);
        sleep(secs(2)).await;
        assert_eq!(logins.started(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn permanent_error_is_retried_on_demand_once_per_pause() {
    let logins = MockLogin::default();
    let corrected_at = Instant::now() + secs(600);
    let refresher = logins.refresher(move |n| async move {
        if Instant::now() < corrected_at {
            Err(LoginError::permanent("wrong password").into())
        } else {
            token(n, HOUR)
        }
    });
    let Err(Error::Login(error)) = send(&refresher).await else { panic!("unexpected token") };
    assert!(error.is_permanent());
    assert_eq!(chain(&error), ["login failed", "permanent failure", "wrong password"]);

    // Without a request the worker does not log in.
    sleep(secs(300)).await;
    assert_eq!(logins.started(), 1);

    // The burst of requests after the pause causes one login.
    for _ in 0..100 {
        assert!(send(&refresher).await.is_err());
    }
    assert_eq!(logins.started(), 2);

    sleep_until(corrected_at).await;
    assert_eq!(send(&refresher).await.unwrap(), "Bearer t3");
}

#[tokio::test(start_paused = true)]
async fn permanent_error_with_live_token_is_retried_twice() {
    let logins = MockLogin::default();
    let day = 24 * HOUR;
    let corrected_at = Instant::now() + 4 * day + HOUR;
    let refresher = logins
        .builder(move |n| async move {
            if n == 1 || Instant::now() >= corrected_at {
                token(n, 4 * day)
            } else {
                Err(LoginError::permanent("wrong password").into())
            }
        })
        .refresh_before_expiry(12 * HOUR)
        .build()
        .unwrap();
    refresher.ready().await.unwrap();
    let start = Instant::now();
    // Half-way, and shortly before the token expires: at 6 and 10.5 of the last 12 hours.
    for (hours, expected) in [(83, 1), (85, 2), (89, 2), (91, 3), (94, 3), (95, 4)] {
        sleep_until(start + hours * HOUR).await;
        assert_eq!(send(&refresher).await.unwrap(), "Bearer t1");
        assert_eq!(logins.started(), expected, "after {hours} hours");
    }
    sleep_until(start + 4 * day + secs(1)).await;
    assert_eq!(logins.started(), 4);

    // After the token has expired, the first request causes a login.
    assert!(send(&refresher).await.is_err());
    assert_eq!(logins.started(), 5);
    sleep_until(corrected_at).await;
    assert_eq!(send(&refresher).await.unwrap(), "Bearer t6");
}

#[tokio::test(start_paused = true)]
async fn transient_errors_do_not_restart_retry_count() {
    let (logins, permanent_errors) = (MockLogin::default(), Arc::new(AtomicUsize::new(0)));
    let counted = permanent_errors.clone();
    let login = move |n| {
        let permanent_errors = counted.clone();
        async move {
            if n > 1 && n % 2 == 0 {
                permanent_errors.fetch_add(1, SeqCst);
                return Err(LoginError::permanent("wrong password").into());
            }
            if n == 1 { token(n, 24 * HOUR) } else { Err("network".into()) }
        }
    };
    let refresher = logins.builder(login).refresh_before_expiry(6 * HOUR).build().unwrap();
    refresher.ready().await.unwrap();
    sleep(24 * HOUR - secs(1)).await;
    assert!(
        (2..=3).contains(&permanent_errors.load(SeqCst)),
        "{permanent_errors:?} of {}",
        logins.started()
    );
}

#[tokio::test(start_paused = true)]
async fn request_for_a_longer_life_does_not_retry_a_permanent_error() {
    let logins = MockLogin::default();
    let refresher = logins.refresher(|n| async move {
        if n == 1 { token(n, HOUR) } else { Err(LoginError::permanent("wrong password").into()) }
    });
    refresher.ready().await.unwrap();
    for _ in 0..3598 {
        assert_eq!(refresher.token_valid_for(secs(900)).await.unwrap().secret(), "t1");
        sleep(secs(1)).await;
    }
    assert_eq!(logins.started(), 4);
    assert!(refresher.refresh().await.is_err());
    assert_eq!(logins.started(), 5, "the application still can");
}

#[tokio::test(start_paused = true)]
async fn spurious_permanent_error_does_not_outlive_the_token() {
    let logins = MockLogin::default();
    let refresher = logins.refresher(|n| async move {
        if n == 2 { Err(LoginError::permanent("invalid_client").into()) } else { token(n, HOUR) }
    });
    refresher.ready().await.unwrap();
    for _ in 0..120 {
        sleep(secs(60)).await;
        send(&refresher).await.unwrap();
        assert_ne!(refresher.status().state, State::Failed);
    }
}

#[tokio::test(start_paused = true)]
async fn permanent_error_with_stale_token_is_retried_by_calls_only() {
    let logins = MockLogin::default();
    let corrected_at = Instant::now() + 12 * HOUR;
    let refresher = logins
        .builder(move |n| async move {
            if n == 1 || Instant::now() >= corrected_at {
                token(n, HOUR)
            } else {
                Err(LoginError::permanent("wrong password").into())
            }
        })
        .no_token_policy(NoTokenPolicy::ServeStale { max_stale: 24 * HOUR })
        .build()
        .unwrap();
    send(&refresher).await.unwrap();
    sleep(11 * HOUR).await;
    assert_eq!(logins.started(), 4, "the refresh and two retries, while the token lived");
    // Each call is served at once. One causes a retry, and the others within the pause do not.
    for _ in 0..10 {
        let start = Instant::now();
        assert_eq!(send(&refresher).await.unwrap(), "Bearer t1");
        assert_eq!(start.elapsed(), Duration::ZERO);
        sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(logins.started(), 5);
    sleep_until(corrected_at).await;
    assert_eq!(logins.started(), 5);
    assert_eq!(send(&refresher).await.unwrap(), "Bearer t1");
    sleep(Duration::from_millis(1)).await;
    assert_eq!(send(&refresher).await.unwrap(), "Bearer t6");
}

#[tokio::test(start_paused = true)]
async fn zero_refresh_hint_causes_no_login_storm() {
    let logins = MockLogin::default();
    let refresher =
        logins.refresher(|n| async move { Ok(token(n, HOUR)?.with_refresh_in(Duration::ZERO)) });
    refresher.ready().await.unwrap();
    sleep(24 * HOUR - secs(1)).await;
    assert_eq!(logins.started(), 48);
}

#[tokio::test(start_paused = true)]
async fn reentrant_login_in_task_times_out_with_few_causes() {
    // In a spawned task the refresher cannot detect that the login waits for itself.
    let self_handle = Arc::new(std::sync::OnceLock::<AuthRefresher>::new());
    let handle = self_handle.clone();
    let refresher = MockLogin::default().refresher(move |_| {
        let handle = handle.clone();
        async move {
            tokio::spawn(async move { handle.get().unwrap().token().await.map_err(Into::into) })
                .await?
        }
    });
    self_handle.set(refresher.clone()).unwrap();
    for _ in 0..200 {
        let start = Instant::now();
        let error = refresher.token().await.unwrap_err();
        assert!(start.elapsed() <= secs(11));
        assert!(chain(&error).len() <= 20, "{} causes", chain(&error).len());
        sleep(secs(60)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn error_drop_can_call_refresher_without_deadlock() {
    struct StatusOnDrop(Arc<std::sync::OnceLock<AuthRefresher>>);
    impl std::fmt::Debug for StatusOnDrop {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("StatusOnDrop")
        }
    }
    impl std::fmt::Display for StatusOnDrop {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("calls status on drop")
        }
    }
    impl std::error::Error for StatusOnDrop {}
    impl Drop for StatusOnDrop {
        fn drop(&mut self) {
            let _ = self.0.get().map(AuthRefresher::status);
        }
    }
    let self_handle = Arc::new(std::sync::OnceLock::new());
    let handle = self_handle.clone();
    let refresher = MockLogin::default().refresher(move |n| {
        let error = StatusOnDrop(handle.clone());
        async move { if n < 3 { Err(error.into()) } else { token(n, HOUR) } }
    });
    self_handle.set(refresher.clone()).unwrap();
    refresher.ready().await.unwrap_err();
    sleep(secs(10)).await;
    refresher.ready().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn login_can_use_token_of_another_refresher() {
    let other = MockLogin::default().refresher(|_| async { token(7, HOUR) });
    let refresher = MockLogin::default().refresher(move |_| {
        let other = other.clone();
        async move { Ok(other.token().await?) }
    });
    assert_eq!(send(&refresher).await.unwrap(), "Bearer t7");
}

#[tokio::test(start_paused = true)]
async fn shutdown_of_another_refresher_is_transient_error() {
    let other = MockLogin::default().refresher(|_| async { token(7, HOUR) });
    other.shutdown();
    let refresher = MockLogin::default().refresher(move |_| {
        let other = other.clone();
        async move { Ok(other.token().await?) }
    });
    let error = refresher.token().await.unwrap_err();
    assert!(!error.is_shut_down() && !error.is_permanent());
    assert_eq!(chain(&error), ["login failed", "refresher shut down"]);
}

#[tokio::test(start_paused = true)]
async fn wrapped_permanent_error_is_recognized() {
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
    let refresher = MockLogin::default().refresher(|_| async {
        Err(Wrapped(LoginError::permanent("no").with_retry_after(secs(7))).into())
    });
    let error = refresher.token().await.unwrap_err();
    assert!(error.is_permanent());
    assert_eq!(error.retry_after(), Some(secs(7)));
    let advice = "permanent failure, retry after 7s";
    assert_eq!(chain(&error), ["login failed", "wrapped", "login failed", advice, "no"]);
}

#[tokio::test(start_paused = true)]
async fn request_without_token_follows_no_token_policy() {
    for policy in [
        NoTokenPolicy::Fail,
        NoTokenPolicy::SendUnauthenticated,
        NoTokenPolicy::ServeStale { max_stale: secs(120) },
    ] {
        let logins = MockLogin::default();
        let refresher = logins
            .builder(
                |n| async move { if n == 1 { token(n, secs(60)) } else { Err("down".into()) } },
            )
            .no_token_policy(policy)
            .build()
            .unwrap();
        // The inner service of `send` fails without a token.
        let send = || async { send(&refresher).await.map_err(cause) };
        assert_eq!(send().await.unwrap(), "Bearer t1");
        let expiry = refresher.status().expires;
        sleep(secs(59)).await;
        assert_eq!(send().await.unwrap(), "Bearer t1");
        sleep(secs(2)).await;
        let after_expiry = send().await;
        let state = refresher.status().state;
        sleep(secs(118)).await;
        let during_max_stale = send().await;
        sleep(secs(2)).await;
        let after_max_stale = send().await;
        assert_eq!(refresher.status().expires, expiry);

        let failed = Err("login failed".to_owned());
        let unauthenticated = Err("no token".to_owned());
        let stale = Ok("Bearer t1".to_owned());
        match policy {
            NoTokenPolicy::Fail => {
                assert_eq!([&after_expiry, &during_max_stale, &after_max_stale], [&failed; 3]);
            }
            NoTokenPolicy::SendUnauthenticated => {
                assert_eq!(
                    [&after_expiry, &during_max_stale, &after_max_stale],
                    [&unauthenticated; 3]
                );
            }
            _ => {
                assert_eq!(
                    [&after_expiry, &during_max_stale, &after_max_stale],
                    [&stale, &stale, &failed]
                );
                assert_eq!(state, State::Stale);
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn send_unauthenticated_waits_for_login_obeys_shutdown() {
    let logins = MockLogin::default();
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
async fn timeouts_report_limit_and_last_cause() {
    let logins = MockLogin::default();
    let refresher = logins
        .refresher(|n| async move { if n == 1 { Err("down".into()) } else { pending().await } });
    assert!(send(&refresher).await.is_err());
    sleep(secs(1)).await;

    let error = refresher.token().await.unwrap_err();
    assert!(error.is_timeout());
    assert_eq!(chain(&error), ["wait for a token timed out after 10s", "login failed", "down"]);

    // After many attempts that hang, the chain contains only the cause before them.
    sleep(secs(300)).await;
    let error = refresher.status().last_error.unwrap();
    assert!(error.is_timeout());
    assert_eq!(chain(&error), ["login timed out after 30s", "login failed", "down"]);
}

#[tokio::test(start_paused = true)]
async fn panicking_login_service_fails_and_is_reused() {
    /// Panics in the first `poll_ready`, then in the first `call`.
    struct PanicsTwice(usize);
    impl Service<LoginRequest> for PanicsTwice {
        type Response = AccessToken;
        type Error = std::convert::Infallible;
        type Future = Ready<Result<AccessToken, Self::Error>>;
        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
            self.0 += 1;
            assert!(self.0 != 1, "poll_ready panics");
            Poll::Ready(Ok(()))
        }
        fn call(&mut self, _: LoginRequest) -> Self::Future {
            assert!(self.0 != 2, "call panics");
            ready(Ok(AccessToken::bearer("abc").unwrap()))
        }
    }
    let refresher = AuthRefresher::builder(PanicsTwice(0)).rng(|| 0).build().unwrap();
    for _ in 0..2 {
        assert_eq!(cause(send(&refresher).await.unwrap_err()), "login service panicked");
        sleep(Duration::from_millis(600)).await;
    }
    sleep(secs(1)).await;
    assert_eq!(send(&refresher).await.unwrap(), "Bearer abc");
}

#[tokio::test(start_paused = true)]
async fn login_failed_at_startup_is_retried() {
    let logins = MockLogin::default();
    let refresher = logins
        .refresher(|n| async move { if n == 1 { Err("down".into()) } else { token(n, HOUR) } });
    assert_eq!(chain(&refresher.ready().await.unwrap_err()), ["login failed", "down"]);
    sleep(secs(1)).await;
    refresher.ready().await.unwrap();
    assert_eq!(send(&refresher).await.unwrap(), "Bearer t2");
}

#[tokio::test(start_paused = true)]
async fn login_after_expiry_has_reason_expiring() {
    let logins = MockLogin::default();
    let refresher = logins
        .refresher(|n| async move { if n == 1 { token(n, HOUR) } else { Err("down".into()) } });
    refresher.ready().await.unwrap();
    sleep(HOUR * 2).await;
    assert_eq!(refresher.status().state, State::Failed);
    let requests = logins.requests();
    assert_eq!(
        (&requests[0].reason, &requests.last().unwrap().reason),
        (&LoginReason::First, &LoginReason::Expiring)
    );
}

#[tokio::test(start_paused = true)]
async fn initial_token_is_used_until_refresh() {
    let logins = MockLogin::default();
    let initial_token = token(0, HOUR).unwrap();
    let refresher = logins
        .builder(|n| async move { token(n, HOUR) })
        .initial_token(initial_token)
        .build()
        .unwrap();
    assert_eq!(send(&refresher).await.unwrap(), "Bearer t0");
    assert_eq!(logins.started(), 0);
    sleep(HOUR - secs(299)).await;
    assert_eq!(send(&refresher).await.unwrap(), "Bearer t1");
    assert_eq!(logins.requests()[0].reason, LoginReason::Expiring);
}

#[tokio::test(start_paused = true)]
async fn expired_initial_token_is_not_used() {
    let logins = MockLogin::default();
    let initial_token = token(0, secs(60)).unwrap();
    let refresher = logins
        .builder(|n| async move { token(n, HOUR) })
        .initial_token(initial_token)
        .build()
        .unwrap();
    sleep(secs(60)).await;
    assert_eq!(send(&refresher).await.unwrap(), "Bearer t1");
}

#[tokio::test(start_paused = true)]
async fn initial_token_invalidated_before_use_is_replaced() {
    let logins = MockLogin::default();
    let initial_token = token(0, HOUR).unwrap();
    let refresher = logins
        .builder(|n| async move { token(n, HOUR) })
        .initial_token(initial_token)
        .build()
        .unwrap();
    refresher.invalidate();
    assert_eq!(send(&refresher).await.unwrap(), "Bearer t1");
}

#[tokio::test(start_paused = true)]
async fn jitter_uses_given_rng_and_only_advances_refresh() {
    for (random, refresh_at) in [(0, 3300), (u64::MAX / 2, 3285), (u64::MAX, 3270)] {
        let logins = MockLogin::default();
        let refresher = logins
            .builder(|n| async move { token(n, HOUR) })
            .jitter(true)
            .rng(move || random)
            .build()
            .unwrap();
        refresher.ready().await.unwrap();
        sleep(secs(refresh_at - 1)).await;
        assert_eq!(logins.started(), 1, "{random}");
        sleep(secs(2)).await;
        assert_eq!(logins.started(), 2, "{random}");
    }
}

#[test]
fn invalid_setting_is_named_in_error() {
    let builder =
        || AuthRefresher::builder(MockLogin::default().service(|n| async move { token(n, HOUR) }));
    let day = 24 * HOUR;
    for (builder, message) in [
        (builder().login_timeout(Duration::ZERO), "`login_timeout` must be more than zero"),
        (builder().login_timeout(day + secs(1)), "`login_timeout` must be at most 24 hours"),
        (builder().wait_timeout(Duration::ZERO), "`wait_timeout` must be more than zero"),
        (builder().wait_timeout(Duration::MAX), "`wait_timeout` must be at most 24 hours"),
        (builder().backoff(Duration::ZERO, secs(1)), "`backoff` must be more than zero"),
        (builder().backoff(secs(1), Duration::MAX), "`backoff` must be at most 24 hours"),
        (
            builder().backoff(secs(2), secs(1)),
            "`backoff` must have a minimum not above its maximum",
        ),
        (builder().default_lifetime(Duration::ZERO), "`default_lifetime` must be more than zero"),
    ] {
        assert_eq!(builder.build().unwrap_err().to_string(), message);
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
