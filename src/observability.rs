//! What can be seen of a refresher while it runs: metrics, events and spans.
//!
//! None of it holds a secret, and a call that has a token costs nothing more for it. All of it has the refresher's
//! [name](crate::AuthRefresherBuilder::name): give each one a name if a program has several, since those of one name add
//! to the same counters, and write over each other's gauges.
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
//! | `auth_refresh_requests_refused_total` | counter | `reason` | requests that were not sent |
//!
//! - `outcome`: `success`; `failure_transient` and `failure_permanent`, as [`LoginError`](crate::LoginError) has it;
//!   `superseded`, it was begun before the token was rejected, and is not used; `abandoned`, it was dropped with the last
//!   handle or its runtime.
//! - `effect`: `login`, the token is used no more and a login follows; `newer_token`, there is another already, or a login
//!   for it; `ignored`, the token is too young, or too many were rejected.
//! - `reason`: `plain_text`, `unknown_destination` and `foreign_origin`, as
//!   [`UnsafeDestination`](crate::UnsafeDestination) has it; and for want of a token, `login_failed`, `timeout` and
//!   `shut_down`.
//!
//! The end of the token is a point in time, not the seconds that are left: a gauge stands still between two logins, and a
//! count of seconds would be wrong at once. What is left is `auth_refresh_token_expiry_timestamp_seconds - time()`.
//! Besides times it may be `+Inf`, no end is known; `0`, the token was rejected and no other has come; `NaN`, nobody keeps
//! a token: the last handle or the runtime is gone, or there were no requests for
//! [long](crate::AuthRefresherBuilder::pause_when_idle). None of these comparisons holds for `NaN`.
//!
//! What to alert on:
//!
//! ```text
//! # There is no token: requests fail.
//! auth_refresh_token_expiry_timestamp_seconds - time() < 0             for: 1m
//!
//! # Refreshes fail, and in two minutes requests will. (For tokens that live for longer than eight.)
//! auth_refresh_token_expiry_timestamp_seconds - time() < 120           for: 1m
//!
//! # Somebody must mend the credentials.
//! increase(auth_refresh_logins_total{outcome="failure_permanent"}[10m]) > 0
//!
//! # Requests are not sent.
//! sum by (refresher, reason) (rate(auth_refresh_requests_refused_total[5m])) > 0
//!
//! # The API rejects tokens that should be good.
//! rate(auth_refresh_rejections_total{effect="ignored"}[5m]) > 0        for: 5m
//!
//! # Logins are slow.
//! histogram_quantile(0.95, sum by (le) (rate(auth_refresh_login_duration_seconds_bucket[15m]))) > 5
//! ```
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
//! Each login has a span `login` (info) with `reason`, `attempt` and at its end `outcome`, in which its events and those of
//! the login service are. It has no parent, since a login serves all callers; for OpenTelemetry it is a trace of its own.
