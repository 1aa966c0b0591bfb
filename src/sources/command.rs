//! [`CommandToken`]: the token that a command prints.

use std::{
    ffi::{OsStr, OsString},
    fmt,
    future::Future,
    io,
    pin::{Pin, pin},
    process::{ExitStatus, Stdio},
    task::{Context, Poll},
    time::Duration,
};

use tokio::{io::AsyncReadExt, process::Command, time::timeout};
use tower_service::Service;

use super::command_format::CommandFormat;
use crate::{AccessToken, LoginError, LoginRequest};

/// Less than a refresher's default login timeout, so that the error names the command.
const TIMEOUT: Duration = Duration::from_secs(25);
/// How many bytes a command may print.
const MAX_OUTPUT: usize = 1 << 20;
/// How long the output may stay open after the command has exited.
const WAIT_DELAY: Duration = Duration::from_secs(2);
const EXEC_INFO: &str = r#"{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","spec":{"interactive":false}}"#;

/// Runs a command and reads the token that it prints, as a login service. The credential helpers of `kubectl` and `git`
/// are such commands.
///
/// Each login runs the command: without a shell, with an empty standard input, and with the program's own standard
/// error. No thread waits for it. The runtime must have its I/O enabled. Otherwise tokio panics, and the started
/// process continues to run.
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
/// A login fails with a transient [`LoginError`] if the command
///
/// - cannot be started,
/// - exits with a status other than 0,
/// - takes longer than the [timeout](Self::timeout),
/// - prints more than 1 MiB,
/// - has exited, but a process that it started holds the output open for another 2 seconds, so that the output may be
///   incomplete, or
/// - prints no token in the expected [format](Self::format).
///
/// The error names the program. It shows neither the arguments nor the output.
///
/// # Cancellation
///
/// A login that is dropped or times out kills its process, but not the processes that this one started.
#[derive(Clone)]
#[doc(alias = "ExecCredential")]
pub struct CommandToken {
    program: OsString,
    args: Vec<OsString>,
    envs: Vec<(OsString, OsString)>,
    format: CommandFormat,
    timeout: Duration,
}

impl CommandToken {
    /// Creates a login service for a program: a path, or a name to look up in `PATH`. Does not run it yet.
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        Self {
            program: program.as_ref().to_owned(),
            args: Vec::new(),
            envs: Vec::new(),
            format: CommandFormat::default(),
            timeout: TIMEOUT,
        }
    }

    /// Adds an argument. Other users of the machine may see it, so it must not be a secret.
    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    /// Adds arguments, as [`arg`](Self::arg) does.
    #[must_use]
    pub fn args(mut self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// Adds an environment variable to those that the command inherits.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.envs.push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Sets the format of the command's output. Defaults to [`CommandFormat::Token`].
    #[must_use]
    pub fn format(mut self, format: CommandFormat) -> Self {
        self.format = format;
        self
    }

    /// Sets how long the command may take. Defaults to 25 seconds.
    ///
    /// Keep it below the refresher's [login timeout](crate::AuthRefresherBuilder::login_timeout), so that the error
    /// names the program.
    #[must_use]
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = limit;
        self
    }

    async fn run(self) -> Result<AccessToken, String> {
        let output = timeout(self.timeout, self.output()).await;
        let output = output.unwrap_or_else(|_| Err(format!("timed out after {:?}", self.timeout)));
        let token = output.and_then(|output| self.format.read(&output));
        token.map_err(|cause| format!("command {}: {cause}", self.program.display()))
    }

    /// Runs the command. Returns its complete output.
    async fn output(&self) -> Result<Vec<u8>, String> {
        let mut command = Command::new(&self.program);
        if self.format == CommandFormat::ExecCredential {
            command.env("KUBERNETES_EXEC_INFO", EXEC_INFO);
        }
        command.args(&self.args).envs(self.envs.iter().cloned());
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .kill_on_drop(true);
        let mut process = command.spawn().map_err(|error| format!("failed to start: {error}"))?;
        let stdout = process.stdout.take().ok_or("standard output is missing")?;
        let (mut stdout, mut output) = (stdout.take(MAX_OUTPUT as u64 + 1), Vec::new());
        let mut has_exited = false;
        {
            let mut reading = pin!(stdout.read_to_end(&mut output));
            let read = |result: io::Result<usize>| result.map_err(|error| error.to_string());
            tokio::select! {
                result = &mut reading => drop(read(result)?),
                status = process.wait() => {
                    check_status(status)?;
                    has_exited = true;
                    // A process that the command started can keep the output open, and write more.
                    let result = timeout(WAIT_DELAY, reading).await;
                    read(result.map_err(|_| "output is still open after the command exited")?)?;
                }
            }
        }
        if output.len() > MAX_OUTPUT {
            return Err(format!("output is larger than {MAX_OUTPUT} bytes"));
        }
        if !has_exited {
            check_status(process.wait().await)?;
        }
        Ok(output)
    }
}

fn check_status(status: io::Result<ExitStatus>) -> Result<(), String> {
    let status = status.map_err(|error| error.to_string())?;
    if status.success() { Ok(()) } else { Err(format!("failed with {status}")) }
}

impl Service<LoginRequest> for CommandToken {
    type Response = AccessToken;
    type Error = LoginError;
    type Future = Pin<Box<dyn Future<Output = Result<AccessToken, LoginError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), LoginError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: LoginRequest) -> Self::Future {
        let run = self.clone().run();
        Box::pin(async move { run.await.map_err(LoginError::transient) })
    }
}

/// Omits arguments and variables, because they can contain secrets.
impl fmt::Debug for CommandToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CommandToken")
            .field("program", &self.program)
            .field("format", &self.format)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}
