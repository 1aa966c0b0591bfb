//! [`Expiry`]: when a token expires.

use std::time::{Duration, SystemTime};

/// When a token expires.
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Expiry {
    /// The token expires this long after its login was *sent*. Preferred, because it requires no clocks to agree.
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
