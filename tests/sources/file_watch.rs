//! `FileToken`: how changes of the file are noticed.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use tokio::time::sleep;
use tower::{Service, ServiceBuilder, service_fn};
use tower_auth_refresh::{
    AccessToken, AuthRefresher, Clock, LoginError, LoginRequest, State, sources::FileToken,
    test_util::TestClock,
};

use crate::support::{file_refresher, folder, jwt, replace, secs, token};

#[tokio::test(start_paused = true)]
async fn changed_file_is_read_within_ten_seconds() {
    let folder = folder("changes");
    let path = folder.join("token");
    fs::write(&path, "t1\n").unwrap();
    let refresher = file_refresher(&path);
    assert_eq!(token(&refresher).await, "t1");

    sleep(secs(3600)).await;
    assert_eq!(refresher.status().generation, 1, "it has not changed");
    fs::write(&path, "t2\n").unwrap();
    sleep(secs(11)).await;
    assert_eq!(token(&refresher).await, "t2");

    // As Kubernetes does it: a link to a folder is replaced by another.
    #[cfg(unix)]
    {
        let linked = folder.join("linked");
        for version in ["v1", "v2"] {
            fs::create_dir(folder.join(version)).unwrap();
            fs::write(folder.join(version).join("token"), version).unwrap();
        }
        std::os::unix::fs::symlink(folder.join("v1"), &linked).unwrap();
        let refresher = file_refresher(&linked.join("token"));
        assert_eq!(token(&refresher).await, "v1");
        let new = folder.join("new");
        std::os::unix::fs::symlink(folder.join("v2"), &new).unwrap();
        fs::rename(new, &linked).unwrap();
        sleep(secs(11)).await;
        assert_eq!(token(&refresher).await, "v2");
    }
}

#[tokio::test(start_paused = true)]
async fn missing_or_empty_file_does_not_displace_the_token() {
    let path = folder("stays").join("token");
    fs::write(&path, "t1").unwrap();
    let refresher = file_refresher(&path);
    assert_eq!(token(&refresher).await, "t1");
    fs::remove_file(&path).unwrap();
    sleep(secs(60)).await;
    assert_eq!(token(&refresher).await, "t1");
    assert!(refresher.refresh().await.is_err());
    fs::write(&path, "").unwrap();
    sleep(secs(600)).await;
    assert_eq!(token(&refresher).await, "t1");
    fs::write(&path, "t2").unwrap();
    sleep(secs(11)).await;
    assert_eq!(token(&refresher).await, "t2");
}

#[tokio::test(start_paused = true)]
async fn jwt_that_is_replaced_before_it_expires_leaves_no_gap() {
    let path = folder("replaced").join("token");
    let clock = TestClock::default();
    fs::write(&path, jwt(clock.now() + secs(3600))).unwrap();
    let refresher =
        AuthRefresher::builder(FileToken::new(&path)).clock(clock.clone()).build().unwrap();
    for n in 1..=5 {
        refresher.token().await.unwrap();
        // As Kubernetes does it: when four fifths are over.
        sleep(secs(2880)).await;
        let next = jwt(clock.now() + secs(3600));
        fs::write(&path, &next).unwrap();
        sleep(secs(11)).await;
        assert_eq!(token(&refresher).await, next);
        let status = refresher.status();
        assert_eq!((status.generation, status.consecutive_failures), (n + 1, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn refresher_behind_a_refresher_refreshes_by_schedule() {
    let path = folder("handed-on").join("token");
    let clock = TestClock::default();
    let first = jwt(clock.now() + secs(3600));
    fs::write(&path, &first).unwrap();
    let one = AuthRefresher::builder(FileToken::new(&path)).clock(clock.clone()).build().unwrap();
    let login = service_fn(move |_: LoginRequest| {
        let one = one.clone();
        async move { one.token().await }
    });
    let other = AuthRefresher::builder(login).clock(clock.clone()).jitter(false).build().unwrap();
    assert_eq!(token(&other).await, first);
    let second = jwt(clock.now() + secs(7200));
    fs::write(&path, &second).unwrap();
    // Five minutes before the end.
    sleep(secs(3302)).await;
    assert_eq!(token(&other).await, second);
}

#[tokio::test(start_paused = true)]
async fn change_is_used_although_its_login_fails_or_is_slow() {
    let path = folder("missed").join("token");
    fs::write(&path, "t1").unwrap();
    // A login that fails once, and one that is slow after it has read.
    let failures = Arc::new(AtomicUsize::new(0));
    let counted = failures.clone();
    let file = FileToken::new(&path);
    let login = service_fn(move |request: LoginRequest| {
        let (mut file, nth) = (file.clone(), counted.fetch_add(1, SeqCst));
        async move {
            let token = file.call(request).await?;
            match nth {
                1 => Err(LoginError::transient("scripted failure")),
                2 => {
                    sleep(secs(25)).await;
                    Ok(token)
                }
                _ => Ok(token),
            }
        }
    });
    let refresher = AuthRefresher::builder(login).jitter(false).build().unwrap();
    assert_eq!(token(&refresher).await, "t1");
    fs::write(&path, "t2").unwrap();
    sleep(secs(11)).await;
    // The second login has failed. The third reads this, and is slow.
    fs::write(&path, "t3").unwrap();
    sleep(secs(15)).await;
    fs::write(&path, "t4").unwrap();
    sleep(secs(120)).await;
    assert_eq!(token(&refresher).await, "t4");
    fs::write(&path, "t1").unwrap();
    sleep(secs(11)).await;
    assert_eq!(token(&refresher).await, "t1", "there and back");
}

#[tokio::test(start_paused = true)]
async fn change_is_used_although_its_login_fails_after_reading() {
    let path = folder("fails-after").join("token");
    fs::write(&path, "t1").unwrap();
    let (file, count) = (FileToken::new(&path), Arc::new(AtomicUsize::new(0)));
    let login = service_fn(move |request: LoginRequest| {
        let (token, fails) = (file.clone().call(request), count.fetch_add(1, SeqCst) == 1);
        async move {
            let token = token.await?;
            if fails { Err(LoginError::transient("scripted failure")) } else { Ok(token) }
        }
    });
    let refresher = AuthRefresher::new(login);
    assert_eq!(token(&refresher).await, "t1");
    fs::write(&path, "t2").unwrap();
    sleep(secs(90)).await;
    assert_eq!(token(&refresher).await, "t2");
}

#[tokio::test(start_paused = true)]
async fn every_refresher_of_a_file_is_notified() {
    let path = folder("several").join("token");
    fs::write(&path, "t1").unwrap();
    let login = FileToken::new(&path);
    let (one, other) = (AuthRefresher::new(login.clone()), AuthRefresher::new(login.clone()));
    assert_eq!((token(&one).await, token(&other).await), ("t1".into(), "t1".into()));
    fs::write(&path, "t2").unwrap();
    sleep(secs(11)).await;
    assert_eq!((token(&one).await, token(&other).await), ("t2".into(), "t2".into()));

    // As when settings are read again.
    drop((one, other));
    let later = AuthRefresher::new(login);
    assert_eq!(token(&later).await, "t2");
    fs::write(&path, "t3").unwrap();
    sleep(secs(11)).await;
    assert_eq!(token(&later).await, "t3");
}

/// In paused time: it advances only while nothing runs, so the result does not depend on the machine's speed.
#[tokio::test(start_paused = true)]
async fn ten_thousand_refreshers_of_one_file_have_no_failed_login() {
    const REFRESHERS: usize = 10_000;
    let path = folder("crowd").join("token");
    fs::write(&path, "t1").unwrap();
    let source = FileToken::new(&path);
    let refreshers: Vec<_> = (0..REFRESHERS).map(|_| AuthRefresher::new(source.clone())).collect();
    let all_have = async |secret: &str| {
        let calls: Vec<_> = refreshers
            .iter()
            .map(|refresher| {
                let refresher = refresher.clone();
                tokio::spawn(async move { token(&refresher).await })
            })
            .collect();
        for call in calls {
            assert_eq!(call.await.unwrap(), secret);
        }
        assert!(refreshers.iter().all(|refresher| refresher.status().consecutive_failures == 0));
    };
    all_have("t1").await;
    for secret in ["t2", "t3"] {
        replace(&path, secret);
        sleep(secs(11)).await;
        all_have(secret).await;
    }
}

#[tokio::test(start_paused = true)]
async fn refreshers_of_one_file_share_one_task() {
    let path = folder("one-task").join("token");
    fs::write(&path, "t1").unwrap();
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let one = AuthRefresher::new(FileToken::new(&path));
    token(&one).await;
    let with_one_refresher = tasks();
    drop(one);
    sleep(secs(30)).await;
    assert_eq!(tasks(), 0);

    let source = FileToken::new(&path);
    let refreshers: Vec<_> = (0..50).map(|_| AuthRefresher::new(source.clone())).collect();
    for refresher in &refreshers {
        token(refresher).await;
    }
    // Each refresher has one worker. The watcher and the clock task are shared.
    assert_eq!(tasks(), with_one_refresher + 49);
}

#[tokio::test(start_paused = true)]
async fn source_created_for_each_login_is_refreshed_by_schedule() {
    let path = folder("each").join("token");
    let clock = TestClock::default();
    fs::write(&path, jwt(clock.now() + secs(3600))).unwrap();
    let (theirs, count) = (path.clone(), Arc::new(AtomicUsize::new(0)));
    let counted = count.clone();
    let login = service_fn(move |request: LoginRequest| {
        counted.fetch_add(1, SeqCst);
        let mut file = FileToken::new(&theirs);
        async move { file.call(request).await }
    });
    let refresher =
        AuthRefresher::builder(login).clock(clock.clone()).jitter(false).build().unwrap();
    token(&refresher).await;
    sleep(secs(3000)).await;
    assert_eq!(count.load(SeqCst), 1);
    let next = jwt(clock.now() + secs(3600));
    fs::write(&path, &next).unwrap();
    sleep(secs(302)).await;
    assert_eq!(token(&refresher).await, next);
}

#[tokio::test(start_paused = true)]
async fn token_with_a_stated_lifetime_is_refreshed_by_schedule() {
    let path = folder("said").join("token");
    fs::write(&path, "t1").unwrap();
    let file = FileToken::new(&path).poll_interval(secs(86_400));
    let login = ServiceBuilder::new()
        .map_response(|token: AccessToken| token.with_expires_in(secs(600)))
        .service(file);
    let refresher = AuthRefresher::builder(login).jitter(false).build().unwrap();
    assert_eq!(token(&refresher).await, "t1");
    fs::write(&path, "t2").unwrap();
    sleep(secs(500)).await;
    assert_eq!(token(&refresher).await, "t2");
}

/// Runs in real time, because it has two runtimes. It ends as soon as the token arrives.
#[test]
fn file_is_followed_on_the_next_runtime() {
    let path = folder("runtimes").join("token");
    fs::write(&path, "t1").unwrap();
    let login = FileToken::new(&path).poll_interval(Duration::from_millis(10));
    let pause = Duration::from_millis(1);
    let refresher = AuthRefresher::builder(login).backoff(pause, pause).build().unwrap();
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let first = runtime();
    assert_eq!(first.block_on(token(&refresher)), "t1");
    drop(first);
    runtime().block_on(async {
        assert_eq!(token(&refresher).await, "t1");
        fs::write(&path, "t2").unwrap();
        while token(&refresher).await != "t2" {
            sleep(Duration::from_millis(10)).await;
        }
    });
}

#[tokio::test(start_paused = true)]
async fn watcher_ends_after_the_last_handle_is_dropped() {
    let path = folder("handles").join("token");
    fs::write(&path, "t1").unwrap();
    let refresher = file_refresher(&path);
    assert_eq!(token(&refresher).await, "t1");
    assert!(tokio::runtime::Handle::current().metrics().num_alive_tasks() >= 2);
    drop(refresher);
    sleep(secs(11)).await;
    assert_eq!(tokio::runtime::Handle::current().metrics().num_alive_tasks(), 0);
}

/// Panics when it is read, once it is armed.
#[derive(Clone, Debug, Default)]
struct PanicsWhenArmed(Arc<std::sync::atomic::AtomicBool>);

impl Clock for PanicsWhenArmed {
    fn now(&self) -> std::time::SystemTime {
        assert!(!self.0.load(SeqCst), "the clock is read");
        std::time::SystemTime::now()
    }
}

#[tokio::test(start_paused = true)]
async fn clock_that_panics_as_a_file_changes_does_not_abort_the_process() {
    let path = folder("clock").join("token");
    fs::write(&path, "t1").unwrap();
    let clock = PanicsWhenArmed::default();
    let refresher =
        AuthRefresher::builder(FileToken::new(&path)).clock(clock.clone()).build().unwrap();
    assert_eq!(token(&refresher).await, "t1");
    clock.0.store(true, SeqCst);
    fs::write(&path, "t2").unwrap();
    sleep(secs(11)).await;
    clock.0.store(false, SeqCst);
    sleep(secs(11)).await;
    assert_eq!(token(&refresher).await, "t2");
}

#[tokio::test(start_paused = true)]
async fn file_is_followed_although_no_request_uses_its_token() {
    let path = folder("idle").join("token");
    fs::write(&path, "old").unwrap();
    let refresher = AuthRefresher::builder(FileToken::new(&path))
        .pause_when_idle(Duration::ZERO)
        .build()
        .unwrap();
    refresher.ready().await.unwrap();
    // Longer than the least time between two probes.
    sleep(secs(200)).await;
    fs::write(&path, "new").unwrap();
    sleep(secs(11)).await;
    assert_eq!(token(&refresher).await, "new");
}

#[tokio::test(start_paused = true)]
async fn file_token_is_never_idle_after_an_unused_initial_token() {
    let path = folder("idle-initial").join("token");
    fs::write(&path, "old").unwrap();
    let refresher = AuthRefresher::builder(FileToken::new(&path))
        .initial_token(AccessToken::bearer("first").unwrap().with_expires_in(secs(60)))
        .default_lifetime(secs(60))
        .pause_when_idle(secs(300))
        .build()
        .unwrap();
    refresher.ready().await.unwrap();
    sleep(secs(2000)).await;
    assert_eq!(refresher.status().state, State::Ready);
}

#[tokio::test(start_paused = true)]
async fn file_token_is_read_again_by_schedule_only_if_its_expiry_is_unknown() {
    for is_jwt in [false, true] {
        let (path, clock) =
            (folder(&format!("schedule-{is_jwt}")).join("token"), TestClock::default());
        fs::write(&path, if is_jwt { jwt(clock.now() + secs(60)) } else { "abc".to_owned() })
            .unwrap();
        let builder =
            AuthRefresher::builder(FileToken::new(&path)).clock(clock.clone()).jitter(false);
        let refresher = builder.default_lifetime(secs(60)).build().unwrap();
        refresher.ready().await.unwrap();
        let issued_at = refresher.status().issued_at;
        // A quarter of the life before the token expires.
        sleep(secs(50)).await;
        assert_eq!(refresher.status().issued_at == issued_at, is_jwt);
    }
}
