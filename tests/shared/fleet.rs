//! Many processes with one store that works.

use tokio::time::{Instant, sleep};
use tower_auth_refresh::{Clock, LoginReason};

use crate::{
    Fleet, at_once, expires, layer, log_in, millis, secrets,
    support::{HOUR, secs, token},
};

#[tokio::test(start_paused = true)]
async fn twenty_processes_share_one_login_per_lifetime() {
    let fleet = Fleet::default();
    let processes = fleet.processes(20, HOUR);
    assert_eq!(secrets(&processes).await, vec!["t1"; 20]);
    for second in (0..5 * 3600).step_by(10) {
        sleep(secs(10)).await;
        // No request waits.
        processes.iter().for_each(|process| drop(at_once(process)));
        let logins = fleet.logins.started();
        assert!(logins <= 1 + second / 3000, "{logins} logins at {second} s");
    }
    assert!(fleet.logins.started() >= 5);
    assert_eq!(fleet.logins.max_concurrent(), 1);
    assert_eq!(fleet.logins.requests().iter().filter(|login| login.attempt > 1).count(), 0);
}

#[tokio::test(start_paused = true)]
async fn store_is_called_twice_per_process_and_lifetime_at_most() {
    let fleet = Fleet::default();
    let processes = fleet.processes(20, HOUR);
    secrets(&processes).await;
    let (calls, lifetimes) = (fleet.store.calls(), 10);
    for _ in 0..lifetimes * 320 {
        sleep(secs(10)).await;
        processes.iter().for_each(|process| drop(at_once(process)));
    }
    let calls = fleet.store.calls() - calls;
    assert!(calls <= 2 * 20 * lifetimes, "{calls}");
}

#[tokio::test(start_paused = true)]
async fn followers_use_their_live_token_during_the_login_of_another() {
    let fleet = Fleet::default();
    let login = |nth| async move {
        sleep(if nth == 1 { millis(10) } else { secs(8) }).await;
        token(nth, HOUR)
    };
    let processes: Vec<_> =
        (0..5).map(|seed| fleet.builder(seed, login).build().unwrap()).collect();
    secrets(&processes).await;
    let start = Instant::now();
    let mut seen_during_login = 0;
    while processes.iter().any(|process| at_once(process) == "t1") {
        seen_during_login += fleet.logins.running();
        sleep(millis(100)).await;
        assert!(start.elapsed() < HOUR);
    }
    assert!(seen_during_login > 50, "{seen_during_login}");
    assert_eq!(fleet.logins.started(), 2);
}

#[tokio::test(start_paused = true)]
async fn adopted_token_has_the_same_times_in_each_process() {
    let fleet = Fleet::default();
    let login = |nth| async move { token(nth, HOUR) };
    let first = fleet.builder(1, login).jitter(false).build().unwrap();
    first.token().await.unwrap();
    sleep(secs(600)).await;
    let second = fleet.builder(2, login).jitter(false).build().unwrap();
    assert_eq!(second.token().await.unwrap().secret(), "t1");
    let difference = expires(&first).duration_since(expires(&second)).unwrap();
    // An age includes the wall-clock time of the call that read it, which is not paused.
    assert!(difference <= secs(30), "{difference:?}");
    // Both refresh 300 seconds before the expiry.
    sleep(secs(2660)).await;
    assert_eq!((at_once(&first), at_once(&second)), ("t1".to_owned(), "t1".to_owned()));
    sleep(secs(45)).await;
    assert_eq!((at_once(&first), at_once(&second)), ("t2".to_owned(), "t2".to_owned()));
    assert_eq!(fleet.logins.started(), 2);
}

#[tokio::test(start_paused = true)]
async fn adopted_token_is_not_too_new_to_be_rejected() {
    let fleet = Fleet::default();
    let login = |nth| async move { token(nth, HOUR) };
    fleet.builder(1, login).build().unwrap().token().await.unwrap();
    sleep(secs(600)).await;
    let second = fleet.builder(2, login).build().unwrap();
    let adopted = second.token().await.unwrap();
    assert_eq!(adopted.secret(), "t1");
    assert!(second.reject(&adopted, None), "the rejection counts");
    assert_eq!(second.token().await.unwrap().secret(), "t2");
}

#[tokio::test(start_paused = true)]
async fn wait_for_another_process_does_not_shorten_the_lifetime() {
    let fleet = Fleet::default();
    // The lifetime is shorter than the time for which the process waits.
    let login = |nth| async move {
        match nth {
            1 => std::future::pending().await,
            nth => token(nth, secs(3)),
        }
    };
    let hanging = layer(fleet.store.clone()).login_timeout(secs(4));
    let mut hanging = tower::Layer::layer(&hanging, fleet.logins.service(login));
    let hanging = tokio::spawn(async move { log_in(&mut hanging, LoginReason::First).await });
    sleep(millis(1)).await;
    // The first process logs in, and the second adopts its token. Both have waited for 4 seconds.
    let (first, second) =
        (fleet.builder(1, login).build().unwrap(), fleet.builder(2, login).build().unwrap());
    let start = Instant::now();
    assert_eq!(secrets(&[first.clone(), second.clone()]).await, ["t2", "t2"]);
    assert!(start.elapsed() > secs(3));
    for process in [first, second] {
        let remaining = expires(&process).duration_since(fleet.clock.now()).unwrap();
        assert!(remaining > millis(2800), "{remaining:?}");
    }
    hanging.abort();
}

#[tokio::test(start_paused = true)]
async fn two_services_of_one_process_share_a_token() {
    let fleet = Fleet::default();
    let layer = layer(fleet.store.clone());
    let service = || {
        tower::Layer::layer(
            &layer,
            fleet.logins.service(|nth| async move {
                sleep(secs(1)).await;
                token(nth, HOUR)
            }),
        )
    };
    let (mut one, mut two) = (service(), service());
    let (first, second) =
        tokio::join!(log_in(&mut one, LoginReason::First), log_in(&mut two, LoginReason::First));
    assert_eq!((first.unwrap().secret(), second.unwrap().secret()), ("t1", "t1"));
    assert_eq!(fleet.logins.started(), 1);
}

#[tokio::test(start_paused = true)]
async fn forced_refresh_replaces_the_token_of_all() {
    let fleet = Fleet::default();
    let processes = fleet.processes(3, HOUR);
    secrets(&processes).await;
    sleep(secs(10)).await;
    processes[0].refresh().await.unwrap();
    assert_eq!(at_once(&processes[0]), "t2");
    // A forced refresh of another process is satisfied by a token that it does not have yet.
    processes[1].refresh().await.unwrap();
    assert_eq!((at_once(&processes[1]), fleet.logins.started()), ("t2".to_owned(), 2));
    processes[1].refresh().await.unwrap();
    assert_eq!((at_once(&processes[1]), fleet.logins.started()), ("t3".to_owned(), 3));
}
