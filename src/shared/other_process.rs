//! The errors that a process returns because of another process.

use std::{error::Error, fmt, time::Duration};

/// Another process has the claim, and this process has waited for `login_timeout`.
#[derive(Debug)]
pub(super) struct OtherProcessHasClaim {
    pub(super) waited: Duration,
}

impl fmt::Display for OtherProcessHasClaim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "login of another process not finished within {:?}", self.waited)
    }
}

impl Error for OtherProcessHasClaim {}

/// The login of another process has failed. No process logs in until the failure pause is over.
#[derive(Debug)]
pub(super) struct OtherProcessFailed(pub(super) String);

impl fmt::Display for OtherProcessFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "login of another process failed: {}", self.0)
    }
}

impl Error for OtherProcessFailed {}
