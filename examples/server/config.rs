//! How a server behaves, and how a command line says so.

use std::time::Duration;

/// Said after a wrong argument, and to `--help`.
pub const USAGE: &str =
    "usage: arthur_server [--port 0] [--ttl SECONDS (8)] [--login LOGIN] [--password PASSWORD] [--tls]";

/// A year: the longest that a token lives and an outage lasts.
pub(super) const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// How a [`Server`] behaves.
#[derive(Clone)]
pub struct Config {
    /// The port, or 0 for any that is free.
    pub port: u16,
    /// How long a token lives, in whole seconds; a year at most.
    pub ttl: Duration,
    /// Who may log in.
    pub login: String,
    /// The password for it.
    pub password: String,
    /// Whether to speak TLS, with a self-signed certificate for `localhost` and `127.0.0.1`.
    pub tls: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            port: 0,
            ttl: Duration::from_secs(8),
            login: "jo@example.com".into(),
            password: "swordfish".into(),
            tls: false,
        }
    }
}

impl Config {
    /// `None`: the arguments make no sense.
    pub fn from_arguments(arguments: impl IntoIterator<Item = String>) -> Option<Self> {
        let mut config = Self::default();
        let mut arguments = arguments.into_iter();
        while let Some(name) = arguments.next() {
            match name.as_str() {
                "--port" => config.port = arguments.next()?.parse().ok()?,
                "--ttl" => config.ttl = seconds(&arguments.next()?)?,
                "--login" => config.login = arguments.next()?,
                "--password" => config.password = arguments.next()?,
                "--tls" => config.tls = true,
                _ => return None,
            }
        }
        Some(config)
    }
}

/// A number of seconds, not longer than a year.
pub(super) fn seconds(text: &str) -> Option<Duration> {
    text.parse().ok().map(Duration::from_secs).filter(|time| *time <= LONGEST)
}
