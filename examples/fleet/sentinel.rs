//! A Redis server with a replica, and a Sentinel that promotes the replica if the server dies.

use std::{
    env, fs,
    net::TcpListener,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use ::redis::Value;
use tokio::time::sleep;
use tower::BoxError;

use super::redis::{self, Redis};

/// The name of the primary, for the clients of Sentinel.
pub(crate) const PRIMARY: &str = "tokens";

pub(crate) struct Sentinel {
    primary: Redis,
    replica: Redis,
    port: u16,
    process: Child,
    directory: PathBuf,
    /// The commands that the first primary got until it was killed.
    commands: (u64, u64),
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

impl Sentinel {
    pub(crate) async fn start() -> Result<Self, BoxError> {
        let primary = Redis::start(&[]).await?;
        let replica =
            Redis::start(&["--replicaof", "127.0.0.1", &primary.port.to_string()]).await?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let directory = env::temp_dir().join(format!("tower-auth-refresh-sentinel-{port}"));
        fs::create_dir_all(&directory)?;
        // Sentinel writes what it learns into this file.
        let config = format!(
            "port {port}\n\
             bind 127.0.0.1\n\
             sentinel monitor {PRIMARY} 127.0.0.1 {} 1\n\
             sentinel down-after-milliseconds {PRIMARY} 500\n\
             sentinel failover-timeout {PRIMARY} 5000\n",
            primary.port
        );
        fs::write(directory.join("sentinel.conf"), config)?;
        let process = Command::new("redis-sentinel")
            .arg("sentinel.conf")
            .current_dir(&directory)
            .stdout(Stdio::null())
            .spawn()
            .map_err(|error| format!("redis-sentinel does not start, install it: {error}"))?;
        let sentinel = Self { primary, replica, port, process, directory, commands: (0, 0) };
        sentinel.wait_until_replica_is_known().await?;
        Ok(sentinel)
    }

    pub(crate) fn url(&self) -> String {
        format!("sentinel://127.0.0.1:{}", self.port)
    }

    /// Kills the primary, as by a crash.
    pub(crate) async fn kill_primary(&mut self) -> Result<(), BoxError> {
        self.commands = self.primary.commands().await?;
        self.primary.kill()
    }

    /// Returns the commands that both servers got from the processes.
    pub(crate) async fn commands(&self) -> Result<(u64, u64), BoxError> {
        let (scripts, others) = self.replica.commands().await?;
        Ok((self.commands.0 + scripts, self.commands.1 + others))
    }

    async fn wait_until_replica_is_known(&self) -> Result<(), BoxError> {
        let replicas = format!("SENTINEL REPLICAS {PRIMARY}");
        for _ in 0..1000 {
            let known: Vec<Value> = redis::execute(self.port, &replicas).await.unwrap_or_default();
            let info: String = self.replica.execute("INFO replication").await?;
            if known.len() == 1 && info.contains("master_link_status:up") {
                return Ok(());
            }
            sleep(Duration::from_millis(20)).await;
        }
        Err("Sentinel does not find the replica".into())
    }
}
