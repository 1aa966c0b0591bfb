//! [`Directory`]: the files, and the operations on them. Each operation blocks its thread.

use std::{
    fs::{self, DirBuilder, File, Metadata, OpenOptions},
    io::{self, Read, Seek, Write},
    path::{Path, PathBuf},
};

use ring::rand::{SecureRandom, SystemRandom};

use super::{
    claim::{CLAIM_LEN, GrantedClaim},
    error::FileTokenStoreError,
    format::{MAX_FILE_LEN, StoredRecord, UnknownVersion},
};
use crate::shared::RecordKey;

/// A directory with files for each key: the record file, the lock file, and temporary files of puts.
#[derive(Debug)]
pub(super) struct Directory(pub(super) PathBuf);

/// A lock file that this process has locked. Dropping it releases the lock, and so does the end of the process.
///
/// The file contains the claim. It is never deleted or replaced, because two processes could then lock two files.
pub(super) struct LockedFile {
    file: File,
    path: PathBuf,
}

/// A record in a temporary file, which is removed on drop.
pub(super) struct TemporaryFile(PathBuf);

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        // After the record file was replaced, there is none.
        let _ = fs::remove_file(&self.0);
    }
}

impl Directory {
    /// Returns the record, as it is at some moment of this operation. Returns `None` if the file is damaged.
    pub(super) fn read(
        &self,
        key: &RecordKey,
    ) -> Result<Option<StoredRecord>, FileTokenStoreError> {
        let path = self.path(key, "token");
        if !self.is_private_directory()? || !is_private_file(&path)? {
            return Ok(None);
        }
        let file = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(io_error("opening", &path))?,
        };
        self.check_owner(&file, &path)?;
        let mut bytes = Vec::new();
        // Reads one byte more than allowed, so that the checksum detects a file that is too long.
        file.take(MAX_FILE_LEN as u64 + 1)
            .read_to_end(&mut bytes)
            .map_err(io_error("reading", &path))?;
        StoredRecord::decode(&bytes).map_err(|UnknownVersion(version)| {
            FileTokenStoreError::UnknownVersion { path, version }
        })
    }

    /// Locks the key's lock file. Returns `None` while another process or another store has locked it.
    ///
    /// Creates the directory and the lock file if they are missing.
    pub(super) fn try_lock(
        &self,
        key: &RecordKey,
    ) -> Result<Option<LockedFile>, FileTokenStoreError> {
        self.create()?;
        let path = self.path(key, "lock");
        let is_new = !is_private_file(&path)?;
        let mut options = private_file();
        let file = options.read(true).create(true).truncate(false).open(&path);
        let file = file.map_err(io_error("opening", &path))?;
        if let Err(error) = self.check_owner(&file, &path) {
            if is_new {
                remove(&path)?;
            }
            return Err(error);
        }
        // With the name of the trait, because later standard libraries have a method with this name.
        match fs4::FileExt::try_lock(&file) {
            Ok(()) => Ok(Some(LockedFile { file, path })),
            Err(fs4::TryLockError::WouldBlock) => Ok(None),
            Err(fs4::TryLockError::Error(error)) => Err(io_error("locking", &path)(error)),
        }
    }

    /// Writes a record to a temporary file. Needs no lock, which others would wait for during the `fsync`.
    pub(super) fn write(
        &self,
        key: &RecordKey,
        record: &StoredRecord,
    ) -> Result<TemporaryFile, FileTokenStoreError> {
        self.create()?;
        let mut unique = [0; 8];
        let filled = SystemRandom::new().fill(&mut unique);
        let unavailable = |_| io_error("creating", &self.0)(io::ErrorKind::Unsupported.into());
        filled.map_err(unavailable)?;
        let path = self.path(key, &format!("{:016x}.new", u64::from_be_bytes(unique)));
        let file = private_file().create_new(true).open(&path);
        let mut file = file.map_err(io_error("creating", &path))?;
        let temporary = TemporaryFile(path);
        self.check_owner(&file, &temporary.0)?;
        let written = file.write_all(&record.encode()).and_then(|()| file.sync_all());
        written.map_err(io_error("writing", &temporary.0))?;
        Ok(temporary)
    }

    /// Replaces the record, ends the claim, and releases the lock. If the process dies during the operation, the record
    /// is the old or the new one.
    pub(super) fn replace(
        &self,
        key: &RecordKey,
        record: &TemporaryFile,
        mut lock: LockedFile,
    ) -> Result<(), FileTokenStoreError> {
        // First, so that no process reads the new record together with the claim for the old one.
        lock.set_claim(None)?;
        let path = self.path(key, "token");
        fs::rename(&record.0, &path).map_err(io_error("replacing", &path))?;
        self.remove_temporary(key)?;
        // Other processes can load the record before the directory is synced.
        drop(lock);
        self.sync()
    }

    /// Removes the temporary files of other processes. Only the process with the lock and the claim may call it: for
    /// all others, put returns false.
    fn remove_temporary(&self, key: &RecordKey) -> Result<(), FileTokenStoreError> {
        let prefix = format!("{key}.");
        for file in fs::read_dir(&self.0).map_err(io_error("reading", &self.0))? {
            let file = file.map_err(io_error("reading", &self.0))?;
            let name = file.file_name();
            let name = name.to_string_lossy();
            if name.starts_with(&prefix) && name.ends_with(".new") {
                remove(&file.path())?;
            }
        }
        Ok(())
    }

    /// Creates the directory, if it is missing.
    fn create(&self) -> Result<(), FileTokenStoreError> {
        if !self.is_private_directory()? {
            private_directory().create(&self.0).map_err(io_error("creating", &self.0))?;
            self.is_private_directory()?;
        }
        Ok(())
    }

    /// Removes the record file. Needs the lock.
    pub(super) fn remove(
        &self,
        key: &RecordKey,
        _: &LockedFile,
    ) -> Result<(), FileTokenStoreError> {
        remove(&self.path(key, "token"))
    }

    fn path(&self, key: &RecordKey, extension: &str) -> PathBuf {
        self.0.join(format!("{key}.{extension}"))
    }

    /// Returns whether the directory exists. Fails if other users have access.
    fn is_private_directory(&self) -> Result<bool, FileTokenStoreError> {
        is_private(&self.0, fs::metadata(&self.0), Metadata::is_dir)
    }

    /// Fails if the file and the directory have different owners. The owner of a file that this process has created is
    /// its user, so this also detects the directory of another user.
    #[cfg(unix)]
    fn check_owner(&self, file: &File, path: &Path) -> Result<(), FileTokenStoreError> {
        let owner = |metadata: io::Result<Metadata>| {
            let metadata = metadata.map_err(io_error("opening", path))?;
            Ok(std::os::unix::fs::MetadataExt::uid(&metadata))
        };
        if owner(file.metadata())? == owner(fs::metadata(&self.0))? {
            Ok(())
        } else {
            Err(FileTokenStoreError::WrongOwner { path: path.to_owned() })
        }
    }

    #[cfg(not(unix))]
    fn check_owner(&self, _: &File, _: &Path) -> Result<(), FileTokenStoreError> {
        Ok(())
    }

    /// Syncs the directory, which contains the names of the files.
    #[cfg(unix)]
    fn sync(&self) -> Result<(), FileTokenStoreError> {
        let synced = File::open(&self.0).and_then(|directory| directory.sync_all());
        match synced {
            // Some file systems cannot do this for a directory.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
            synced => synced.map_err(io_error("writing", &self.0)),
        }
    }

    #[cfg(not(unix))]
    fn sync(&self) -> Result<(), FileTokenStoreError> {
        Ok(())
    }
}

impl LockedFile {
    pub(super) fn claim(&mut self) -> Result<Option<GrantedClaim>, FileTokenStoreError> {
        let mut bytes = Vec::with_capacity(CLAIM_LEN);
        let read = self
            .file
            .rewind()
            .and_then(|()| (&mut self.file).take(CLAIM_LEN as u64).read_to_end(&mut bytes));
        read.map_err(io_error("reading", &self.path))?;
        Ok(GrantedClaim::decode(&bytes))
    }

    /// Writes the claim without a sync. A claim that is lost by a power failure costs one login.
    pub(super) fn set_claim(
        &mut self,
        claim: Option<GrantedClaim>,
    ) -> Result<(), FileTokenStoreError> {
        let bytes = claim.map_or_else(|| vec![0; CLAIM_LEN], |claim| claim.encode());
        let written = self.file.rewind().and_then(|()| self.file.write_all(&bytes));
        written.map_err(io_error("writing", &self.path))
    }
}

impl Drop for LockedFile {
    fn drop(&mut self) {
        // Not only by closing the file: a child process that was just started may have it open too.
        let _ = fs4::FileExt::unlock(&self.file);
    }
}

/// Returns whether the file exists. Fails if it is a symbolic link or not a regular file, or if other users have
/// access.
fn is_private_file(path: &Path) -> Result<bool, FileTokenStoreError> {
    is_private(path, fs::symlink_metadata(path), Metadata::is_file)
}

fn is_private(
    path: &Path,
    metadata: io::Result<Metadata>,
    is_expected_type: impl FnOnce(&Metadata) -> bool,
) -> Result<bool, FileTokenStoreError> {
    let metadata = match metadata {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        metadata => metadata.map_err(io_error("opening", path))?,
    };
    if !is_expected_type(&metadata) {
        return Err(FileTokenStoreError::WrongFileType { path: path.to_owned() });
    }
    #[cfg(unix)]
    {
        let mode = std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o777;
        if mode & 0o077 != 0 {
            return Err(FileTokenStoreError::NotPrivate { path: path.to_owned(), mode });
        }
    }
    Ok(true)
}

/// Removes a file, if there is one.
fn remove(path: &Path) -> Result<(), FileTokenStoreError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed.map_err(io_error("removing", path)),
    }
}

fn private_file() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

fn private_directory() -> DirBuilder {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder
}

fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> FileTokenStoreError {
    move |source| FileTokenStoreError::Io { action, path: path.to_owned(), source }
}
