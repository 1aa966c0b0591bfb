//! Reads the token in a file.

use std::{
    fmt, fs,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::{runtime::Handle, sync::Mutex, time::timeout};

use super::parse::{self, parse_token};
use crate::AccessToken;

/// How long to wait while the file is being read already.
const TURN: Duration = Duration::from_secs(1);

/// The file itself.
#[derive(Clone)]
pub(super) struct File {
    path: Arc<Path>,
    /// Held while it is read: a file system that hangs is to have one thread and no more.
    reading: Arc<Mutex<()>>,
}

impl File {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path: path.into(), reading: Arc::default() }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    fn failed(&self, why: &dyn fmt::Display) -> String {
        format!("the token file {}: {why}", self.path.display())
    }

    pub(super) async fn read(&self) -> Result<AccessToken, String> {
        let runtime = Handle::try_current().map_err(|_| self.failed(&"there is no tokio runtime to read it on"))?;
        let turn = timeout(TURN, self.reading.clone().lock_owned()).await;
        let turn = turn.map_err(|_| self.failed(&"the last reading has not ended"))?;
        let path = self.path.clone();
        let read = runtime.spawn_blocking(move || {
            let _turn = turn;
            text_of(&path)
        });
        let text = match read.await {
            Ok(text) => text.map_err(|error| self.failed(&error))?,
            Err(_) => return Err(self.failed(&"the runtime has ended")),
        };
        parse_token(&text).map_err(|error| self.failed(&error))
    }
}

/// What is in it, as far as is needed to see that it is too large.
fn text_of(path: &Path) -> io::Result<Vec<u8>> {
    // A pipe would be waited for.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("this is no file"));
    }
    let mut text = Vec::new();
    fs::File::open(path)?.take(2 * parse::MAX_LEN as u64).read_to_end(&mut text)?;
    Ok(text)
}
