//! [`Config`] and its command line.

use std::{fmt, time::Duration};

/// Printed for an invalid argument, and for `--help`.
pub const USAGE: &str = "usage: arthur_server [--port 0] [--ttl SECONDS (8)] [--login LOGIN] [--password PASSWORD] [--tls]";

/// The longest lifetime of a token, and the longest outage: a year.
pub(super) const MAX_DURATION: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// The settings of a [`Server`](super::Server).
#[derive(Clone)]
pub struct Config {
    /// The port. 0 stands for any free port.
    pub port: u16,
    /// The lifetime of a token in whole seconds, at most a year.
    pub ttl: Duration,
    /// The login that the server accepts.
    pub login: String,
    /// The password that the server accepts.
    pub password: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            port: 0,
            ttl: Duration::from_secs(8),
            login: "jo@example.com".into(),
            password: "swordfish".into(),
        }
    }
}

// Without the password.
impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("port", &self.port)
            .field("ttl", &self.ttl)
            .finish_non_exhaustive()
    }
}

/// A parsed command line.
#[derive(Clone, Debug)]
pub struct Arguments {
    /// The settings.
    pub config: Config,
    /// Whether the server uses TLS.
    pub tls: bool,
}

impl Arguments {
    /// Parses a command line. Returns `None` if it is invalid.
    pub fn parse(arguments: impl IntoIterator<Item = String>) -> Option<Self> {
        let mut parsed = Self { config: Config::default(), tls: false };
        let config = &mut parsed.config;
        let mut arguments = arguments.into_iter();
        while let Some(name) = arguments.next() {
            match name.as_str() {
                "--port" => config.port = arguments.next()?.parse().ok()?,
                "--ttl" => config.ttl = parse_seconds(&arguments.next()?)?,
                "--login" => config.login = arguments.next()?,
                "--password" => config.password = arguments.next()?,
                "--tls" => parsed.tls = true,
                _ => return None,
            }
        }
        Some(parsed)
    }
}

/// Parses a number of seconds, at most a year.
pub(super) fn parse_seconds(text: &str) -> Option<Duration> {
    text.parse().ok().map(Duration::from_secs).filter(|duration| *duration <= MAX_DURATION)
}
