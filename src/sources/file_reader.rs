//! Reads the token in a file.

use std::{
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    parse::{MAX_LEN, parse_token},
    single_flight::SingleFlight,
};
use crate::AccessToken;

/// A token file. Clones share its readings, so a file system that hangs occupies one thread.
#[derive(Clone)]
pub(super) struct File {
    path: Arc<Path>,
    reading: SingleFlight<Result<AccessToken, String>>,
}

impl File {
    pub(super) fn new(path: PathBuf) -> Self {
        let path: Arc<Path> = path.into();
        let file = path.clone();
        Self { path, reading: SingleFlight::new(move || read_token(&file)) }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the file as it is after this call. Concurrent callers share a reading.
    pub(super) async fn read(&self) -> Result<AccessToken, String> {
        let token =
            self.reading.run().await.unwrap_or_else(|error| Err(format!("reading {error}")));
        token.map_err(|cause| format!("token file {}: {cause}", self.path.display()))
    }
}

fn read_token(path: &Path) -> Result<AccessToken, String> {
    let text = read_text(path).map_err(|error| error.to_string())?;
    parse_token(&text).map_err(|error| error.to_string())
}

/// Returns the text, or as much of it as shows that it is too large.
fn read_text(path: &Path) -> io::Result<Vec<u8>> {
    // Opening a pipe blocks until another process writes to it.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let mut text = Vec::new();
    fs::File::open(path)?.take(2 * MAX_LEN as u64).read_to_end(&mut text)?;
    Ok(text)
}
