//! Starts a certified authorization server, npm's `oidc-provider`, by `oidc/server.mjs`. Without node, or without the
//! server's packages, tests print the cause and are skipped.
#![allow(unreachable_pub, reason = "each test binary has this module at a place of its own")]

use std::{
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::OnceLock,
};

use http::Request;
use http_body_util::{BodyExt, Full};
use serde_json::Value;
use tower::ServiceExt;
use tower_auth_refresh::{http_client::HttpClient, oauth2::RefreshToken};

/// Its process ends with its standard input, when this is dropped.
pub struct OidcProvider {
    process: Child,
    pub issuer: String,
}

impl Drop for OidcProvider {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}

impl OidcProvider {
    /// Starts a server with these environment variables. Returns `None`, with the cause on standard error, if it cannot be
    /// started here.
    pub fn start(variables: &[(&str, String)]) -> Option<Self> {
        let script = installed().as_deref().inspect_err(|why| eprintln!("skipped: {why}")).ok()?;
        let mut process = Command::new("node")
            .arg(script)
            .envs(variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let issuer = line.trim().strip_prefix("listening ").expect("the server starts").to_owned();
        Some(Self { process, issuer })
    }

    /// Returns the refresh token of a new session of the client `refreshing`.
    pub async fn new_refresh_token(&self) -> RefreshToken {
        let created = self.test_route("POST", "refresh-token").await;
        RefreshToken::new(created["refresh_token"].as_str().unwrap())
    }

    /// Returns what the server has seen of refresh tokens.
    pub async fn seen(&self) -> Value {
        self.test_route("GET", "reuse").await
    }

    async fn test_route(&self, method: &str, route: &str) -> Value {
        let request = Request::builder()
            .method(method)
            .uri(format!("{}/test/{route}", self.issuer))
            .body(Full::default())
            .unwrap();
        let response = HttpClient::builder().build().unwrap().oneshot(request).await.unwrap();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        serde_json::from_slice(&body).unwrap()
    }
}

/// The server's script beside its packages, which are fetched once for each target folder.
fn installed() -> &'static Result<PathBuf, String> {
    static INSTALLED: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    INSTALLED.get_or_init(|| {
        let runs = |command: &mut Command| {
            let output = command.output().map_err(|error| error.to_string())?;
            if output.status.success() {
                Ok(())
            } else {
                Err(String::from_utf8_lossy(&output.stderr).into_owned())
            }
        };
        runs(Command::new("node").arg("--version"))
            .map_err(|why| format!("there is no node: {why}"))?;
        let source = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/oidc");
        let lock = fs::read_to_string(source.join("package-lock.json"))
            .map_err(|error| error.to_string())?;
        let (tmp, id) = (PathBuf::from(env!("CARGO_TARGET_TMPDIR")), std::process::id());
        let mut hasher = DefaultHasher::new();
        lock.hash(&mut hasher);
        let folder = tmp.join(format!("oidc-{:x}", hasher.finish()));
        if !folder.exists() {
            // Other processes do the same, so the folder is created elsewhere and moved as a whole.
            let new = tmp.join(format!("oidc-{id}"));
            fs::create_dir_all(&new).map_err(|error| error.to_string())?;
            for file in ["package.json", "package-lock.json"] {
                fs::copy(source.join(file), new.join(file)).map_err(|error| error.to_string())?;
            }
            runs(
                Command::new("npm")
                    .args(["ci", "--silent", "--no-audit", "--no-fund"])
                    .current_dir(&new),
            )
            .map_err(|why| format!("npm cannot fetch the server: {why}"))?;
            if fs::rename(&new, &folder).is_err() {
                let _ = fs::remove_dir_all(&new);
            }
        }
        let (new, server) = (folder.join(format!("server-{id}.mjs")), folder.join("server.mjs"));
        fs::copy(source.join("server.mjs"), &new).map_err(|error| error.to_string())?;
        fs::rename(new, &server).map_err(|error| error.to_string())?;
        Ok(server)
    })
}
