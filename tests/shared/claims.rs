//! How long a process waits for the claims of others: an issuer that fails slowly, and a store whose claims stand still.

use std::time::Duration;

use futures::FutureExt;
use tokio::time::sleep;
use tower::{Layer, Service, ServiceExt};
use tower_auth_refresh::{
    LoginReason, LoginRequest,
    shared::{
        ClaimId, ClaimOutcome, NewRecord, Record, RecordKey, Revision, StoreFuture, TokenStore,
    },
};

use crate::{
    Fleet, layer, millis,
    support::{HOUR, secs, token},
};

/// The process that logs in releases its claim, and the next one gets it.
#[tokio::test(start_paused = true)]
async fn issuer_that_fails_slowly_is_not_called_by_all_processes_at_once() {
    for latency in [millis(200), secs(3), secs(14)] {
        let fleet = Fleet::default();
        let login = move |_| async move {
            sleep(latency).await;
            Err("503 service unavailable".into())
        };
        let processes: Vec<_> =
            (0..50).map(|seed| fleet.builder(seed, login).build().unwrap()).collect();
        for _ in 0..400 {
            for process in &processes {
                drop(process.token().now_or_never());
            }
            sleep(millis(500)).await;
            assert!(fleet.logins.running() <= 2, "{latency:?}: {}", fleet.logins.running());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn claim_that_stands_still_is_not_waited_for_in_the_third_attempt() {
    for (expires_in, login_timeout) in [(4, 15), (0, 15), (2, 15), (2, 2)] {
        let fleet = Fleet::default();
        let login = fleet.logins.service(|nth| async move { token(nth, HOUR) });
        let store = Faulty { expires_in: secs(expires_in) };
        let mut service = layer(store).login_timeout(secs(login_timeout)).layer(login);
        for attempt in 1..=3 {
            let mut request = LoginRequest::new(LoginReason::First);
            request.attempt = attempt;
            let login = service.ready().await.unwrap().call(request).await;
            assert_eq!(login.is_ok(), attempt == 3, "{expires_in} {login_timeout} {attempt}");
        }
    }
}

/// A store that compares times wrongly: the claim of another process stands still.
struct Faulty {
    expires_in: Duration,
}

impl TokenStore for Faulty {
    fn load<'a>(&'a self, _: &'a RecordKey) -> StoreFuture<'a, Option<Record>> {
        Box::pin(async { Ok(None) })
    }

    fn claim<'a>(
        &'a self,
        _: &'a RecordKey,
        _: Option<Revision>,
        _: ClaimId,
        _: Duration,
    ) -> StoreFuture<'a, ClaimOutcome> {
        Box::pin(async { Ok(ClaimOutcome::Denied { expires_in: self.expires_in }) })
    }

    fn extend<'a>(&'a self, _: &'a RecordKey, _: ClaimId, _: Duration) -> StoreFuture<'a, bool> {
        Box::pin(async { Ok(false) })
    }

    fn release<'a>(&'a self, _: &'a RecordKey, _: ClaimId) -> StoreFuture<'a, ()> {
        Box::pin(async { Ok(()) })
    }

    fn put<'a>(
        &'a self,
        _: &'a RecordKey,
        _: Option<Revision>,
        _: ClaimId,
        _: NewRecord,
    ) -> StoreFuture<'a, bool> {
        Box::pin(async { Ok(false) })
    }
}
