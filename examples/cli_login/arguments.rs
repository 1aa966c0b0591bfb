//! The command line.

use std::{env, path::PathBuf};

/// Printed for an invalid argument, and for `--help`.
pub(crate) const USAGE: &str = "\
usage: cli_login [login [--browser | --device] | call --api URL | logout] --issuer URL --client ID [options]

  login            log in as a person: in the browser of this machine, or on any device
  call             send a GET to the API, without a person
  logout           delete the saved login

  --issuer URL     the authorization server
  --client ID      the id of a public client at this server
  --scope SCOPE    the scopes (openid offline_access)
  --directory DIR  where the directory of the login is (~/.local/state/tower-auth-refresh-cli-login)

Without arguments, it shows all commands at a local server.";

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Arguments {
    pub(crate) command: Command,
    pub(crate) issuer: String,
    pub(crate) client: String,
    pub(crate) scope: String,
    pub(crate) directory: PathBuf,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    LogIn(Method),
    /// The URL of the API.
    Call(String),
    LogOut,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    Browser,
    Device,
}

impl Arguments {
    /// Parses the arguments. Returns `None` if they are invalid.
    pub(crate) fn parse(arguments: impl IntoIterator<Item = String>) -> Option<Self> {
        let mut arguments = arguments.into_iter();
        let command = arguments.next()?;
        let (mut method, mut api) = (Method::Browser, None);
        let (mut issuer, mut client, mut directory) = (None, None, None);
        let mut scope = "openid offline_access".to_owned();
        while let Some(name) = arguments.next() {
            match name.as_str() {
                "--browser" => method = Method::Browser,
                "--device" => method = Method::Device,
                "--api" => api = Some(arguments.next()?),
                "--issuer" => issuer = Some(arguments.next()?),
                "--client" => client = Some(arguments.next()?),
                "--scope" => scope = arguments.next()?,
                "--directory" => directory = Some(arguments.next()?.into()),
                _ => return None,
            }
        }
        let command = match command.as_str() {
            "login" => Command::LogIn(method),
            "call" => Command::Call(api?),
            "logout" => Command::LogOut,
            _ => return None,
        };
        let directory = directory.or_else(default_directory)?;
        Some(Self { command, issuer: issuer?, client: client?, scope, directory })
    }
}

fn default_directory() -> Option<PathBuf> {
    let state = env::var_os("XDG_STATE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let state = state.or_else(|| Some(env::home_dir()?.join(".local/state")))?;
    Some(state.join("tower-auth-refresh-cli-login"))
}
