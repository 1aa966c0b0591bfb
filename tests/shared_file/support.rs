//! Directories that are removed, and short names for keys, revisions and claims.

use std::{
    fs, io,
    path::PathBuf,
    process,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    time::Duration,
};

use tower_auth_refresh::{
    BoxError,
    shared::{
        ClaimId, ClaimOutcome, FileTokenStore, FileTokenStoreError, NewRecord, RecordKey, Revision,
        TokenStore,
    },
};

pub(crate) const HOUR: Duration = Duration::from_secs(3600);
pub(crate) const KEY: RecordKeyNumber = RecordKeyNumber(0);

/// A path for a directory, which is removed on drop.
pub(crate) struct TempDir(pub(crate) PathBuf);

impl TempDir {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("shared-file-{}-{}", process::id(), COUNT.fetch_add(1, Relaxed));
        let path = std::env::temp_dir().join(name);
        let _ = fs::remove_dir_all(&path);
        Self(path)
    }

    /// Returns a store whose time limit is only a guard.
    pub(crate) fn store(&self) -> FileTokenStore {
        FileTokenStore::new(&self.0).timeout(Duration::from_secs(60))
    }

    pub(crate) fn file(&self, key: RecordKeyNumber, extension: &str) -> PathBuf {
        self.0.join(format!("{}.{extension}", key.get()))
    }

    /// Returns the sorted extensions of the files.
    pub(crate) fn extensions(&self) -> Vec<String> {
        let extension = |entry: io::Result<fs::DirEntry>| {
            entry.unwrap().path().extension().unwrap().to_str().unwrap().to_owned()
        };
        let mut extensions: Vec<_> = fs::read_dir(&self.0).unwrap().map(extension).collect();
        extensions.sort();
        extensions
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[derive(Clone, Copy)]
pub(crate) struct RecordKeyNumber(pub(crate) u8);

impl RecordKeyNumber {
    pub(crate) fn get(self) -> RecordKey {
        RecordKey::from_bytes([self.0; 32])
    }
}

pub(crate) fn revision(number: u64) -> Revision {
    let mut bytes = [0xee; 16];
    bytes[8..].copy_from_slice(&number.to_be_bytes());
    Revision::from_bytes(bytes)
}

pub(crate) fn number(revision: Revision) -> u64 {
    u64::from_be_bytes(revision.as_bytes()[8..].try_into().unwrap())
}

pub(crate) fn id(number: u64) -> ClaimId {
    let mut bytes = [0; 16];
    bytes[8..].copy_from_slice(&number.to_be_bytes());
    ClaimId::from_bytes(bytes)
}

/// Claims for an hour, and puts.
pub(crate) async fn put(store: &FileTokenStore, expected: Option<Revision>, record: NewRecord) {
    assert_eq!(
        store.claim(&KEY.get(), expected, id(1), HOUR).await.unwrap(),
        ClaimOutcome::Granted
    );
    assert!(store.put(&KEY.get(), expected, id(1), record).await.unwrap());
}

pub(crate) fn file_error(error: BoxError) -> FileTokenStoreError {
    *error.downcast().unwrap()
}
