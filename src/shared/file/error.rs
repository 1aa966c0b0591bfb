//! [`FileTokenStoreError`]: why an operation on the directory failed.

use std::{error::Error, fmt, io, path::PathBuf, time::Duration};

/// The error of a [`FileTokenStore`](super::FileTokenStore). It contains no part of a record.
#[derive(Debug)]
#[non_exhaustive]
pub enum FileTokenStoreError {
    /// Other users can access the file or the directory. `chmod go=` removes their access.
    NotPrivate {
        /// The file or directory.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A file and the directory have different owners, or the directory belongs to another user.
    WrongOwner {
        /// The file, which this process may have just created.
        path: PathBuf,
    },
    /// The path is not a directory, or not a regular file.
    WrongFileType {
        /// The path.
        path: PathBuf,
    },
    /// A newer version of this crate has written the record.
    UnknownVersion {
        /// The record's file.
        path: PathBuf,
        /// The version of its format.
        version: u8,
    },
    /// The record to put is larger than 1 MiB.
    TooLarge {
        /// Its length in bytes.
        len: usize,
    },
    /// A call has exceeded its time limit: another process has locked the file, or the file system does not respond.
    TimedOut {
        /// The [limit](super::FileTokenStore::timeout).
        limit: Duration,
    },
    /// The runtime shut down during the file operation, or the [clock](super::FileTokenStore::clock) panicked.
    Interrupted,
    /// The file system returned an error.
    Io {
        /// What failed, such as `opening`.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The error of the file system.
        source: io::Error,
    },
}

impl FileTokenStoreError {
    /// Returns whether the file system has denied access. After a failed `load`, that is access to read.
    ///
    /// In a read-only directory, records can be loaded and not replaced.
    pub fn is_read_only(&self) -> bool {
        match self {
            Self::Io { source, .. } => matches!(
                source.kind(),
                io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem
            ),
            _ => false,
        }
    }
}

impl fmt::Display for FileTokenStoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotPrivate { path, mode } => {
                write!(f, "path accessible to other users: {}, mode {mode:03o}", path.display())
            }
            Self::WrongOwner { path } => {
                write!(f, "owner differs from that of the directory: {}", path.display())
            }
            Self::WrongFileType { path } => {
                write!(f, "file type unexpected: {}", path.display())
            }
            Self::UnknownVersion { path, version } => {
                write!(f, "record version of {} unknown: {version}", path.display())
            }
            Self::TooLarge { len } => write!(f, "record too large: {len} bytes"),
            Self::TimedOut { limit } => write!(f, "file operation timed out after {limit:?}"),
            Self::Interrupted => f.write_str("file operation interrupted"),
            Self::Io { action, path, .. } => {
                write!(f, "{action} {} failed", path.display())
            }
        }
    }
}

impl Error for FileTokenStoreError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}
