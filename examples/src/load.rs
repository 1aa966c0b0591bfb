//! A load of one request every 50 ms, with a revocation of all tokens. The examples show with it that no request fails.

use std::{
    fmt,
    process::ExitCode,
    time::{Duration, Instant},
};

use tokio::time::sleep;
use tower::BoxError;

/// The result of a run.
#[derive(Debug, Default)]
pub struct Report {
    /// The number of requests.
    pub requests: u32,
    /// The number of requests that failed.
    pub failed: u32,
    /// The number of tokens issued.
    pub logins: u64,
}

/// The least number of tokens in a run: the first, a refreshed one, and the one after the revocation.
const MIN_LOGINS: u64 = 3;
/// How much longer than its duration a run can take to see them, on a slow machine.
const MAX_EXTRA: Duration = Duration::from_secs(60);

/// Sends requests for `duration`, and until [`MIN_LOGINS`] tokens were issued. `logins` returns the number of tokens so
/// far, `revoke` revokes all of them.
pub async fn run(
    duration: Duration,
    logins: impl Fn() -> u64,
    revoke: impl Fn(),
    mut request: impl AsyncFnMut() -> Result<(), BoxError>,
) -> Report {
    let (start, mut issued_at, mut revoked) = (Instant::now(), Instant::now(), false);
    let log =
        |message: fmt::Arguments<'_>| println!("{:4.1}s  {message}", start.elapsed().as_secs_f32());
    let mut report = Report::default();
    let first = logins();
    let is_complete =
        |logins: u64| logins >= first + MIN_LOGINS || start.elapsed() > duration + MAX_EXTRA;
    while start.elapsed() < duration || !is_complete(report.logins) {
        if logins() > report.logins {
            report.logins = logins();
            issued_at = Instant::now();
            log(format_args!("token #{} issued", report.logins));
        }
        // The refresher ignores the rejection of a token that is very new, since a server may not know it yet.
        if !revoked
            && start.elapsed() > duration / 3
            && issued_at.elapsed() > Duration::from_millis(500)
        {
            revoked = true;
            revoke();
            log(format_args!("all tokens revoked"));
        }
        report.requests += 1;
        if let Err(error) = request().await {
            report.failed += 1;
            log(format_args!("request failed: {error}"));
        }
        sleep(Duration::from_millis(50)).await;
    }
    report
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { requests, failed, logins } = self;
        write!(f, "requests={requests} failed={failed} logins={logins}")
    }
}

/// Prints the report and returns the exit code. The run fails if a request failed or `condition` does not hold.
pub fn exit_code(result: Result<(Report, bool), BoxError>) -> ExitCode {
    match result {
        Ok((report, condition)) => {
            println!("{report}");
            if report.failed == 0 && condition { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("{}", with_causes(&*error));
            ExitCode::FAILURE
        }
    }
}

/// Returns an error if a status is not 2xx.
///
/// # Errors
///
/// The status.
pub fn success(status: http::StatusCode) -> Result<(), BoxError> {
    if status.is_success() { Ok(()) } else { Err(status.to_string().into()) }
}

/// Formats an error and its causes on one line.
pub fn with_causes(error: &dyn std::error::Error) -> String {
    std::iter::successors(error.source(), |error| error.source())
        .fold(error.to_string(), |line, cause| format!("{line}: {cause}"))
}
