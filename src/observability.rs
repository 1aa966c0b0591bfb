//! Describes what a refresher records while it runs: metrics, events and spans.
//!
//! No record contains a secret. A call with a token records nothing, unless the token is rejected. Everything has the
//! refresher's [name](crate::AuthRefresherBuilder::name). Name each refresher if a program has several: refreshers of
//! one name add to the same counters and overwrite each other's gauges. The same applies when a reload replaces a
//! refresher with one of the same name.
//!
//! # Metrics
//!
//! They need the `metrics` feature, and go to the recorder that the program installs (for Prometheus:
//! `metrics-exporter-prometheus`). Each has the label `refresher`: the name, or `default`.
//!
//! | metric | kind | labels | meaning |
//! | --- | --- | --- | --- |
//! | `auth_refresh_logins_total` | counter | `outcome` | logins that have ended |
//! | `auth_refresh_login_duration_seconds` | histogram, seconds | `outcome` | their duration |
//! | `auth_refresh_token_expiry_timestamp_seconds` | gauge, Unix time in seconds | | when the newest token expires |
//! | `auth_refresh_rejections_total` | counter | `effect` | responses that rejected the token |
//! | `auth_refresh_replays_total` | counter | | requests that were replayed with a newer token |
//! | `auth_refresh_waiting_requests` | gauge | | calls that wait for a token now, including those of [`token`](crate::AuthRefresher::token) and similar methods |
//! | `auth_refresh_requests_not_sent_total` | counter | `reason` | requests that were not sent |
//! | `auth_refresh_key_events_total` | counter | `event` | what happened to the keys of a handle of [many identities](crate::AuthRefreshers) |
//!
//! `outcome` is one of:
//!
//! - `success`
//! - `failure_transient` or `failure_permanent`, as [`LoginError`](crate::LoginError) distinguishes them
//! - `discarded`: the result was discarded, because the token was rejected or invalidated during the login, or because
//!   the worker's runtime stood still
//! - `abandoned`: the login was dropped with the last handle or its runtime, or by
//!   [`shutdown`](crate::AuthRefresher::shutdown)
//!
//! `effect` is one of:
//!
//! - `login`: the token is no longer used, and a login follows
//! - `newer_token`: a newer token exists, or a login for it is due
//! - `ignored`: the token is too new, or too many rejections have counted
//!
//! `reason` is one of:
//!
//! - `plaintext`, `no_authority` or `origin_not_allowed`, as [`UnsafeDestination`](crate::UnsafeDestination)
//!   distinguishes them
//! - `timeout`: there was no token because the wait or the login timed out
//! - `shut_down`: there was no token because the refresher has been shut down
//! - `login_failed`: there was no token for any other reason
//! - `no_key`, `new_key_limit` or `factory_failed`: there was no refresher, as `KeyError` distinguishes them
//!
//! `event` is one of:
//!
//! - `created`, `evicted` or `forgotten`: the number of keys is the first less the others
//! - `refused`: the limit on new keys was reached
//!
//! All keys of a handle share the label `refresher`, which is the handle's name: no label is for one key. They have no
//! expiry gauge, because they would overwrite each other's value.
//!
//! Not counted: a request dropped while it waits, and a request that a policy sends without a token.
//!
//! Each counter exists from the first use on. It starts at zero. The expiry gauge is a point in time, because a gauge
//! does not change between two logins. The time left is `auth_refresh_token_expiry_timestamp_seconds - time()`. Three
//! values are not times:
//!
//! - `+Inf`: the token has no known expiry.
//! - `0`: there is no token.
//! - `NaN`: no worker refreshes the token. The refresher is [idle](crate::AuthRefresherBuilder::pause_when_idle) or
//!   shut down, or the last handle was dropped, or the runtime ended. The alerts below do not fire for `NaN`.
//!
//! Suggested alerts:
//!
//! ```text
//! # There is no token: requests fail (or use a stale one, if the policy allows it).
//! auth_refresh_token_expiry_timestamp_seconds - time() < 0             for: 1m
//!
//! # Refreshes fail, and requests will fail in two minutes.
//! auth_refresh_token_expiry_timestamp_seconds - time() < 120
//!   and sum without (outcome) (increase(auth_refresh_logins_total{outcome=~"failure_.*"}[5m])) > 0
//!
//! # A person must correct the credentials.
//! increase(auth_refresh_logins_total{outcome="failure_permanent"}[10m]) > 0
//!
//! # Requests are not sent.
//! sum by (refresher, reason) (rate(auth_refresh_requests_not_sent_total[5m])) > 0
//!
//! # The API rejects tokens that should be valid.
//! sum without (effect) (rate(auth_refresh_rejections_total{effect!="newer_token"}[10m])) > 0   for: 10m
//!
//! # The login latency is high.
//! histogram_quantile(0.95, sum by (le) (rate(auth_refresh_login_duration_seconds_bucket[15m]))) > 5
//! ```
//!
//! The last one needs buckets, which `metrics-exporter-prometheus` creates only if they are set:
//! `.set_buckets_for_metric(Matcher::Full("auth_refresh_login_duration_seconds".into()), &[0.1, 0.5, 1.0, 2.5, 5.0,
//! 10.0, 30.0])`.
//!
//! # Events and spans
//!
//! They need the `tracing` feature, and have the target `tower_auth_refresh`. Each event of a refresher with a name has
//! the field `refresher`.
//!
//! | event | level | fields |
//! | --- | --- | --- |
//! | login started | debug | `reason`, `attempt` |
//! | login succeeded | info | `generation`, `elapsed` |
//! | login failed | warn | `error`, `failures`, `elapsed`, `retry_in` |
//! | login discarded | debug | `error`, if there was one; `elapsed` |
//! | token expired | info | `generation` |
//! | token rejected | info | `generation` |
//! | rejection ignored | debug | `generation`, `reason` (`token too new` or `rate limited`) |
//!
//! A token that the application [invalidates](crate::AuthRefresher::invalidate) is also reported as "token rejected".
//! Warnings without a refresher report an invalid `exp` claim, clock skew, a system without trust roots, and disabled
//! certificate verification.
//!
//! Each login has a span `login` (info), with the fields `reason` and `attempt`, and `outcome` when it ends. It
//! contains the login's events and those of the login service. It has no parent, because a login serves all callers: in
//! OpenTelemetry it is a separate trace.
