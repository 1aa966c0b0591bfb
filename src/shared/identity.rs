//! [`TokenIdentity`]: what makes two logins the same login.

use std::fmt;

use ring::digest::{Context, SHA256};

use super::RecordKey;

/// What makes two logins the same login: issuer, client, grant and every parameter.
///
/// Processes with equal identities share a token. Everything that the token depends on belongs to the identity: scopes,
/// audience, resource, tenant, and the user if the token is that of a user. If the configurations of two processes
/// differ, and their identities do not, the processes use each other's token. So build the identity and the grant from
/// the same constants.
///
/// The [record key](RecordKey) is a hash (SHA-256) of all parts, each with its length in front. So the parts `ab` and
/// `c` differ from `a` and `bc`. The parts are compared byte by byte: `https://login.example.com` and
/// `https://login.example.com/` are two issuers.
///
/// An identity must not contain a secret. A person who sees the record key can guess a short secret by hashing
/// candidates.
///
/// ```
/// use tower_auth_refresh::shared::TokenIdentity;
///
/// let identity = TokenIdentity::new("https://login.example.com", "orders", "client_credentials")
///     .parameter("scope", "invoices:read")
///     .parameter("audience", "https://api.example.com");
/// # let reordered = TokenIdentity::new("https://login.example.com", "orders", "client_credentials")
/// #     .parameter("audience", "https://api.example.com")
/// #     .parameter("scope", "invoices:read");
/// # assert_eq!(identity, reordered);
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct TokenIdentity {
    issuer: String,
    client: String,
    grant: String,
    /// Sorted by name and value.
    parameters: Vec<(String, String)>,
}

/// What a record is for. Each purpose has its own record key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    AccessToken,
    /// The record of a refresh token.
    #[cfg(feature = "oauth2")]
    RefreshToken,
    /// The lock of a process that uses the refresh token.
    #[cfg(feature = "oauth2")]
    RefreshTokenLock,
}

impl Purpose {
    fn label(self) -> &'static str {
        match self {
            Self::AccessToken => "tower-auth-refresh access token",
            #[cfg(feature = "oauth2")]
            Self::RefreshToken => "tower-auth-refresh refresh token",
            #[cfg(feature = "oauth2")]
            Self::RefreshTokenLock => "tower-auth-refresh refresh token lock",
        }
    }
}

impl TokenIdentity {
    /// Creates an identity from the issuer, the client id, and the grant, such as `client_credentials`.
    pub fn new(
        issuer: impl Into<String>,
        client: impl Into<String>,
        grant: impl Into<String>,
    ) -> Self {
        Self {
            issuer: issuer.into(),
            client: client.into(),
            grant: grant.into(),
            parameters: Vec::new(),
        }
    }

    /// Adds a parameter. A name may occur several times.
    ///
    /// The order of the calls does not change the identity. The order within a value does: `read write` and `write
    /// read` are two scopes.
    #[must_use]
    pub fn parameter(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        let parameter = (name.into(), value.into());
        let position = self.parameters.partition_point(|other| *other < parameter);
        self.parameters.insert(position, parameter);
        self
    }

    /// Returns the record key for this purpose.
    pub(super) fn record_key(&self, purpose: Purpose) -> RecordKey {
        let mut hash = Context::new(&SHA256);
        let mut add = |part: &str| {
            hash.update(&(part.len() as u64).to_be_bytes());
            hash.update(part.as_bytes());
        };
        for part in [purpose.label(), &self.issuer, &self.client, &self.grant] {
            add(part);
        }
        for (name, value) in &self.parameters {
            add(name);
            add(value);
        }
        let mut key = [0; 32];
        key.iter_mut().zip(hash.finish().as_ref()).for_each(|(byte, hashed)| *byte = *hashed);
        RecordKey(key)
    }
}

/// Shows only the names of the parameters, because a value can be personal.
impl fmt::Debug for TokenIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.parameters.iter().map(|(name, _)| name).collect();
        f.debug_struct("TokenIdentity")
            .field("issuer", &self.issuer)
            .field("client", &self.client)
            .field("grant", &self.grant)
            .field("parameters", &names)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(identity: &TokenIdentity) -> RecordKey {
        identity.record_key(Purpose::AccessToken)
    }

    #[test]
    fn every_part_and_boundary_changes_the_key() {
        let identity = TokenIdentity::new;
        let identities = [
            identity("ab", "c", "d"),
            identity("a", "bc", "d"),
            identity("a", "b", "cd"),
            identity("abc", "", "d"),
            identity("", "abc", "d"),
            identity("ab", "c", "d").parameter("", ""),
            identity("ab", "c", "d").parameter("scope", ""),
            identity("ab", "c", "d").parameter("", "scope"),
            identity("ab", "c", "d").parameter("scop", "e"),
            identity("ab", "c", "d").parameter("scope", "read"),
            identity("ab", "c", "d").parameter("scope", "write"),
            identity("ab", "c", "d").parameter("scope", "read write"),
            identity("ab", "c", "d").parameter("scope", "write read"),
            identity("ab", "c", "d").parameter("scope", "read").parameter("scope", "write"),
            identity("ab", "c", "d").parameter("scope", "read").parameter("scope", "read"),
            identity("ab", "c", "d").parameter("scope", "read").parameter("audience", "write"),
            identity("ab", "c", "d").parameter("scope", "write").parameter("audience", "read"),
        ];
        let keys: std::collections::HashSet<_> = identities.iter().map(key).collect();
        assert_eq!(keys.len(), identities.len());
    }

    #[test]
    fn order_of_parameters_does_not_change_the_key() {
        let identity = TokenIdentity::new("a", "b", "c");
        let one =
            identity.clone().parameter("scope", "r").parameter("aud", "x").parameter("aud", "w");
        let other = identity.parameter("aud", "w").parameter("scope", "r").parameter("aud", "x");
        assert_eq!((&one, key(&one)), (&other, key(&other)));
    }

    /// Processes with different versions of this crate share a token, so the key of an identity must not change.
    #[test]
    fn key_is_the_same_in_every_version() {
        let identity =
            TokenIdentity::new("https://login.example.com", "orders", "client_credentials");
        assert_eq!(
            key(&identity.parameter("scope", "read")).to_string(),
            "ed135821b5d2cb442929ff86dec44d7b237f303681a1c07d07cf0e06dff53680"
        );
    }

    #[cfg(feature = "oauth2")]
    #[test]
    fn purposes_have_different_keys() {
        let identity = TokenIdentity::new("a", "b", "c");
        let [access, refresh, lock] =
            [Purpose::AccessToken, Purpose::RefreshToken, Purpose::RefreshTokenLock]
                .map(|purpose| identity.record_key(purpose));
        assert!(access != refresh && refresh != lock && lock != access);
    }

    #[test]
    fn debug_shows_no_value_of_a_parameter() {
        let identity =
            TokenIdentity::new("issuer", "client", "password").parameter("username", "alice");
        assert_eq!(
            format!("{identity:?}"),
            "TokenIdentity { issuer: \"issuer\", client: \"client\", grant: \"password\", parameters: [\"username\"] }"
        );
    }
}
