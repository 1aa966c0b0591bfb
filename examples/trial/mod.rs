//! A request every 50 ms, for a while, and all tokens taken back meanwhile: how the examples see whether any fails.
#![allow(dead_code, reason = "each example uses a part")]

use std::{
    fmt,
    process::ExitCode,
    time::{Duration, Instant},
};

use tokio::time::sleep;
use tower::BoxError;

/// How it went.
#[derive(Debug)]
pub struct Outcome {
    /// Sent, and answered with something.
    pub requests: u32,
    /// Answered with something else than success.
    pub failed: u32,
    /// Tokens that were needed.
    pub logins: u64,
}

/// How many tokens a run sees at least: the first, a refreshed one, and the one after the revocation.
const MIN_LOGINS: u64 = 3;
/// How much longer than asked for a run can take to see them, on a slow machine.
const MAX_EXTRA: Duration = Duration::from_secs(60);

/// Sends requests for this long, and until there have been [`MIN_LOGINS`] tokens. `logins` returns the number of tokens so far,
/// `revoke` revokes all of them.
pub(crate) async fn run(
    lasting: Duration,
    logins: impl Fn() -> u64,
    revoke: impl Fn(),
    mut request: impl AsyncFnMut() -> Result<(), BoxError>,
) -> Outcome {
    let (start, mut newest, mut revoked) = (Instant::now(), Instant::now(), false);
    let tell = |what: fmt::Arguments<'_>| println!("{:4.1}s  {what}", start.elapsed().as_secs_f32());
    let mut outcome = Outcome { requests: 0, failed: 0, logins: 0 };
    let first = logins();
    let has_seen_enough = |logins: u64| logins >= first + MIN_LOGINS || start.elapsed() > lasting + MAX_EXTRA;
    while start.elapsed() < lasting || !has_seen_enough(outcome.logins) {
        if logins() > outcome.logins {
            outcome.logins = logins();
            newest = Instant::now();
            tell(format_args!("token #{}", outcome.logins));
        }
        // Not a token that is quite new: it might not be valid everywhere yet, and its rejection would not count.
        if !revoked && start.elapsed() > lasting / 3 && newest.elapsed() > Duration::from_millis(500) {
            revoked = true;
            revoke();
            tell(format_args!("the server has taken back all tokens"));
        }
        outcome.requests += 1;
        if let Err(error) = request().await {
            outcome.failed += 1;
            tell(format_args!("{error}"));
        }
        sleep(Duration::from_millis(50)).await;
    }
    outcome
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { requests, failed, logins } = self;
        write!(f, "requests={requests} failed={failed} logins={logins}")
    }
}

/// Tells how it went; `well` is what else must be so.
pub(crate) fn told(outcome: Result<(Outcome, bool), BoxError>) -> ExitCode {
    match outcome {
        Ok((outcome, well)) => {
            println!("{outcome}");
            if outcome.failed == 0 && well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// An answer is as good as its status.
pub(crate) fn success(status: http::StatusCode) -> Result<(), BoxError> {
    if status.is_success() { Ok(()) } else { Err(status.to_string().into()) }
}
