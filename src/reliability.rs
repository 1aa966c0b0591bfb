//! What to rely on: the promises of a refresher and its layer, with their defaults.
//!
//! Each has a test that is named for it. All times are those of the defaults; the [builder](crate::AuthRefresherBuilder) sets
//! them.
//!
//! # While there is a token
//!
//! | promise | default |
//! | --- | --- |
//! | A token is refreshed before its end, in a task of its own. | 5 minutes before; of a short life, when three quarters are over |
//! | The refresh comes a random while earlier than that, never later, so that many processes do not log in together. | by at most a tenth of the lifetime and 30 s |
//! | An issuer's own hint of [when to refresh](crate::AccessToken::with_refresh_in) is followed. | where it is before the end, and from half of the lifetime on |
//! | No request waits for a refresh. It is sent with the token in use, whatever the login is doing. | |
//! | A failed refresh does not displace the token. It serves until its own end. | |
//! | A lifetime counts from when the login was *sent*. | |
//! | A token of [unknown expiry](crate::Expiry::Unknown) is used until it is rejected, or for a default lifetime. | until it is rejected |
//!
//! # While there is none
//!
//! | promise | default |
//! | --- | --- |
//! | There is one login at a time, however many calls, clones and layers wait for it. They share its success and its failure. | |
//! | A call waits so long at most, across logins; the error names the limit and the last cause. | 10 s |
//! | A call that gives up, or is dropped, takes nothing along: the login goes on, and its token serves the others. | |
//! | After a failed login calls fail at once, with its error, until the next may start. | |
//! | Or they are sent without a token, or with the expired one for a while: [`NoTokenPolicy`](crate::NoTokenPolicy). | they fail |
//! | A call that waits holds nothing of the inner service, so that the login may share its last connection or slot. | |
//!
//! # Whatever the login does
//!
//! | promise | default |
//! | --- | --- |
//! | No failure is final. The first login that works heals everything. | |
//! | The pause after a failure doubles with each in a row, with jitter; all callers share it. | from 0.5 s to 60 s |
//! | The issuer's [`Retry-After`](crate::LoginError::with_retry_after) prolongs the pause. | to 5 min at most |
//! | A [permanent](crate::LoginError::permanent) failure is not repeated while there is a token; then only if a call asks, and once for each pause. | |
//! | A login that hangs is given up. | after 30 s |
//! | A login that panics has failed, no more. | |
//! | A token that has expired on arrival, and one that is the same as before without a longer life, is a failed login: it does not come again without a pause. | |
//! | A rejected token that the issuer brings again is not used; if it insists, or says that it never ends, it is, since there is no other. | |
//! | A login that was begun before the token was [invalidated](crate::AuthRefresher::invalidate) does not count: what it brings is not used. | |
//! | Two logins that succeed are kept apart. | by 0.5 s |
//! | A login service that needs its own refresher's token gets an error at once, not a deadlock. | |
//!
//! # When a token is rejected
//!
//! | promise | default |
//! | --- | --- |
//! | A rejected token is used no more: the next request has a newer one. | on 401 |
//! | The rejected request is sent once more with the newer token, if its whole body can be; once at most, never with the same token, never over credentials of the caller's own. | it is not |
//! | A rejection counts against the token that was sent. If there is a newer one already it costs no login; however many requests had the same token rejected, there is one login. | |
//! | If no newer token comes, the caller gets the rejection as it was. (So it is held meanwhile, and with its body an HTTP/1 connection: a login by way of a pool must not need the last one.) | |
//! | The challenge (`WWW-Authenticate`) reaches the login service. | |
//! | A token that is very young is not dropped for a rejection: it may not be valid everywhere yet. | younger than 1 s, or than an eighth of its life |
//! | An API that rejects for reasons of its own causes no login storm. | 6 rejections a minute count at most; each costs a login, or two if the issuer insists |
//!
//! # Where tokens go
//!
//! | promise | default |
//! | --- | --- |
//! | To `https`, and in plain text to the loopback; elsewhere the request is refused, or goes out without a token. | refused |
//! | To no origin but those allowed, if any are named: scheme, host and port, however they are written. | none is named |
//! | Never beside another header of the same name: it takes its place, or gives way. | takes its place |
//!
//! # Clocks
//!
//! | promise | default |
//! | --- | --- |
//! | While a token can end, both the wall clock and the monotonic one are read again and again, and the one that says longer counts: a token that ended while the machine slept is soon gone. | every 15 s |
//! | A wall clock that is set forward in mid-life costs one login; one that is set back costs nothing and prolongs nothing. | |
//! | A wall clock that is wrong when a JWT comes does not lock out: the issuer's clock is used where it is known, and else the token's own `exp - iat` if it looks expired ([`Expiry::from_jwt`](crate::Expiry#method.from_jwt)). | |
//!
//! # Runtimes and tasks
//!
//! | promise | default |
//! | --- | --- |
//! | Building needs no runtime. Nothing is spawned, and nobody logs in, before the first use. | |
//! | A runtime that ends, in mid-login or not, hands over to the next use: the token, the pauses and the counts go along. | |
//! | When the last handle is dropped, the task ends, and a running login with it. | |
//! | Refreshes go on without requests, or pause without them: [`pause_when_idle`](crate::AuthRefresherBuilder::pause_when_idle). | they go on |
//!
//! A login that *blocks* would block the runtime's thread that it runs on. Give it one of its own:
//!
//! ```
//! use tower::service_fn;
//! use tower_auth_refresh::{AccessToken, AuthRefresher, BoxError, LoginRequest};
//!
//! fn ask_the_keychain() -> Result<String, BoxError> {
//!     Ok("abc".to_owned()) // takes its time
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), BoxError> {
//! let login = service_fn(|_: LoginRequest| async {
//!     let secret = tokio::task::spawn_blocking(ask_the_keychain).await??;
//!     Ok::<_, BoxError>(AccessToken::bearer(secret)?)
//! });
//! assert_eq!(AuthRefresher::new(login).token().await?.secret(), "abc");
//! # Ok(())
//! # }
//! ```
//!
//! # Seen in paused time
//!
//! An outage, from the first failed refresh to the recovery:
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
//!         50..70 => Err("the identity provider is down".into()),
//!         minute => Ok::<_, BoxError>(
//!             AccessToken::bearer(format!("of-minute-{minute}"))?.with_expires_in(Duration::from_secs(3600)),
//!         ),
//!     }
//! });
//! let refresher = AuthRefresher::new(login);
//! refresher.ready().await?;
//!
//! // Refreshes fail since minute 55. The token in use serves to its end.
//! sleep(minutes(59)).await;
//! assert_eq!(refresher.token().await?.secret(), "of-minute-0");
//! assert!(refresher.status().consecutive_failures > 0);
//!
//! // Then there is none, and the error says why.
//! sleep(minutes(2)).await;
//! assert_eq!(refresher.status().state, State::Failed);
//! assert!(refresher.token().await.is_err());
//!
//! // The outage ends at minute 70; the next login comes within a minute.
//! sleep(minutes(10)).await;
//! assert_eq!(refresher.token().await?.secret(), "of-minute-70");
//! # Ok(())
//! # }
//! ```
//!
//! # Watching
//!
//! [`AuthRefresher::status`](crate::AuthRefresher::status) is a snapshot,
//! [`AuthRefresher::subscribe`](crate::AuthRefresher::subscribe) a watch of it. For metrics, events and spans see
//! [`observability`](crate::observability).
