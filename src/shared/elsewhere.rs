//! The errors that a process returns because of the login of another one.

use std::{error::Error, fmt};

/// Another process has the claim, and this one has waited for it long enough.
#[derive(Debug)]
pub(super) struct ClaimedElsewhere;

impl fmt::Display for ClaimedElsewhere {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("login of another process has not ended")
    }
}

impl Error for ClaimedElsewhere {}

/// The error of another process, after which all processes pause.
#[derive(Debug)]
pub(super) struct FailedElsewhere(pub(super) String);

impl fmt::Display for FailedElsewhere {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "login of another process failed: {}", self.0)
    }
}

impl Error for FailedElsewhere {}
