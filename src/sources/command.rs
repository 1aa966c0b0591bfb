//! [`CommandToken`].

use std::{
    ffi::{OsStr, OsString},
    fmt,
    future::Future,
    pin::{Pin, pin},
    process::Stdio,
    task::{Context, Poll},
    time::{Duration, SystemTime},
};

use serde::Deserialize;
use serde_json::Value;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use tokio::{io::AsyncReadExt, process::Command, time::timeout};
use tower_service::Service;

use super::parse::parse_token;
use crate::{
    AccessToken, Expiry, LoginError, LoginRequest,
    json::{mistake, seconds},
};

const TIMEOUT: Duration = Duration::from_secs(25);
/// How many bytes a command may print.
const LIMIT: usize = 1 << 20;
/// How long what it printed may take to arrive when it has ended.
const WAIT_DELAY: Duration = Duration::from_millis(100);
const EXEC_INFO: &str =
    r#"{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","spec":{"interactive":false}}"#;

/// The token that a command prints, as `kubectl` and `git` have theirs from helpers.
///
/// The command is run at each login: without a shell, with nothing to read, and no thread waits for it. The runtime must have its
/// I/O enabled; on one that has not, tokio panics, and the process it has started runs on. What the command prints on standard
/// error goes to the program's own.
///
/// ```
/// use tower_auth_refresh::{AuthRefresher, sources::{CommandFormat, CommandToken}};
///
/// let login = CommandToken::new("aws-iam-authenticator")
///     .args(["token", "-i", "my-cluster"])
///     .format(CommandFormat::ExecCredential);
/// let refresher = AuthRefresher::new(login);
/// # let _: AuthRefresher = refresher;
/// ```
///
/// # Errors
///
/// A transient [`LoginError`] that names the program, and neither its arguments nor what it printed: it cannot be run, ends
/// with another status than 0, takes too long, prints more than 1 MiB, or prints no token.
///
/// # Cancellation
///
/// A login that is dropped, or takes too long, has its process killed; not those which that has started.
#[derive(Clone)]
pub struct CommandToken {
    program: OsString,
    args: Vec<OsString>,
    envs: Vec<(OsString, OsString)>,
    format: CommandFormat,
    timeout: Duration,
}

/// What a [`CommandToken`] prints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum CommandFormat {
    /// The token and nothing else, but for white space around it. If it is a JWT its end is known.
    #[default]
    Token,
    /// A JSON object as an OAuth 2 server answers (RFC 6749, section 5.1): `access_token`, and `expires_in`, a number of seconds
    /// from when the command was started; or instead of that `expires_at`, a time of RFC 3339.
    Json,
    /// What a credential plugin of Kubernetes prints: an `ExecCredential` of `client.authentication.k8s.io`, with `status.token`
    /// and perhaps `status.expirationTimestamp`. The command is told so by `KUBERNETES_EXEC_INFO`.
    ExecCredential,
}

impl CommandToken {
    /// A program, by its path or a name to be found in `PATH`. It is not run yet.
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        Self {
            program: program.as_ref().to_owned(),
            args: Vec::new(),
            envs: Vec::new(),
            format: CommandFormat::default(),
            timeout: TIMEOUT,
        }
    }

    /// One more argument. Other users of the machine may see it: no place for a secret.
    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    /// More arguments.
    #[must_use]
    pub fn args(mut self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// A variable of the command's environment, beside those of the program's own.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.envs.push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// What it prints; [a token and nothing else](CommandFormat::Token) unless said.
    #[must_use]
    pub fn format(mut self, format: CommandFormat) -> Self {
        self.format = format;
        self
    }

    /// How long it may take; 25 seconds unless said, which is less than a refresher's own
    /// [limit](crate::AuthRefresherBuilder::login_timeout), so that the error names the program.
    #[must_use]
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = limit;
        self
    }

    async fn run(self) -> Result<AccessToken, String> {
        let ran = timeout(self.timeout, self.printed()).await;
        let printed = ran.unwrap_or_else(|_| Err(format!("it took longer than {:?}", self.timeout)));
        let token = printed.and_then(|printed| read(self.format, &printed));
        token.map_err(|why| format!("the command {}: {why}", self.program.display()))
    }

    async fn printed(&self) -> Result<Vec<u8>, String> {
        let mut command = Command::new(&self.program);
        if self.format == CommandFormat::ExecCredential {
            command.env("KUBERNETES_EXEC_INFO", EXEC_INFO);
        }
        command.args(&self.args).envs(self.envs.iter().cloned());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit()).kill_on_drop(true);
        let mut process = command.spawn().map_err(|error| format!("it cannot be run: {error}"))?;
        let stdout = process.stdout.take().ok_or("it has no standard output")?;
        let (mut stdout, mut printed, mut open) = (stdout.take(LIMIT as u64 + 1), Vec::new(), false);
        let status = {
            let mut reading = pin!(stdout.read_to_end(&mut printed));
            tokio::select! {
                read = &mut reading => {
                    read.map_err(|error| error.to_string())?;
                    None
                }
                // What it has started may keep its output open for ever.
                status = process.wait() => {
                    match timeout(WAIT_DELAY, reading).await {
                        Ok(read) => drop(read.map_err(|error| error.to_string())?),
                        Err(_) => open = true,
                    }
                    Some(status)
                }
            }
        };
        if printed.len() > LIMIT {
            return Err(format!("it printed more than {LIMIT} bytes"));
        }
        if open && !printed.ends_with(b"\n") {
            return Err("it has ended, but its output goes on".to_owned());
        }
        let status = match status {
            Some(status) => status,
            None => process.wait().await,
        };
        let status = status.map_err(|error| error.to_string())?;
        if status.success() { Ok(printed) } else { Err(format!("it ended with {status}")) }
    }
}

#[derive(Deserialize)]
struct Json {
    access_token: String,
    expires_in: Option<Value>,
    expires_at: Option<String>,
}

#[derive(Deserialize)]
struct ExecCredential {
    status: Option<ExecStatus>,
}

#[derive(Deserialize)]
struct ExecStatus {
    token: Option<String>,
    #[serde(rename = "expirationTimestamp")]
    expires_at: Option<String>,
}

fn read(format: CommandFormat, printed: &[u8]) -> Result<AccessToken, String> {
    let bearer = |secret: &str| parse_token(secret.as_bytes()).map_err(|error| format!("its token: {error}"));
    match format {
        CommandFormat::Token => parse_token(printed).map_err(|error| format!("what it printed: {error}")),
        CommandFormat::Json => {
            let Json { access_token, expires_in, expires_at } = json(printed)?;
            let token = bearer(&access_token)?;
            match (expires_in, expires_at) {
                (Some(lifetime), _) => {
                    let lifetime = seconds(&lifetime).ok_or("expires_in is no number of seconds")?;
                    Ok(token.with_expires_in(lifetime))
                }
                (None, Some(time)) => Ok(token.with_expiry(at(&time)?)),
                (None, None) => Ok(token),
            }
        }
        CommandFormat::ExecCredential => {
            let status = json::<ExecCredential>(printed)?.status.ok_or("it printed no status")?;
            let token = bearer(&status.token.ok_or("it printed no token; certificates are of no use here")?)?;
            match status.expires_at {
                Some(time) => Ok(token.with_expiry(at(&time)?)),
                None => Ok(token),
            }
        }
    }
}

fn json<'a, T: Deserialize<'a>>(printed: &'a [u8]) -> Result<T, String> {
    serde_json::from_slice(printed).map_err(|error| format!("what it printed: {}", mistake(&error)))
}

fn at(time: &str) -> Result<Expiry, String> {
    let time = OffsetDateTime::parse(time, &Rfc3339).map_err(|_| "the token's end is no time of RFC 3339")?;
    // Before 1970 is long over all the same.
    let since_epoch = Duration::from_secs(time.unix_timestamp().try_into().unwrap_or_default());
    Ok(SystemTime::UNIX_EPOCH.checked_add(since_epoch).map_or(Expiry::Never, Expiry::At))
}

impl Service<LoginRequest> for CommandToken {
    type Response = AccessToken;
    type Error = LoginError;
    type Future = Pin<Box<dyn Future<Output = Result<AccessToken, LoginError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), LoginError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: LoginRequest) -> Self::Future {
        let running = self.clone().run();
        Box::pin(async move { running.await.map_err(LoginError::transient) })
    }
}

/// Without arguments and variables, which may hold secrets all the same.
impl fmt::Debug for CommandToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CommandToken")
            .field("program", &self.program)
            .field("format", &self.format)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}
