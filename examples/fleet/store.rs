//! What the processes share.

use std::{env, fs, path::PathBuf, process};

use tower::BoxError;

use super::{arguments::Plan, redis::Redis, sentinel::Sentinel};

/// A Redis server, or several with Sentinel, or a directory, for the time of the run.
pub(crate) enum Store {
    Redis(Redis),
    Sentinel(Sentinel),
    Directory(PathBuf),
}

impl Store {
    pub(crate) async fn start(plan: &Plan) -> Result<Self, BoxError> {
        if plan.fail_over {
            return Ok(Self::Sentinel(Sentinel::start().await?));
        }
        if plan.file {
            let name = format!("tower-auth-refresh-fleet-{}", process::id());
            return Ok(Self::Directory(env::temp_dir().join(name)));
        }
        Ok(Self::Redis(Redis::start(&[]).await?))
    }

    /// Returns what a process needs to open the store.
    pub(crate) fn location(&self) -> String {
        match self {
            Self::Redis(redis) => redis.url(),
            Self::Sentinel(sentinel) => sentinel.url(),
            Self::Directory(path) => path.to_string_lossy().into_owned(),
        }
    }

    /// Returns how often the processes called a script of Redis, and how many other commands they sent to connect.
    pub(crate) async fn commands(&self) -> Result<Option<(u64, u64)>, BoxError> {
        Ok(match self {
            Self::Redis(redis) => Some(redis.commands().await?),
            Self::Sentinel(sentinel) => Some(sentinel.commands().await?),
            Self::Directory(_) => None,
        })
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        if let Self::Directory(path) = self {
            let _ = fs::remove_dir_all(path);
        }
    }
}
