//! `FileToken`: how the file is read.

use std::{fs, task::Poll};

use tokio::time::sleep;
use tower_auth_refresh::{
    AuthRefresher, Clock, Expiry, State, sources::FileToken, test_util::TestClock,
};

use crate::support::{assert_fails, folder, jwt, log_in, replace, secs, token};

#[tokio::test]
async fn white_space_around_the_token_is_ignored() {
    let path = folder("white-space").join("token");
    for text in ["abc", "abc\n", "  abc\r\n\n"] {
        fs::write(&path, text).unwrap();
        let token = log_in(FileToken::new(&path)).await.unwrap();
        assert_eq!(
            (token.header_value().to_str().unwrap(), token.expiry()),
            ("Bearer abc", Expiry::Unknown)
        );
    }
}

#[tokio::test]
async fn file_without_a_token_is_a_transient_error_that_names_it() {
    let path = folder("no-token").join("token");
    let assert_login_fails = async |cause: &str| {
        let cause = format!("token file {}: {cause}", path.display());
        assert_fails(log_in(FileToken::new(&path)).await, &cause);
    };
    assert_login_fails("No such file or directory").await;
    for (text, cause) in [
        ("", "token is empty"),
        ("\n \n", "token is empty"),
        ("s3cr3t\nand more", "token contains an invalid byte at position 6"),
        ("s3cr3t \u{e9}", "token contains an invalid byte at position 6"),
    ] {
        fs::write(&path, text).unwrap();
        assert_login_fails(cause).await;
    }
    fs::write(&path, "s3cr3t".repeat(20_000)).unwrap();
    assert_login_fails("token is larger than 65536 bytes").await;
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert_login_fails("not a regular file").await;
}

#[cfg(unix)]
#[tokio::test]
async fn pipe_is_an_error() {
    let path = folder("pipe").join("token");
    let made = std::process::Command::new("mkfifo").arg(&path).status();
    if made.is_ok_and(|status| status.success()) {
        assert_fails(log_in(FileToken::new(&path)).await, "not a regular file");
    }
}

#[tokio::test]
async fn concurrent_logins_succeed() {
    let path = folder("concurrent").join("token");
    fs::write(&path, "abc").unwrap();
    let login = FileToken::new(&path);
    let logins: Vec<_> = (0..20).map(|_| tokio::spawn(log_in(login.clone()))).collect();
    for login in logins {
        assert_eq!(login.await.unwrap().unwrap().secret(), "abc");
    }
}

#[tokio::test]
async fn login_reads_what_the_file_contains_when_it_starts() {
    let path = folder("newest").join("token");
    let login = FileToken::new(&path);
    let mut earlier = Vec::new();
    // Each login starts while the earlier ones can still be reading.
    for n in 0..200 {
        let token = format!("t{n}");
        replace(&path, &token);
        let mut reading = tokio_test::task::spawn(log_in(login.clone()));
        if let Poll::Ready(result) = reading.poll() {
            assert_eq!(result.unwrap().secret(), token);
        } else {
            earlier.push((n, reading));
        }
    }
    for (n, reading) in earlier {
        let read: usize = reading.await.unwrap().secret()[1..].parse().unwrap();
        assert!(read >= n, "login {n} got token {read}");
    }
}

#[tokio::test(start_paused = true)]
async fn jwt_is_used_until_it_expires_and_reading_it_twice_is_not_a_failure() {
    let path = folder("jwt").join("token");
    let clock = TestClock::default();
    let first = jwt(clock.now() + secs(3600));
    fs::write(&path, &first).unwrap();
    let refresher =
        AuthRefresher::builder(FileToken::new(&path)).clock(clock.clone()).build().unwrap();
    assert_eq!(token(&refresher).await, first);
    refresher.refresh().await.unwrap();
    sleep(secs(3590)).await;
    assert_eq!(token(&refresher).await, first);
    let status = refresher.status();
    assert_eq!((status.generation, status.consecutive_failures), (1, 0));

    // The file is not replaced.
    sleep(secs(40)).await;
    assert!(refresher.token().await.is_err());
    assert_eq!(refresher.status().state, State::Failed);
    sleep(secs(3600)).await;
    assert!(refresher.token().await.is_err(), "an old token became valid");

    let next = jwt(clock.now() + secs(3600));
    fs::write(&path, &next).unwrap();
    sleep(secs(61)).await;
    assert_eq!(token(&refresher).await, next);
}
