//! What the examples are asked on the command line.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../../examples/quickstart/arguments.rs"]
mod arguments;

use std::time::Duration;

use crate::server::Config;
use arguments::{Deployment, Task};

fn words(line: &str) -> impl Iterator<Item = String> {
    line.split_whitespace().map(str::to_owned)
}

fn task(line: &str) -> Option<Task> {
    Task::new(words(line), |_| None)
}

#[test]
fn the_quickstart_starts_a_server_of_its_own_only_where_it_is_asked_nothing() {
    assert_eq!(task(""), Some(Task::OwnServer));
    for line in ["--login jo", "--password x", "--path /x", "--no-verify-ssl", "--url", "--url localhost", "x"] {
        assert_eq!(task(line), None, "{line}");
    }
    assert_eq!(Task::new([], |name| (name == "ARTHUR_LOGIN").then(|| "jo".into())), Some(Task::OwnServer));
}

#[test]
fn the_quickstart_knows_a_deployment_by_arguments_and_by_the_environment() {
    let expected = || Deployment {
        url: "localhost".into(),
        login: "jo".into(),
        password: "x".into(),
        path: "/api/v3/echo".into(),
        verify_ssl: false,
    };
    let line = "--url localhost --login jo --password x --path /api/v3/echo --no-verify-ssl";
    assert_eq!(task(line), Some(Task::Deployment(expected())));
    let environment = |name: &str| {
        let value = match name {
            "ARTHUR_API_URL" => "localhost",
            "ARTHUR_LOGIN" => "jo",
            "ARTHUR_PASSWORD" => "x",
            "ARTHUR_VERIFY_SSL" => "False",
            _ => return None,
        };
        Some(value.to_owned())
    };
    assert_eq!(Task::new(words("--path /api/v3/echo"), environment), Some(Task::Deployment(expected())));
}

#[test]
fn a_path_that_could_change_the_host_is_refused() {
    for path in ["@evil.example/x", ".evil.example", ":80", "x", ""] {
        let line = ["--url", "localhost", "--login", "jo", "--password", "x", "--path", path];
        assert_eq!(Task::new(line.map(str::to_owned), |_| None), None, "{path}");
    }
}

#[test]
fn help_is_no_error() {
    assert_eq!(task("--help"), Some(Task::Help));
    assert_eq!(task("--login jo -h"), Some(Task::Help));
    assert!(arguments::USAGE.contains("--url") && crate::server::config::USAGE.contains("--ttl"));
}

#[test]
fn the_server_refuses_a_lifetime_that_makes_no_sense() {
    assert_eq!(Config::from_arguments(words("--ttl 6 --tls")).unwrap().ttl, Duration::from_secs(6));
    for line in ["--ttl 18446744073709551615", "--ttl -1", "--ttl", "--port 99999", "--x"] {
        assert!(Config::from_arguments(words(line)).is_none(), "{line}");
    }
}
