//! A Redis server of the run.

use std::{
    net::TcpListener,
    process::{Child, Command, Stdio},
    time::Duration,
};

use redis::{Client, FromRedisValue};
use tokio::time::sleep;
use tower::BoxError;

pub(crate) struct Redis {
    pub(crate) port: u16,
    process: Child,
    arguments: Vec<String>,
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Redis {
    /// Starts a server with more arguments than the port.
    pub(crate) async fn start(arguments: &[&str]) -> Result<Self, BoxError> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let arguments: Vec<_> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let redis = Self { port, process: spawn(port, &arguments)?, arguments };
        redis.wait_until_it_responds().await?;
        Ok(redis)
    }

    pub(crate) async fn restart(&mut self) -> Result<(), BoxError> {
        self.kill()?;
        self.process = spawn(self.port, &self.arguments)?;
        self.wait_until_it_responds().await
    }

    pub(crate) fn kill(&mut self) -> Result<(), BoxError> {
        self.process.kill()?;
        self.process.wait()?;
        Ok(())
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Sends a signal: `-STOP` or `-CONT`.
    pub(crate) fn signal(&self, signal: &str) -> Result<(), BoxError> {
        let status =
            Command::new("kill").args([signal, &self.process.id().to_string()]).status()?;
        if status.success() { Ok(()) } else { Err(format!("kill: {status}").into()) }
    }

    pub(crate) async fn execute<T: FromRedisValue>(&self, command: &str) -> Result<T, BoxError> {
        execute(self.port, command).await
    }

    /// Returns how often the processes called a script, and how many other commands they sent to connect.
    pub(crate) async fn commands(&self) -> Result<(u64, u64), BoxError> {
        let stats: String = self.execute("INFO commandstats").await?;
        let calls = |line: &str| -> Option<(String, u64)> {
            let (name, counts) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
            Some((name.to_owned(), counts.split(',').next()?.parse().ok()?))
        };
        Ok(stats.lines().filter_map(calls).fold((0, 0), |(scripts, others), (name, calls)| {
            match name.as_str() {
                "evalsha" => (scripts + calls, others),
                "hello" | "auth" | "select" | "client|setinfo" | "script|load" => {
                    (scripts, others + calls)
                }
                // Those that the scripts execute.
                _ => (scripts, others),
            }
        }))
    }

    async fn wait_until_it_responds(&self) -> Result<(), BoxError> {
        for _ in 0..500 {
            // Only the commands of the processes count.
            if self.execute::<()>("CONFIG RESETSTAT").await.is_ok() {
                return Ok(());
            }
            sleep(Duration::from_millis(20)).await;
        }
        Err("redis-server does not respond".into())
    }
}

/// Executes a command whose arguments contain no spaces, with a connection of its own.
pub(crate) async fn execute<T: FromRedisValue>(port: u16, command: &str) -> Result<T, BoxError> {
    let client = Client::open(format!("redis://127.0.0.1:{port}"))?;
    let mut connection = client.get_multiplexed_async_connection().await?;
    let mut words = command.split(' ');
    let mut command = redis::cmd(words.next().unwrap_or_default());
    for word in words {
        command.arg(word);
    }
    Ok(command.query_async(&mut connection).await?)
}

fn spawn(port: u16, arguments: &[String]) -> Result<Child, BoxError> {
    Command::new("redis-server")
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
        .args(["--save", "", "--appendonly", "no"])
        .args(arguments)
        .stdout(Stdio::null())
        .spawn()
        .map_err(|error| format!("redis-server does not start, install it: {error}").into())
}
