//! [`check_token_store`]: the contract of [`TokenStore`], as a test of any store.

mod violation;

mod process;

mod claims;
mod concurrency;
mod puts;
mod records;

use std::{future::Future, sync::Arc};

use self::process::Handles;
pub use self::violation::{StoreRule, StoreViolation};
use crate::{BoxError, shared::TokenStore};

/// Checks a store against the contract of [`TokenStore`], through two handles.
///
/// `open` opens a handle, as a process does at its start. Two handles that share no memory check the most, for example
/// two connections of a database client. The checks use random keys, so the store may contain records. They leave a few
/// short records, which the store can delete after an hour.
///
/// The checks compare ages with tokio's clock. They take about five seconds, and do not depend on the speed of the
/// machine. If the clock of the store is tokio's too, the time can be [paused].
///
/// They cannot check two rules: the age after the store's clock has been set back, and the text of errors.
///
/// ```
/// # use std::sync::Arc;
/// # use bytes::Bytes;
/// # use tower_auth_refresh::{BoxError, shared::*};
/// use tower_auth_refresh::test_util::{StoreRule, check_token_store};
///
/// # use std::time::Duration;
/// /// A store that contains nothing and grants nothing.
/// struct NoStore;
///
/// impl TokenStore for NoStore {
///     fn load<'a>(&'a self, _: &'a RecordKey) -> StoreFuture<'a, Option<Record>> {
///         Box::pin(async { Ok(None) })
///     }
///     fn claim<'a>(
///         &'a self,
///         _: &'a RecordKey,
///         _: Option<Revision>,
///         _: ClaimId,
///         time_to_live: Duration,
///     ) -> StoreFuture<'a, ClaimOutcome> {
///         Box::pin(async move { Ok(ClaimOutcome::Denied { expires_in: time_to_live }) })
///     }
///     // …
/// #     fn extend<'a>(&'a self, _: &'a RecordKey, _: ClaimId, _: Duration) -> StoreFuture<'a, bool> {
/// #         Box::pin(async { Ok(false) })
/// #     }
/// #     fn release<'a>(&'a self, _: &'a RecordKey, _: ClaimId) -> StoreFuture<'a, ()> {
/// #         Box::pin(async { Ok(()) })
/// #     }
/// #     fn put<'a>(
/// #         &'a self,
/// #         _: &'a RecordKey,
/// #         _: Option<Revision>,
/// #         _: ClaimId,
/// #         _: NewRecord,
/// #     ) -> StoreFuture<'a, bool> {
/// #         Box::pin(async { Ok(false) })
/// #     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let violation = check_token_store(|| async { Ok(NoStore) }).await.unwrap_err();
/// assert_eq!(violation.rule(), StoreRule::FreeClaimIsGranted);
/// # }
/// ```
///
/// # Errors
///
/// The first rule that the store violates. [`StoreRule::Available`] if a call fails, or takes longer than 30 seconds.
///
/// [paused]: https://docs.rs/tokio/latest/tokio/time/fn.pause.html
pub async fn check_token_store<S, R>(mut open: impl FnMut() -> R) -> Result<(), StoreViolation>
where
    S: TokenStore,
    R: Future<Output = Result<S, BoxError>>,
{
    let mut handle = async || match open().await {
        Ok(store) => Ok::<Arc<dyn TokenStore>, _>(Arc::new(store)),
        Err(error) => Err(StoreViolation::unavailable("open failed", error)),
    };
    let handles = Handles { first: handle().await?, second: handle().await? };
    records::load_returns_record(&handles).await?;
    records::keys_are_independent(&handles).await?;
    claims::claim_is_exclusive(&handles).await?;
    claims::claim_compares_revision(&handles).await?;
    claims::claim_expires(&handles).await?;
    claims::extend_needs_claim(&handles).await?;
    claims::release_needs_claim(&handles).await?;
    claims::claim_is_renewed(&handles).await?;
    puts::put_needs_claim(&handles).await?;
    puts::put_compares_revision(&handles).await?;
    puts::put_ends_claim(&handles).await?;
    records::any_time_to_live_is_valid(&handles).await?;
    records::age_is_measured(&handles).await?;
    concurrency::calls_can_be_dropped(&handles).await?;
    concurrency::calls_are_atomic(&handles).await
}
