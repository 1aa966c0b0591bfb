//! [`Expiry`]: when a token expires.

use std::time::{Duration, SystemTime};

#[cfg(feature = "serde")]
use serde::{Serialize, Serializer};

/// States when a token expires.
///
/// ```
/// use std::time::Duration;
/// use tower_auth_refresh::{AccessToken, Expiry};
///
/// let token = AccessToken::bearer("s3cr3t")?;
/// assert_eq!(token.expiry(), Expiry::Unknown);
/// assert_eq!(token.with_expires_in(Duration::from_secs(60)).expiry(), Expiry::In(Duration::from_secs(60)));
/// # Ok::<(), tower_auth_refresh::InvalidToken>(())
/// ```
///
/// With the feature `serde`, it serializes as `{"in": 60}`, `{"at": 1800000000}`, `"never"` or `"unknown"`. The numbers
/// are whole seconds. `at` counts from 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Expiry {
    /// The token expires this long after its login was *sent*. Prefer this form, because the clocks of issuer and
    /// client need not agree.
    In(Duration),
    /// The token expires at this time of the local wall clock.
    At(SystemTime),
    /// The token never expires. The refresher replaces it only if it is rejected or invalidated, or if the refresh is
    /// forced.
    Never,
    /// The expiry is not known. The token is used until it is rejected or invalidated, or for the
    /// [default lifetime](crate::AuthRefresherBuilder::default_lifetime) if one is set.
    #[default]
    Unknown,
}

#[cfg(feature = "serde")]
#[cfg_attr(docsrs, doc(cfg(feature = "serde")))]
impl Serialize for Expiry {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::In(lifetime) => {
                serializer.serialize_newtype_variant("Expiry", 0, "in", &lifetime.as_secs())
            }
            Self::At(time) => {
                serializer.serialize_newtype_variant("Expiry", 1, "at", &unix_seconds(*time))
            }
            Self::Never => serializer.serialize_unit_variant("Expiry", 2, "never"),
            Self::Unknown => serializer.serialize_unit_variant("Expiry", 3, "unknown"),
        }
    }
}

/// Returns whole seconds since 1970: zero for an earlier time.
#[cfg(feature = "serde")]
pub(crate) fn unix_seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}
