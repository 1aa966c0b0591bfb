//! [`Credentials`]: who logs in.

use std::fmt;

use bytes::Bytes;
use serde::Serialize;
use zeroize::Zeroizing;

/// A login (an e-mail address or a user name) and its password.
///
/// The password is wiped from memory on drop, and so is the JSON sent; what HTTP and TLS copy on the way is theirs.
/// `Debug` does not show it.
#[derive(Clone)]
pub struct Credentials {
    login: String,
    password: Zeroizing<String>,
}

impl Credentials {
    /// A login and its password. An owned `String` is taken over, not copied.
    pub fn new(login: impl Into<String>, password: impl Into<String>) -> Self {
        Self { login: login.into(), password: Zeroizing::new(password.into()) }
    }

    /// The login.
    pub fn login(&self) -> &str {
        &self.login
    }

    pub(super) fn password(&self) -> &str {
        &self.password
    }

    /// `{"login":…,"password":…}`, wiped when its last clone is dropped.
    pub(super) fn to_json(&self) -> Result<Bytes, serde_json::Error> {
        #[derive(Serialize)]
        struct Body<'a> {
            login: &'a str,
            password: &'a str,
        }
        // A byte takes six at most once escaped. With the room there from the start, nothing is moved and left behind.
        let room = 6 * (self.login.len() + self.password.len()) + 64;
        let mut json = Zeroizing::new(Vec::with_capacity(room));
        serde_json::to_writer(&mut *json, &Body { login: &self.login, password: &self.password })?;
        Ok(Bytes::from_owner(json))
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("login", &self.login).finish_non_exhaustive()
    }
}
