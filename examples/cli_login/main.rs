//! A command line tool that a person logs in to once. Later runs log in without the person, with the refresh token that
//! the first one has saved in a directory.
//!
//! Without arguments, it starts a local authorization server and an API, and shows all commands against them. A scripted
//! person approves the logins:
//!
//! ```sh
//! cargo run -p examples --features cli-login --example cli_login
//! ```
//!
//! With `--issuer` and `--client`, it is a tool for a real server. The client is a public one, for which the redirect URI
//! `http://127.0.0.1/callback` or the device flow is registered:
//!
//! ```sh
//! cargo run -p examples --features cli-login --example cli_login -- login --issuer https://… --client …
//! cargo run -p examples --features cli-login --example cli_login -- call --issuer https://… --client … --api https://…
//! ```

mod arguments;
mod local_server;
mod session;

use std::{env, fs, path::Path, process, process::ExitCode, time::Duration};

use arguments::{Arguments, Command, Method, USAGE};
use examples::{echo, issuer::Issuer, load};
use http::StatusCode;
use local_server::Person;
use session::Session;
use tower::BoxError;
use tower_auth_refresh::{LoginError, oauth2::OAuth2Error};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let mut words = env::args().skip(1).peekable();
    let outcome = if words.peek().is_none() {
        run().await.map(|_| ())
    } else if let Some(arguments) = Arguments::parse(words) {
        command(&arguments).await
    } else {
        println!("{USAGE}");
        return ExitCode::FAILURE;
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if is_login_required(&error) => {
            eprintln!("You are not logged in. Use the command `login`.");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("{}", load::with_causes(&*error));
            ExitCode::FAILURE
        }
    }
}

/// Runs one command for a person.
async fn command(arguments: &Arguments) -> Result<(), BoxError> {
    let Arguments { issuer, client, scope, directory, .. } = arguments;
    let session = Session::new(issuer, client, scope, directory)?;
    match &arguments.command {
        Command::LogIn(Method::Browser) => {
            session
                .log_in_with_browser(async |url| println!("Open this page to log in:\n{url}"))
                .await
        }
        Command::LogIn(Method::Device) => {
            session
                .log_in_with_device(async |page, _, code| {
                    println!("Open {page} on any device, and enter the code {code}");
                })
                .await
        }
        Command::Call(api) => {
            println!("{}", session.call(api).await?);
            Ok(())
        }
        Command::LogOut => session.log_out(),
    }
}

/// Returns whether a person has to log in.
fn is_login_required(error: &BoxError) -> bool {
    LoginError::find(&**error)
        .and_then(LoginError::cause)
        .is_some_and(OAuth2Error::is_login_required)
}

/// What happened in [`run`].
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Recorded {
    /// The logins that a person approved.
    pub approvals: u32,
    /// The responses to calls, each of a new process.
    pub calls: Vec<StatusCode>,
    /// Whether a call without a login failed for that reason, before the first login and after the last.
    pub login_required: [bool; 2],
}

/// Runs each command as a process of its own would, at a local server.
pub async fn run() -> Result<Recorded, BoxError> {
    let directory = env::temp_dir().join(format!("tower-auth-refresh-cli-login-{}", process::id()));
    let result = run_in(&directory).await;
    let _ = fs::remove_dir_all(&directory);
    result
}

async fn run_in(directory: &Path) -> Result<Recorded, BoxError> {
    let tokens = Issuer::new(Duration::from_secs(60));
    let api = format!("http://{}/", echo::serve(tokens.clone()).await?);
    let issuer = local_server::serve(tokens).await?;
    let person = Person::new()?;
    // Each command has a session of its own, as in a new process. They share the directory only.
    let session = || Session::new(&issuer, "cli", "openid offline_access", directory);
    let mut recorded = Recorded::default();

    println!("$ call");
    recorded.login_required[0] = is_refused(session()?.call(&api).await)?;
    for method in [Method::Browser, Method::Device] {
        println!("$ login {method:?}");
        match method {
            Method::Browser => {
                let open = async |url: &str| person.open(url).await;
                session()?.log_in_with_browser(open).await?;
            }
            Method::Device => {
                let enter = async |_: &str, complete: Option<&str>, code: &str| {
                    println!("code: {code}");
                    person.open(complete.unwrap_or_default()).await;
                };
                session()?.log_in_with_device(enter).await?;
            }
        }
        recorded.approvals += 1;
        for _ in 0..2 {
            println!("$ call");
            let status = session()?.call(&api).await?;
            println!("{status}");
            recorded.calls.push(status);
        }
    }
    println!("$ logout");
    session()?.log_out()?;
    println!("$ call");
    recorded.login_required[1] = is_refused(session()?.call(&api).await)?;
    Ok(recorded)
}

/// Returns whether a call failed because a person has to log in.
fn is_refused(call: Result<StatusCode, BoxError>) -> Result<bool, BoxError> {
    match call {
        Ok(_) => Ok(false),
        Err(error) if is_login_required(&error) => {
            println!("You are not logged in. Use the command `login`.");
            Ok(true)
        }
        Err(error) => Err(error),
    }
}
