//! [`Credentials`]: the user who logs in.

use std::fmt;

use bytes::Bytes;
use serde::Serialize;
use zeroize::Zeroizing;

/// Contains the login name of a user (an e-mail address or a user name) and the password.
///
/// The password and the JSON that contains it are wiped from memory on drop. This does not apply to copies that HTTP and
/// TLS make. `Debug` does not show the password.
///
/// ```
/// use tower_auth_refresh::arthur::Credentials;
///
/// let credentials = Credentials::new("jo@example.com", "swordfish");
/// assert_eq!(credentials.login(), "jo@example.com");
/// assert!(!format!("{credentials:?}").contains("swordfish"));
/// ```
#[derive(Clone)]
pub struct Credentials {
    login: String,
    password: Zeroizing<String>,
}

impl Credentials {
    /// Creates credentials. An owned `String` is moved, not copied.
    pub fn new(login: impl Into<String>, password: impl Into<String>) -> Self {
        Self { login: login.into(), password: Zeroizing::new(password.into()) }
    }

    /// Returns the login name.
    pub fn login(&self) -> &str {
        &self.login
    }

    pub(super) fn password(&self) -> &str {
        &self.password
    }

    /// Returns `{"login":…,"password":…}`, wiped when its last clone is dropped.
    pub(super) fn to_json(&self) -> Result<Bytes, serde_json::Error> {
        #[derive(Serialize)]
        struct Body<'a> {
            login: &'a str,
            password: &'a str,
        }
        // An escaped byte becomes at most six. With enough capacity, the buffer never moves and leaves no copy behind.
        let capacity = 6 * (self.login.len() + self.password.len()) + 64;
        let mut json = Zeroizing::new(Vec::with_capacity(capacity));
        serde_json::to_writer(&mut *json, &Body { login: &self.login, password: &self.password })?;
        Ok(Bytes::from_owner(json))
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("login", &self.login).finish_non_exhaustive()
    }
}
