//! Starts and stops Redis servers, each with a directory and a free port.

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use tokio::time::{sleep, timeout};

/// Only against hanging.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

pub(crate) struct Server {
    program: &'static str,
    arguments: Vec<String>,
    directory: PathBuf,
    process: Child,
    pub(crate) port: u16,
    /// What a client needs to connect.
    pub(crate) url: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// Starts a server with more options.
    pub(crate) async fn start_with(options: &[&str]) -> Self {
        let port = free_port();
        let url = format!("redis://127.0.0.1:{port}");
        Self::start_at(port, url, options).await
    }

    pub(crate) async fn start_at(port: u16, url: String, options: &[&str]) -> Self {
        let mut arguments = vec!["--port".to_owned(), port.to_string()];
        arguments.extend(options.iter().map(|option| (*option).to_owned()));
        let directory = new_directory(port);
        let process = spawn("redis-server", &directory, &arguments);
        let server = Self { program: "redis-server", arguments, directory, process, port, url };
        server.responds().await;
        server
    }

    /// Starts a Sentinel that monitors a primary, and agrees with itself that it is down.
    pub(crate) async fn start_sentinel(name: &str, primary: &Self) -> Self {
        let port = free_port();
        let directory = new_directory(port);
        let config = format!(
            "port {port}\n\
             bind 127.0.0.1\n\
             sentinel monitor {name} 127.0.0.1 {} 1\n\
             sentinel down-after-milliseconds {name} 500\n\
             sentinel failover-timeout {name} 5000\n",
            primary.port,
        );
        fs::write(directory.join("sentinel.conf"), config).unwrap();
        let program = "redis-sentinel";
        let arguments = vec!["sentinel.conf".to_owned()];
        let process = spawn(program, &directory, &arguments);
        let url = format!("redis://127.0.0.1:{port}");
        let server = Self { program, arguments, directory, process, port, url };
        server.responds().await;
        server
    }

    /// Stops the server as by a crash, and starts it again without its data.
    pub(crate) async fn restart(&mut self) {
        self.kill();
        self.process = spawn(self.program, &self.directory, &self.arguments);
        self.responds().await;
    }

    pub(crate) fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    pub(crate) fn signal(&self, signal: &str) {
        let process = self.process.id().to_string();
        assert!(Command::new("kill").args([signal, &process]).status().unwrap().success());
    }

    /// Executes a command, with a connection of its own.
    pub(crate) async fn command<T: redis::FromRedisValue>(
        &self,
        command: &str,
    ) -> redis::RedisResult<T> {
        let client = redis::Client::open(self.url.as_str())?;
        let mut connection = client.get_multiplexed_async_connection().await?;
        let mut words = command.split(' ');
        let mut command = redis::cmd(words.next().unwrap());
        words.for_each(|word| {
            command.arg(word);
        });
        command.query_async(&mut connection).await
    }

    async fn responds(&self) {
        let connected = async || match redis::Client::open(self.url.as_str()) {
            Ok(client) => client.get_multiplexed_async_connection().await.is_ok(),
            Err(_) => false,
        };
        until("server does not respond", connected).await;
    }
}

/// Waits for a condition, with a limit against hanging.
pub(crate) async fn until(error: &str, condition: impl AsyncFn() -> bool) {
    let wait = async {
        while !condition().await {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(LIMIT, wait).await.expect(error);
}

pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn new_directory(port: u16) -> PathBuf {
    let name = format!("tower-auth-refresh-redis-{}-{port}", std::process::id());
    let directory = std::env::temp_dir().join(name);
    fs::create_dir_all(&directory).unwrap();
    directory
}

fn spawn(program: &str, directory: &Path, arguments: &[String]) -> Child {
    let mut command = Command::new(program);
    command.args(arguments);
    if program == "redis-server" {
        command.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
    }
    command
        .current_dir(directory)
        .stdout(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| panic!("{program} does not start, install it: {error}"))
}
