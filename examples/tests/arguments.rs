//! Tests of the command lines.

#[path = "../arthur_client/arguments.rs"]
mod arthur_client;
#[path = "../cli_login/arguments.rs"]
#[allow(clippy::duplicate_mod, dead_code, unreachable_pub, reason = "it is part of a program")]
mod cli_login;
#[path = "../fleet/arguments.rs"]
#[allow(clippy::duplicate_mod, dead_code, unreachable_pub, reason = "it is part of a program")]
mod fleet;

use std::time::Duration;

use arthur_client::{Deployment, Task};
use examples::arthur_server::config::{self, Arguments};

fn words(line: &str) -> impl Iterator<Item = String> {
    line.split_whitespace().map(str::to_owned)
}

fn task(line: &str) -> Option<Task> {
    Task::new(words(line), |_| None)
}

#[test]
fn incomplete_arguments_are_rejected() {
    for line in [
        "",
        "--login jo",
        "--password x",
        "--path /x",
        "--no-verify-ssl",
        "--url",
        "--url localhost",
        "x",
    ] {
        assert_eq!(task(line), None, "{line}");
    }
    assert_eq!(Task::new([], |name| (name == "ARTHUR_LOGIN").then(|| "jo".into())), None);
}

#[test]
fn deployment_is_read_from_arguments_and_environment() {
    let expected = || Deployment {
        url: "localhost".into(),
        login: "jo".into(),
        password: "x".into(),
        path: "/api/v3/echo".into(),
        verify_ssl: false,
    };
    let line = "--url localhost --login jo --password x --path /api/v3/echo --no-verify-ssl";
    assert_eq!(task(line), Some(Task::Run(expected())));
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
    assert_eq!(Task::new(words("--path /api/v3/echo"), environment), Some(Task::Run(expected())));
}

#[test]
fn path_that_could_change_host_is_rejected() {
    for path in ["@evil.example/x", ".evil.example", ":80", "x", ""] {
        let line = ["--url", "localhost", "--login", "jo", "--password", "x", "--path", path];
        assert_eq!(Task::new(line.map(str::to_owned), |_| None), None, "{path}");
    }
}

#[test]
fn help_is_not_an_error() {
    assert_eq!(task("--help"), Some(Task::Help));
    assert_eq!(task("--login jo -h"), Some(Task::Help));
    assert!(arthur_client::USAGE.contains("--url") && config::USAGE.contains("--ttl"));
}

#[test]
fn invalid_server_arguments_are_rejected() {
    let arguments = Arguments::parse(words("--ttl 6 --tls")).unwrap();
    assert_eq!((arguments.config.ttl, arguments.tls), (Duration::from_secs(6), true));
    for line in ["--ttl 18446744073709551615", "--ttl -1", "--ttl", "--port 99999", "--x"] {
        assert!(Arguments::parse(words(line)).is_none(), "{line}");
    }
}

#[test]
fn cli_login_arguments_are_parsed() {
    use cli_login::{Arguments, Command, Method};

    let server = "--issuer https://as.example --client cli --directory tokens";
    let parse = |line: &str| Arguments::parse(words(&format!("{line} {server}")));
    let expected = Arguments {
        command: Command::LogIn(Method::Device),
        issuer: "https://as.example".to_owned(),
        client: "cli".to_owned(),
        scope: "read".to_owned(),
        directory: "tokens".into(),
    };
    assert_eq!(parse("login --device --scope read"), Some(expected));
    for (line, command) in [
        ("login", Command::LogIn(Method::Browser)),
        ("call --api https://api.example", Command::Call("https://api.example".to_owned())),
        ("logout", Command::LogOut),
    ] {
        assert_eq!(parse(line).map(|arguments| arguments.command), Some(command), "{line}");
    }
    for line in ["", "x", "--help", "call", "login --scope", "login --x"] {
        assert_eq!(Arguments::parse(words(line)), None, "{line}");
    }
    assert_eq!(Arguments::parse(words("login --issuer https://as.example")), None);
}

#[test]
fn fleet_arguments_are_parsed() {
    let plan = |line| fleet::Plan::new(words(line));
    assert_eq!(plan(""), Some(fleet::Plan::default()));
    let expected = fleet::Plan {
        processes: 100,
        rate: 50,
        kill: true,
        stop_redis: Some(Duration::from_secs(9)),
        ..fleet::Plan::default()
    };
    assert_eq!(plan("--processes 100 --rate 50 --kill --stop-redis 9"), Some(expected));
    for line in
        ["x", "--help", "--rate", "--rate 0", "--rate x", "--file --flush", "--file --fail-over"]
    {
        assert_eq!(plan(line), None, "{line}");
    }
}
