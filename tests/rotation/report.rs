//! [`Report`]: what happened in a run.

use std::fmt;

use serde_json::Value;

#[derive(Default)]
pub(crate) struct Report {
    /// Refresh tokens that the server has replaced.
    pub(crate) rotations: u64,
    /// Token requests that the server has received.
    pub(crate) token_requests: u64,
    /// Refresh tokens that the server has received more than once.
    pub(crate) reused: u64,
    pub(crate) revoked_sessions: u64,
    /// Requests that the server has rejected, including those that the layer has sent again.
    pub(crate) rejected_access_tokens: u64,
    pub(crate) kills: u64,
    /// Kills from the start of a login to its end. Each can leave a token that no process sends again.
    pub(crate) kills_in_login: u64,
    /// Kills of a process that had sent the token, or was about to, and did not yet know the result of the login.
    pub(crate) kills_in_send: u64,
    pub(crate) persons_logins: u64,
    /// Requests to the API with a response.
    pub(crate) requests: u64,
    /// Requests without a token, because a person had to log in.
    pub(crate) requests_without_session: u64,
    pub(crate) failed_logins: u64,
    /// What should not happen.
    pub(crate) failures: Vec<String>,
}

impl Report {
    /// Adds what the server has seen.
    pub(crate) fn add_seen(&mut self, seen: &Value) {
        let count = |name: &str| seen[name].as_u64().unwrap();
        self.rotations = count("rotated");
        self.token_requests = count("requests");
        self.reused = count("twice");
        self.revoked_sessions = count("revoked");
        self.rejected_access_tokens = count("rejectedAccessTokens");
    }

    pub(crate) fn assert_one_use_of_each_token(&self, rotations: u64) {
        assert!(self.failures.is_empty(), "{self}");
        assert_eq!((self.reused, self.revoked_sessions), (0, 0), "{self}");
        assert_eq!(self.rejected_access_tokens, 0, "{self}");
        assert_eq!(self.token_requests, self.rotations, "{self}");
        assert!(self.rotations >= rotations, "{self}");
        // The death of a process explains each login of a person.
        assert!(self.persons_logins <= self.kills_in_login, "{self}");
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rotations, token_requests, reused, revoked_sessions, .. } = self;
        let Self { kills, kills_in_login, kills_in_send, persons_logins, failed_logins, .. } = self;
        let Self { requests, requests_without_session, rejected_access_tokens, failures, .. } =
            self;
        write!(
            f,
            "rotations={rotations} token_requests={token_requests} reused={reused} \
             revoked_sessions={revoked_sessions}\n\
             kills={kills} in_login={kills_in_login} in_send={kills_in_send} \
             persons_logins={persons_logins} failed_logins={failed_logins}\n\
             requests={requests} without_session={requests_without_session} \
             rejected={rejected_access_tokens}"
        )?;
        failures.iter().take(20).try_for_each(|failure| write!(f, "\nfailure: {failure}"))
    }
}
