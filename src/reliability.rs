//! Lists what a refresher and its layer promise, with the defaults.
//!
//! Each promise has a test. All times are defaults; the [builder](crate::AuthRefresherBuilder) sets them.
//!
//! # While there is a token
//!
//! | promise | default |
//! | --- | --- |
//! | A background task refreshes a token before it expires. | 5 minutes before expiry; for a short lifetime, at three quarters of it |
//! | Jitter makes the refresh earlier, never later, so that many processes do not log in together. | by at most a tenth of the lifetime, and 30 s |
//! | An issuer's [hint when to refresh](crate::AccessToken::with_refresh_in) replaces that time. | if the hint is before the expiry; not earlier than half the lifetime |
//! | No request waits for a refresh. Requests use the current token while a login is under way. | |
//! | A caller that needs a minimum of remaining life ([`token_valid_for`](crate::AuthRefresher::token_valid_for), [`TokenValidFor`](crate::TokenValidFor)) waits at most [`wait_timeout`](crate::AuthRefresherBuilder::wait_timeout), then gets the current token. It does not wait during the first quarter of a token's lifetime. | 10 s |
//! | A failed refresh does not displace the token. It is used until it expires. | |
//! | A lifetime counts from when the login was *sent*. | |
//! | A token of [unknown expiry](crate::Expiry::Unknown) is used until a server rejects it, or for a default lifetime. | until it is rejected |
//!
//! # While there is no token
//!
//! | promise | default |
//! | --- | --- |
//! | One login runs at a time. All calls, clones and layers share its success and its failure. | |
//! | Each wait for a token is limited. The error names the limit and the last cause. | 10 s |
//! | A call that times out or is dropped does not stop the login. Other calls use its token. | |
//! | After a failed login, calls fail immediately with its error, until the pause is over. | |
//! | [`NoTokenPolicy`](crate::NoTokenPolicy) can send requests without a token, or with an expired one for a limited time. | they fail |
//! | A call that waits for a token reserves no capacity of the inner service. The login can use the last connection or slot. | |
//! | A call or replay that then waits until the inner service is ready sends the token that is current then. | |
//!
//! # When a login fails
//!
//! | promise | default |
//! | --- | --- |
//! | No failure is final. The first login that succeeds ends the outage. | |
//! | The pause after a failure doubles with each failure in a row, with jitter. All callers share it. | from 0.5 s to 60 s |
//! | The issuer's [`Retry-After`](crate::LoginError::with_retry_after) extends the pause. | to 5 min at most |
//! | While the token is valid, a [permanent](crate::LoginError::permanent) failure is retried twice: after 1/2 and 7/8 of the life that was left at the first failure. Without a valid token, only calls cause retries: at most one for each pause. An expired token that [`NoTokenPolicy`](crate::NoTokenPolicy) still sends counts as none. | |
//! | A login that exceeds [`login_timeout`](crate::AuthRefresherBuilder::login_timeout) is dropped and counts as failed. | 30 s |
//! | A panic of the login service counts as a failed login. | |
//! | A login that returns an expired token counts as failed. So does one that returns the same token without a longer life. | |
//! | The starts of two logins are at least the shortest pause apart, and at least 1 ms. | 0.5 s |
//! | [`invalidate`](crate::AuthRefresher::invalidate) also discards the result of a login that is under way. | |
//! | A login service that waits for its own refresher's token gets the current one, or an error immediately. It causes no deadlock. | |
//!
//! # When a token is rejected
//!
//! | promise | default |
//! | --- | --- |
//! | A rejected token is no longer used. The next request has a newer one. | on 401 |
//! | A rejected request is replayed with the newer token, if its whole body is available. It is replayed at most once, and never with the same token. | no replay |
//! | [`ReplayBuffered`](crate::ReplayBuffered) limits the memory that its buffer occupies. Small frames do not exceed the limit. | 64 KiB |
//! | A rejection counts only against the token that was sent. If a newer token is current, it costs no login. All rejections of one token cause one login. | |
//! | If a server rejects the old token during a refresh, the result of the refresh is used, provided that it is another token. If it is not, the next login receives the challenge. | |
//! | If there is no newer token, the caller gets the rejection unchanged. While it waits, the call retains the response and its HTTP/1 connection. The login must not need the last connection of the same pool. | |
//! | A replay that has a newer token releases the rejected response, so that it can use its connection. If that token expires or is withdrawn before the inner service is ready, the replay waits for another. The caller gets an error if there is none, or only the rejected one. | |
//! | The challenge (`WWW-Authenticate`) reaches the login service. | |
//! | The rejection of a token that was just issued is ignored, because the token may not be valid everywhere yet. | 1 s, but at most an eighth of the lifetime |
//! | A token of [unknown age](crate::AccessToken::with_unknown_age) that a server rejects is replaced at once: an [initial token](crate::AuthRefresherBuilder::initial_token), or one from a [source](crate::sources) or a cache. | |
//! | A rejected token that a login returns is discarded. If the next login returns it too, or if it never expires, it is used, because the issuer has no other. | |
//! | An API that rejects valid tokens causes no login storm. | 6 rejections a minute count. Each costs one login; two if the issuer returns the same token |
//!
//! # Where tokens go
//!
//! | promise | default |
//! | --- | --- |
//! | Tokens go to `https`, and in plaintext to the loopback. Any other request fails, or is sent without a token. | it fails |
//! | Tokens go only to the allowed origins, if there is a list: scheme, host and port. The spelling makes no difference, not even of an IPv6 address. | no list |
//! | A token is never added beside an existing header of the same name. The token replaces that header, or the request is sent without a token. | it replaces |
//!
//! # Clocks
//!
//! | promise | default |
//! | --- | --- |
//! | One task for each runtime and clock compares the wall clock with the monotonic one. The clock that has advanced further determines the age. So a token that expired while the machine was suspended is soon withdrawn. | every 15 s |
//! | Setting the wall clock forward costs one login. Setting it back costs none and extends no lifetime. | |
//! | A wrong wall clock does not make a JWT unusable. [`Expiry::from_jwt`](crate::Expiry#method.from_jwt) uses the issuer's clock if it is known. A token that seems expired on arrival lives for `exp - iat`. | |
//! | A JWT never lives longer than `exp - iat`, even if the local clock is behind. | |
//!
//! # Runtimes and tasks
//!
//! | promise | default |
//! | --- | --- |
//! | Building needs no runtime. No task starts, and no login, before the first use. | |
//! | If the worker's runtime shuts down, even during a login, the next use starts a worker on its own runtime. The token, the pauses and the counts stay. | |
//! | [`AuthRefresherBuilder::runtime`](crate::AuthRefresherBuilder::runtime) names the runtime of the worker and the logins. | that of the call that starts the worker |
//! | If the worker is on a current-thread runtime, each use checks the expiry, by the monotonic clock. So no expired token is sent, although the worker cannot run between two `block_on` calls. | |
//! | If a worker is 100 ms late, a call on another runtime that needs a token replaces it with a worker there. | |
//! | If the worker's runtime stands still during a login, the machine is suspended or the wall clock is set forward, a result that is an expired token or a transient error without `Retry-After` is discarded, and the login is repeated. No call fails because of it. The next result is not discarded for this reason. | for more than 2 s |
//! | A login under way on a runtime that is not driven cannot be replaced. Callers wait, and their error [names the cause](crate::LoginError::is_undriven). | if they wait for more than 1.1 s |
//! | [`status`](crate::AuthRefresher::status) is computed when it is called. Neither the status nor the [gauge](crate::observability#metrics) reports an expired token as live. | |
//! | A subscriber cannot block the refresher. | |
//! | A panic of a metrics recorder, a tracing subscriber, the clock or the random source does not stop the refresher. A panic of the clock can reach the call that reads it. | |
//! | A call fails if its runtime aborts three workers that the call itself started. The workers of other callers do not count. | |
//! | When the last handle is dropped, the worker ends, and a login under way is dropped. | |
//! | Refreshes go on without requests, or [pause](crate::AuthRefresherBuilder::pause_when_idle) without them: after at least the idle time, and at most one token lifetime later. An idle refresher has no task. A refresher is not idle while it has a token of a [`TokenFile`](crate::sources::TokenFile). A token that is never refreshed is idle too, if no request uses it. | they go on |
//!
//! # Many identities
//!
//! These are promises of [`AuthRefreshers`](crate::AuthRefreshers) and of its layer.
//!
//! | promise | default |
//! | --- | --- |
//! | Each key has its own token, login, pause and rejection limit. A token is used only for requests with its key, also in a replay. | |
//! | A request without a key fails. | |
//! | The number of keys is limited. Only keys that are in use exceed the limit, until later new keys evict them. | 1,000 |
//! | A key is not evicted while its login is under way, or while a call, a service or a caller has its refresher. A request for it gets that refresher. | |
//! | The number of logins under way is limited. The others wait in order of arrival. Slow issuers use a part of the permits. | 16 |
//! | A worker whose runtime stands still keeps no permit. A login whose runtime stands still loses it after its time limit. | |
//! | The number of new keys in a period can be limited. | no limit |
//! | A forgotten key gets a new refresher, also if it is forgotten while one is created. Calls in flight finish with the old one. | |
//! | A key without requests has no task. | after 15 min |
//! | A factory that fails or panics affects only its key, and runs again for the next call. | |
//! | No `Debug` output, error, event or label contains a key. | |
//!
//! # Known limits
//!
//! Two limits are known:
//!
//! - If every thread of a multi-thread runtime is blocked, the worker cannot withdraw a token. A call from another
//!   thread can send an expired token until a thread is free.
//! - A foreign executor can poll a call inside `runtime.enter()`. If nothing drives that runtime, its timers do not
//!   fire, so `wait_timeout` has no effect.
//!
//! A login that *blocks* blocks a thread of the worker's runtime. Move the blocking call to a separate thread:
//!
//! ```
//! use tower::service_fn;
//! use tower_auth_refresh::{AccessToken, AuthRefresher, BoxError, LoginRequest};
//!
//! fn read_keychain() -> Result<String, BoxError> {
//!     Ok("abc".to_owned()) // a blocking call
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), BoxError> {
//! let login = service_fn(|_: LoginRequest| async {
//!     let secret = tokio::task::spawn_blocking(read_keychain).await??;
//!     Ok::<_, BoxError>(AccessToken::bearer(secret)?)
//! });
//! assert_eq!(AuthRefresher::new(login).token().await?.secret(), "abc");
//! # Ok(())
//! # }
//! ```
//!
//! # An outage in paused time
//!
//! From the first failed refresh to the recovery:
//!
//! ```
//! use std::time::Duration;
//! use tokio::time::{Instant, sleep};
//! use tower::service_fn;
//! use tower_auth_refresh::{AccessToken, AuthRefresher, BoxError, LoginRequest, State};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), BoxError> {
//! let minutes = |n: u64| Duration::from_secs(n * 60);
//! let start = Instant::now();
//! let login = service_fn(move |_: LoginRequest| async move {
//!     match start.elapsed().as_secs() / 60 {
//!         50..70 => Err("identity provider unavailable".into()),
//!         minute => Ok::<_, BoxError>(
//!             AccessToken::bearer(format!("of-minute-{minute}"))?.with_expires_in(Duration::from_secs(3600)),
//!         ),
//!     }
//! });
//! let refresher = AuthRefresher::new(login);
//! refresher.ready().await?;
//!
//! // Refreshes have failed since minute 55. The current token is used until it expires.
//! sleep(minutes(59)).await;
//! assert_eq!(refresher.token().await?.secret(), "of-minute-0");
//! assert!(refresher.status().consecutive_failures > 0);
//!
//! // Then there is no token, and the error gives the cause.
//! sleep(minutes(2)).await;
//! assert_eq!(refresher.status().state, State::Failed);
//! assert!(refresher.token().await.is_err());
//!
//! // The outage ends at minute 70. The next login starts within a minute.
//! sleep(minutes(10)).await;
//! assert_eq!(refresher.token().await?.secret(), "of-minute-70");
//! # Ok(())
//! # }
//! ```
//!
//! # Monitoring
//!
//! [`AuthRefresher::status`](crate::AuthRefresher::status) returns a snapshot, and
//! [`AuthRefresher::subscribe`](crate::AuthRefresher::subscribe) follows its changes. For metrics, events and spans see
//! [`observability`](crate::observability).
