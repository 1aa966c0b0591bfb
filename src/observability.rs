//! What can be seen of a refresher while it runs: metrics, events and spans.
//!
//! None of it holds a secret, and a call that has a token costs nothing more for it. All of it has the refresher's
//! [name](crate::AuthRefresherBuilder::name): give each one a name if a program has several, since those of one name add
//! to the same counters, and write over each other's gauges: also one that is made anew when settings are read again, and the
//! one it replaces.
//!
//! # Metrics
//!
//! With the `metrics` feature, for whatever recorder the program installs (for Prometheus:
//! `metrics-exporter-prometheus`). Each has the label `refresher`: the name, or `default`.
//!
//! | metric | kind | labels | what |
//! | --- | --- | --- | --- |
//! | `auth_refresh_logins_total` | counter | `outcome` | logins that have ended |
//! | `auth_refresh_login_duration_seconds` | histogram, seconds | `outcome` | how long they took |
//! | `auth_refresh_token_expiry_timestamp_seconds` | gauge, Unix time in seconds | | when the newest token ends |
//! | `auth_refresh_rejections_total` | counter | `effect` | responses that rejected the token |
//! | `auth_refresh_replays_total` | counter | | requests that were sent once more with a newer token |
//! | `auth_refresh_waiting_requests` | gauge | | calls that wait for a token now, those of [`token`](crate::AuthRefresher::token) and its like too |
//! | `auth_refresh_requests_not_sent_total` | counter | `reason` | requests that were not sent |
//!
//! - `outcome`: `success`; `failure_transient` and `failure_permanent`, as [`LoginError`](crate::LoginError) has it;
//!   `superseded`, it was begun before the token was rejected, and is not used; `abandoned`, it was dropped with the last
//!   handle or its runtime, or by [`shutdown`](crate::AuthRefresher::shutdown).
//! - `effect`: `login`, the token is used no more and a login follows; `newer_token`, there is another already, or a login
//!   for it; `ignored`, the token is too young, or too many were rejected.
//! - `reason`: `plain_text`, `unknown_destination` and `foreign_origin`, as
//!   [`UnsafeDestination`](crate::UnsafeDestination) has it; and for want of a token, `timeout` (the wait was too long, or
//!   the login), `shut_down`, and `login_failed` for whatever else. Requests that their callers drop while they wait, and
//!   those that are sent without a token as they are told to, are not counted.
//!
//! The counters are there, at zero, from the first use on. The end of the token is a point in time, not the seconds that
//! are left: a gauge stands still between two logins, and a count of seconds would be wrong at once. What is left is
//! `auth_refresh_token_expiry_timestamp_seconds - time()`. Besides times it may be `+Inf`, no end is known; `0`, there is no
//! token, and somebody wants one; `NaN`, nobody keeps a token: the last handle or the runtime is gone, or there were no
//! requests for [long](crate::AuthRefresherBuilder::pause_when_idle). No comparison holds for `NaN`.
//!
//! What to alert on:
//!
//! ```text
//! # There is no token: requests fail (or are served by a stale one, if the refresher is told so).
//! auth_refresh_token_expiry_timestamp_seconds - time() < 0             for: 1m
//!
//! # Refreshes fail, and in two minutes requests will.
//! auth_refresh_token_expiry_timestamp_seconds - time() < 120
//!   and sum without (outcome) (increase(auth_refresh_logins_total{outcome=~"failure_.*"}[5m])) > 0
//!
//! # Somebody must mend the credentials.
//! increase(auth_refresh_logins_total{outcome="failure_permanent"}[10m]) > 0
//!
//! # Requests are not sent.
//! sum by (refresher, reason) (rate(auth_refresh_requests_not_sent_total[5m])) > 0
//!
//! # The API rejects tokens that should be good.
//! sum without (effect) (rate(auth_refresh_rejections_total{effect!="newer_token"}[10m])) > 0   for: 10m
//!
//! # Logins are slow.
//! histogram_quantile(0.95, sum by (le) (rate(auth_refresh_login_duration_seconds_bucket[15m]))) > 5
//! ```
//!
//! The last needs buckets, and `metrics-exporter-prometheus` has them only where it is told:
//! `.set_buckets_for_metric(Matcher::Full("auth_refresh_login_duration_seconds".into()), &[0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0])`.
//!
//! # Events and spans
//!
//! With the `tracing` feature, of the target `tower_auth_refresh`. The field `refresher` is there if the refresher has a
//! name.
//!
//! | event | level | fields |
//! | --- | --- | --- |
//! | login started | debug | `reason`, `attempt` |
//! | login succeeded | info | `generation`, `took` |
//! | login failed | warn | `error`, `failures`, `took`, `pause` |
//! | the token has expired | info | `generation` |
//! | the token is not accepted | info, or debug if nothing is done about it | `generation` |
//!
//! Besides, a login whose token is not used since it was begun before a rejection (debug), and warnings: of a JWT whose `exp`
//! makes no sense, of clocks that disagree, of a system without trust roots, and of certificates that are not checked.
//!
//! Each login has a span `login` (info) with `reason`, `attempt` and at its end `outcome`, in which its events and those of
//! the login service are. It has no parent, since a login serves all callers; for OpenTelemetry it is a trace of its own.
