//! What the processes share.

use std::{env, fs, path::PathBuf, process};

use tower::BoxError;

use super::redis::Redis;

/// A Redis server, or a directory, for the time of the run.
pub(crate) enum Store {
    Redis(Redis),
    Directory(PathBuf),
}

impl Store {
    pub(crate) async fn start(file: bool) -> Result<Self, BoxError> {
        if file {
            let name = format!("tower-auth-refresh-fleet-{}", process::id());
            return Ok(Self::Directory(env::temp_dir().join(name)));
        }
        Ok(Self::Redis(Redis::start().await?))
    }

    /// Returns what a process needs to open the store.
    pub(crate) fn location(&self) -> String {
        match self {
            Self::Redis(redis) => redis.url(),
            Self::Directory(path) => path.to_string_lossy().into_owned(),
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        if let Self::Directory(path) = self {
            let _ = fs::remove_dir_all(path);
        }
    }
}
