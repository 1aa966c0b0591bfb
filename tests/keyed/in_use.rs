//! Keys that are in use are not evicted.

use tokio::time::{sleep, timeout};
use tower_auth_refresh::AuthRefreshers;

use crate::{
    KeyedLogins,
    support::{HOUR, secs},
};

const CAPACITY: u32 = 20;

fn refreshers(logins: &KeyedLogins<u32>) -> AuthRefreshers<u32> {
    let logins = logins.clone();
    let factory = move |key: &u32| {
        let login = |_: &u32| async {
            sleep(secs(5)).await;
            Ok(HOUR)
        };
        logins.builder(key, login)
    };
    AuthRefreshers::builder(factory).capacity(CAPACITY as usize).build().unwrap()
}

fn use_other_keys(refreshers: &AuthRefreshers<u32>) {
    for key in 1_000..1_000 + 10 * CAPACITY {
        for _ in 0..3 {
            refreshers.get(&key).unwrap();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn key_whose_refresher_is_held_stays() {
    let logins = KeyedLogins::new();
    let refreshers = refreshers(&logins);
    let held = refreshers.get(&1).unwrap();
    held.token().await.unwrap();
    use_other_keys(&refreshers);
    assert_eq!(refreshers.get(&1).unwrap().token().await.unwrap().secret(), "1.1");
    drop(held);
    use_other_keys(&refreshers);
    assert!(refreshers.peek(&1).is_none());
}

#[tokio::test(start_paused = true)]
async fn key_that_a_call_waits_for_stays() {
    let logins = KeyedLogins::new();
    let refreshers = refreshers(&logins);
    let call = tokio::spawn({
        let refresher = refreshers.get(&1).unwrap();
        async move { refresher.token().await }
    });
    sleep(secs(1)).await;
    use_other_keys(&refreshers);
    // The second call joins the login of the first.
    assert_eq!(refreshers.get(&1).unwrap().token().await.unwrap().secret(), "1.1");
    assert_eq!(call.await.unwrap().unwrap().secret(), "1.1");
    assert_eq!(logins.started(&1), 1);
}

#[tokio::test(start_paused = true)]
async fn key_with_a_login_under_way_stays() {
    let logins = KeyedLogins::new();
    let refreshers = refreshers(&logins);
    let call = async { refreshers.get(&1).unwrap().token().await };
    timeout(secs(1), call).await.unwrap_err();
    use_other_keys(&refreshers);
    sleep(secs(5)).await;
    assert_eq!(refreshers.get(&1).unwrap().token().await.unwrap().secret(), "1.1");
    assert_eq!(logins.started(&1), 1);
}

#[tokio::test(start_paused = true)]
async fn capacity_is_exceeded_only_by_the_keys_in_use() {
    let logins = KeyedLogins::new();
    let refreshers = refreshers(&logins);
    let mut held: Vec<_> = (0..2 * CAPACITY).map(|key| refreshers.get(&key).unwrap()).collect();
    for key in 1_000..1_100 {
        refreshers.get(&key).unwrap();
        assert!(refreshers.len() <= held.len() + 1);
    }
    held.truncate(5);
    use_other_keys(&refreshers);
    assert!(refreshers.len() <= CAPACITY as usize);
    assert!(held.iter().zip(0..).all(|(_, key)| refreshers.peek(&key).is_some()));
}
