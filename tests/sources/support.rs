//! Helpers for the tests of sources.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use tower::{Service, ServiceExt};
use tower_auth_refresh::{
    AccessToken, AuthRefresher, LoginError, LoginReason, LoginRequest, sources::FileToken,
    test_util::TestClock,
};

pub(crate) const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Calls a login service directly.
pub(crate) async fn log_in<L>(login: L) -> Result<AccessToken, LoginError>
where
    L: Service<LoginRequest, Response = AccessToken, Error = LoginError>,
{
    login.oneshot(LoginRequest::new(LoginReason::First)).await
}

/// Checks that a login failed transiently, with an error that contains a text and not the secret `s3cr3t`.
#[track_caller]
pub(crate) fn assert_fails(result: Result<AccessToken, LoginError>, text: &str) {
    let error = result.unwrap_err();
    let message = format!("{error:?}");
    assert!(
        !error.is_permanent() && message.contains(text) && !message.contains("s3cr3t"),
        "{message}"
    );
}

/// Returns the secret of the current token.
pub(crate) async fn token(refresher: &AuthRefresher) -> String {
    refresher.token().await.unwrap().secret().to_owned()
}

/// Creates an empty folder for one test.
pub(crate) fn folder(name: &str) -> PathBuf {
    let folder =
        Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// Replaces a file as a whole, so that no reader sees a part of it.
pub(crate) fn replace(path: &Path, text: &str) {
    let new = path.with_extension("new");
    fs::write(&new, text).unwrap();
    fs::rename(new, path).unwrap();
}

/// Creates a refresher for a token file, with a test clock and without jitter.
pub(crate) fn file_refresher(path: &Path) -> AuthRefresher {
    AuthRefresher::builder(FileToken::new(path))
        .clock(TestClock::default())
        .jitter(false)
        .build()
        .unwrap()
}

/// Returns a JWT that was issued an hour before it expires.
pub(crate) fn jwt(expires: SystemTime) -> String {
    let expires = expires.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let claims = serde_json::json!({"iat": expires - 3600, "exp": expires});
    let key = jsonwebtoken::EncodingKey::from_secret(b"key");
    jsonwebtoken::encode(&jsonwebtoken::Header::default(), &claims, &key).unwrap()
}
