//! Files that a crash, a person or a newer version has left.

use std::{fs, path::PathBuf};

use tower_auth_refresh::shared::{ClaimOutcome, FileTokenStoreError, NewRecord, TokenStore};

use crate::support::{HOUR, KEY, TempDir, file_error, id, put, revision};

/// Writes a file that only its owner can access.
fn write(path: PathBuf, content: &[u8]) {
    fs::write(&path, content).unwrap();
    #[cfg(unix)]
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
}

#[tokio::test]
async fn damaged_record_counts_as_none_and_is_replaced() {
    let directory = TempDir::new();
    let (store, key) = (directory.store(), KEY.get());
    put(&store, None, NewRecord::new(revision(1), &b"sealed"[..])).await;
    let file = fs::read(directory.file(KEY, "token")).unwrap();
    let longer = [&file[..], b"x"].concat();
    for damaged in [&b""[..], b"x", &[0; 4096], &file[..file.len() / 2], &longer, &vec![7; 3 << 20]]
    {
        write(directory.file(KEY, "token"), damaged);
        assert!(store.load(&key).await.unwrap().is_none());
        let claim = store.claim(&key, Some(revision(1)), id(1), HOUR).await.unwrap();
        assert_eq!(claim, ClaimOutcome::Changed(None));
        put(&store, None, NewRecord::new(revision(2), &b"new"[..])).await;
        assert_eq!(store.load(&key).await.unwrap().unwrap().revision, revision(2));
    }
}

#[tokio::test]
async fn record_of_a_newer_version_is_an_error_and_is_not_replaced() {
    let directory = TempDir::new();
    let (store, key) = (directory.store(), KEY.get());
    put(&store, None, NewRecord::new(revision(1), &b"sealed"[..])).await;
    let mut file = fs::read(directory.file(KEY, "token")).unwrap();
    file[8] += 1;
    write(directory.file(KEY, "token"), &file);
    for error in [
        store.load(&key).await.unwrap_err(),
        store.claim(&key, None, id(1), HOUR).await.unwrap_err(),
        store.claim(&key, Some(revision(1)), id(1), HOUR).await.unwrap_err(),
    ] {
        assert!(matches!(
            file_error(error),
            FileTokenStoreError::UnknownVersion { version: 2, .. }
        ));
    }
    assert_eq!(fs::read(directory.file(KEY, "token")).unwrap(), file);
}

#[tokio::test]
async fn damaged_lock_file_has_no_claim() {
    let directory = TempDir::new();
    let (store, key) = (directory.store(), KEY.get());
    assert_eq!(store.claim(&key, None, id(1), HOUR).await.unwrap(), ClaimOutcome::Granted);
    let file = fs::read(directory.file(KEY, "lock")).unwrap();
    let longer = [&b"x"[..], &file[..]].concat();
    for damaged in [&b""[..], &[0; 1000], &file[..file.len() - 1], &longer] {
        write(directory.file(KEY, "lock"), damaged);
        assert!(!store.extend(&key, id(1), HOUR).await.unwrap());
        assert_eq!(store.claim(&key, None, id(2), HOUR).await.unwrap(), ClaimOutcome::Granted);
        assert!(store.extend(&key, id(2), HOUR).await.unwrap());
    }
}

#[tokio::test]
async fn rest_of_a_put_is_ignored_and_removed() {
    let directory = TempDir::new();
    let (store, key) = (directory.store(), KEY.get());
    put(&store, None, NewRecord::new(revision(1), &b"sealed"[..])).await;
    let whole = fs::read(directory.file(KEY, "token")).unwrap();
    for rest in [&whole[..whole.len() / 2], &whole[..]] {
        write(directory.file(KEY, "new"), rest);
        let record = store.load(&key).await.unwrap().unwrap();
        put(&store, Some(record.revision), NewRecord::new(revision(2), &b"new"[..])).await;
        assert_eq!(&store.load(&key).await.unwrap().unwrap().bytes[..], b"new");
        assert_eq!(directory.extensions(), ["lock", "token"]);
    }
}
