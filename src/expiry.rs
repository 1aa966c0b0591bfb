//! [`Expiry`]: when a token ends.

use std::time::{Duration, SystemTime};

/// When a token ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Expiry {
    /// So long after the login that brought it was *sent*. The best form, since no two clocks need agree.
    In(Duration),
    /// At this time of the local wall clock.
    At(SystemTime),
    /// Never: it is not refreshed unless it is rejected, invalidated or the refresh is forced.
    Never,
    /// Nobody knows. It is used until it is rejected or invalidated, or for the
    /// [default lifetime](crate::AuthRefresherBuilder::default_lifetime) where one is set.
    #[default]
    Unknown,
}

/// 9999-12-31T23:59:59Z. A larger number is no count of seconds (most likely it counts milliseconds).
#[cfg(feature = "jwt")]
const LAST_SECOND: f64 = 253_402_300_799.0;

impl Expiry {
    /// Reads the `exp` claim of a JWT (RFC 7519, section 4.1.4) without checking its signature.
    ///
    /// `server_time` is the issuer's own clock where it is known (the `Date` header of its answer): what is left of
    /// the token is then the difference of two readings of one clock, less a second (of a life shorter than two, the
    /// half), since the header leaves out fractions; and never more than `exp - iat`. Without it `exp` is compared with
    /// `now`, the local wall clock. A token that looks expired, although its `exp` is later than its `iat`, means that one
    /// of the clocks is wrong, and `exp - iat` is taken for what is left.
    ///
    /// Fractions of a second are dropped. [`Expiry::Unknown`] if this is no JWT, or `exp` is missing or is no
    /// number of seconds between the years 1970 and 9999.
    ///
    /// ```
    /// use std::time::{Duration, UNIX_EPOCH};
    /// use tower_auth_refresh::Expiry;
    ///
    /// // {"iat":1000,"exp":4600}
    /// let jwt = "eyJhbGciOiJIUzI1NiJ9.eyJpYXQiOjEwMDAsImV4cCI6NDYwMH0.c2ln";
    /// let server_time = UNIX_EPOCH + Duration::from_secs(1010);
    /// let now = UNIX_EPOCH + Duration::from_secs(1020);
    /// assert_eq!(Expiry::from_jwt(jwt, Some(server_time), now), Expiry::In(Duration::from_secs(3589)));
    /// assert_eq!(Expiry::from_jwt("opaque", None, now), Expiry::Unknown);
    /// ```
    #[cfg(feature = "jwt")]
    pub fn from_jwt(jwt: impl AsRef<[u8]>, server_time: Option<SystemTime>, now: SystemTime) -> Self {
        let Some((end, lifetime)) = end_and_lifetime(jwt.as_ref()) else { return Self::Unknown };
        if let Some(lifetime) = lifetime.filter(|lifetime| !lifetime.is_zero() && end <= server_time.unwrap_or(now)) {
            crate::events::clock_disagrees(lifetime);
            return Self::In(lifetime);
        }
        let Some(server_time) = server_time else {
            return Self::At(end);
        };
        let left = end.duration_since(server_time).unwrap_or_default().min(lifetime.unwrap_or(Duration::MAX));
        Self::In(left - Duration::from_secs(1).min(left / 2))
    }

    /// Of a JWT that may be old: one that looks expired is.
    #[cfg(any(feature = "token-command", feature = "token-file"))]
    pub(crate) fn from_stored_jwt(jwt: &[u8]) -> Self {
        end_and_lifetime(jwt).map_or(Self::Unknown, |(end, _)| Self::At(end))
    }
}

/// What `exp` says, and how long that is after `iat`.
#[cfg(feature = "jwt")]
fn end_and_lifetime(jwt: &[u8]) -> Option<(SystemTime, Option<Duration>)> {
    let claims = jsonwebtoken::dangerous::insecure_decode_claims::<serde_json::Value>(jwt).ok()?;
    let claim = claims.get("exp")?;
    let Some(exp) = numeric_date(claim) else {
        crate::events::senseless_exp();
        return None;
    };
    let lifetime = claims.get("iat").and_then(numeric_date).and_then(|iat| exp.checked_sub(iat));
    Some((SystemTime::UNIX_EPOCH + exp, lifetime))
}

/// A NumericDate (RFC 7519, section 2) that makes sense, as time since the epoch.
#[cfg(feature = "jwt")]
fn numeric_date(claim: &serde_json::Value) -> Option<Duration> {
    let seconds = claim.as_f64()?.floor();
    (0.0..=LAST_SECOND).contains(&seconds).then(|| Duration::from_secs_f64(seconds))
}

#[cfg(all(test, feature = "jwt"))]
mod tests {
    use jsonwebtoken::{EncodingKey, Header, encode};
    use serde_json::{Value, json};

    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn jwt(claims: &Value) -> String {
        encode(&Header::default(), claims, &EncodingKey::from_secret(b"key")).unwrap()
    }

    fn local(claims: &Value) -> Expiry {
        Expiry::from_jwt(jwt(claims), None, at(NOW))
    }

    #[test]
    fn exp_is_taken_by_the_local_clock() {
        assert_eq!(local(&json!({"exp": NOW + 60})), Expiry::At(at(NOW + 60)));
    }

    #[test]
    fn exp_is_taken_by_the_servers_clock_where_it_is_known() {
        let jwt = jwt(&json!({"iat": NOW, "exp": NOW + 3600}));
        let an_hour_behind = at(NOW - 3600);
        assert_eq!(Expiry::from_jwt(&jwt, Some(at(NOW)), an_hour_behind), Expiry::In(Duration::from_secs(3599)));
        assert_eq!(
            Expiry::from_jwt(&jwt, Some(at(NOW + 3599)), an_hour_behind),
            Expiry::In(Duration::from_millis(500))
        );
        let no_iat = self::jwt(&json!({"exp": NOW}));
        assert_eq!(Expiry::from_jwt(&no_iat, Some(at(NOW + 4000)), an_hour_behind), Expiry::In(Duration::ZERO));
    }

    #[test]
    fn a_servers_clock_that_is_wrong_neither_locks_out_nor_lasts_for_ever() {
        let jwt = jwt(&json!({"iat": NOW, "exp": NOW + 3600}));
        for (server_time, left) in [(NOW + 86_400, 3600), (NOW + 3600, 3600), (NOW - 60, 3599), (0, 3599)] {
            let expiry = Expiry::from_jwt(&jwt, Some(at(server_time)), at(NOW));
            assert_eq!(expiry, Expiry::In(Duration::from_secs(left)), "{server_time}");
        }
    }

    #[test]
    fn a_token_that_looks_expired_by_the_local_clock_lives_as_long_as_it_was_issued_for() {
        assert_eq!(local(&json!({"iat": NOW - 7200, "exp": NOW - 3600})), Expiry::In(Duration::from_secs(3600)));
        assert_eq!(local(&json!({"iat": NOW - 3600, "exp": NOW})), Expiry::In(Duration::from_secs(3600)));
        assert_eq!(local(&json!({"iat": NOW - 60, "exp": NOW - 60})), Expiry::At(at(NOW - 60)));
        assert_eq!(local(&json!({"iat": NOW, "exp": NOW - 60})), Expiry::At(at(NOW - 60)));
        assert_eq!(local(&json!({"exp": NOW - 60})), Expiry::At(at(NOW - 60)));
    }

    #[test]
    fn numbers_that_make_sense_are_used_and_floats_floored() {
        assert_eq!(local(&json!({"exp": 1_800_000_060.9})), Expiry::At(at(NOW + 60)));
        assert_eq!(local(&json!({"exp": 253_402_300_799_u64})), Expiry::At(at(253_402_300_799)));
        assert_eq!(local(&json!({"exp": 0})), Expiry::At(at(0)));
    }

    #[test]
    fn anything_else_is_an_unknown_expiry() {
        for exp in [
            json!(null),
            json!("1800000060"),
            json!(true),
            json!(-1),
            json!(-0.5),
            json!([NOW]),
            json!(1_800_000_000_000_u64),
            json!(253_402_300_800_u64),
            json!(1e30),
        ] {
            assert_eq!(local(&json!({"exp": exp})), Expiry::Unknown, "{exp}");
        }
        assert_eq!(local(&json!({})), Expiry::Unknown);
        assert_eq!(local(&json!([])), Expiry::Unknown);
        for opaque in ["", "opaque", "a.b.c", "..", "a.eyJleHAiOjF9", "\u{fffd}.\u{fffd}.\u{fffd}"] {
            assert_eq!(Expiry::from_jwt(opaque, None, at(NOW)), Expiry::Unknown, "{opaque}");
        }
    }
}
