//! Who can access the files. On Unix only.
#![cfg(unix)]

use std::{
    fs,
    os::unix::{
        fs::{MetadataExt, PermissionsExt, chown, symlink},
        process::CommandExt,
    },
    path::Path,
    process::Command,
};

use tower_auth_refresh::shared::{ClaimOutcome, FileTokenStoreError, NewRecord, TokenStore};

use crate::{
    process::Process,
    support::{HOUR, KEY, TempDir, file_error, id, put, revision},
};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

async fn directory_with_record() -> TempDir {
    let directory = TempDir::new();
    put(&directory.store(), None, NewRecord::new(revision(1), &b"sealed"[..])).await;
    directory
}

#[tokio::test]
async fn files_and_directories_are_private() {
    let parent = TempDir::new();
    let directory = TempDir(parent.0.join("state/tokens"));
    put(&directory.store(), None, NewRecord::new(revision(1), &b"sealed"[..])).await;
    for path in [&parent.0, directory.0.parent().unwrap(), &directory.0] {
        assert_eq!(mode(path), 0o700, "{}", path.display());
    }
    for extension in ["token", "lock"] {
        assert_eq!(mode(&directory.file(KEY, extension)), 0o600, "{extension}");
    }
}

#[tokio::test]
async fn directory_that_others_can_access_is_rejected() {
    let directory = directory_with_record().await;
    for mode in [0o755, 0o750, 0o740, 0o701, 0o777, 0o1770] {
        set_mode(&directory.0, mode);
        let store = directory.store();
        for error in [
            store.load(&KEY.get()).await.unwrap_err(),
            store.claim(&KEY.get(), Some(revision(1)), id(1), HOUR).await.unwrap_err(),
            store.extend(&KEY.get(), id(1), HOUR).await.unwrap_err(),
        ] {
            let error = file_error(error);
            assert!(
                matches!(&error, FileTokenStoreError::NotPrivate { path, mode: m } if *path == directory.0 && *m == mode & 0o777),
                "{error:?}"
            );
        }
    }
    set_mode(&directory.0, 0o700);
    assert!(directory.store().load(&KEY.get()).await.unwrap().is_some());
}

#[tokio::test]
async fn file_that_others_can_access_is_rejected() {
    let directory = directory_with_record().await;
    let store = directory.store();
    set_mode(&directory.file(KEY, "token"), 0o640);
    let error = store.load(&KEY.get()).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "path accessible to other users: {}, mode 640",
            directory.file(KEY, "token").display()
        )
    );
    set_mode(&directory.file(KEY, "token"), 0o600);
    set_mode(&directory.file(KEY, "lock"), 0o604);
    let error = store.claim(&KEY.get(), Some(revision(1)), id(1), HOUR).await.unwrap_err();
    assert!(matches!(file_error(error), FileTokenStoreError::NotPrivate { mode: 0o604, .. }));
}

#[tokio::test]
async fn symbolic_link_is_not_followed_to_a_file() {
    let (directory, elsewhere) = (directory_with_record().await, directory_with_record().await);
    let store = directory.store();
    for extension in ["lock", "token"] {
        let path = directory.file(KEY, extension);
        fs::remove_file(&path).unwrap();
        symlink(elsewhere.file(KEY, extension), &path).unwrap();
        let error = store.claim(&KEY.get(), Some(revision(1)), id(1), HOUR).await.unwrap_err();
        assert!(
            matches!(file_error(error), FileTokenStoreError::WrongFileType { path: p } if p == path)
        );
        fs::remove_file(&path).unwrap();
    }
}

/// Only root can change the owner, so the test needs root.
#[tokio::test]
async fn directory_of_another_user_is_rejected() {
    const USER: u32 = 65_534;
    let directory = directory_with_record().await;
    let store = directory.store();
    if fs::metadata(&directory.0).unwrap().uid() != 0 {
        return;
    }
    let change_owner = |path: &Path| chown(path, Some(USER), Some(USER)).unwrap();
    let assert_refused = |error| {
        let error = file_error(error);
        assert!(matches!(error, FileTokenStoreError::WrongOwner { .. }), "{error:?}");
    };
    let expected = Some(revision(1));
    let token = directory.file(KEY, "token");
    change_owner(&token);
    assert_refused(store.load(&KEY.get()).await.unwrap_err());
    change_owner(&directory.0);
    assert!(store.load(&KEY.get()).await.unwrap().is_some());

    // The lock file is that of root.
    assert_refused(store.claim(&KEY.get(), expected, id(1), HOUR).await.unwrap_err());
    fs::remove_file(directory.file(KEY, "lock")).unwrap();
    assert_refused(store.claim(&KEY.get(), expected, id(1), HOUR).await.unwrap_err());
    assert_eq!(directory.extensions(), ["token"]);

    fs::write(directory.file(KEY, "lock"), "").unwrap();
    set_mode(&directory.file(KEY, "lock"), 0o600);
    change_owner(&directory.file(KEY, "lock"));
    assert_eq!(
        store.claim(&KEY.get(), expected, id(1), HOUR).await.unwrap(),
        ClaimOutcome::Granted
    );
    let record = NewRecord::new(revision(2), &b"s3cr3t"[..]);
    assert_refused(store.put(&KEY.get(), expected, id(1), record).await.unwrap_err());
    assert_eq!(directory.extensions(), ["lock", "token"]);
}

/// Root can write to every directory. So the test runs as another user, if it is started by root.
#[tokio::test]
async fn record_in_a_read_only_directory_is_loaded_and_not_replaced() {
    const USER: u32 = 65_534;
    let directory = directory_with_record().await;
    fs::remove_file(directory.file(KEY, "lock")).unwrap();
    let is_root = fs::metadata(&directory.0).unwrap().uid() == 0;
    let binary = TempDir::new();
    let mut command = Command::new(&binary.0);
    // The other user may have no access to the build's directory. Another process copies, because a file that this one has
    // open for writing can be in the children of other tests, and then cannot be executed.
    let copied = Command::new("cp").arg(std::env::current_exe().unwrap()).arg(&binary.0).status();
    assert!(copied.unwrap().success());
    set_mode(&binary.0, 0o755);
    if is_root {
        for path in [&directory.0, &directory.file(KEY, "token")] {
            chown(path, Some(USER), Some(USER)).unwrap();
        }
        command.uid(USER).gid(USER);
    }
    set_mode(&directory.0, 0o500);
    let mut process = Process::spawn(command, "read-only", &directory.0);
    assert_eq!(process.line(), "sealed");
    process.succeed();
    set_mode(&directory.0, 0o700);
    fs::remove_file(&binary.0).unwrap();
}
