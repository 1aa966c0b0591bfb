//! [`Expiry::from_jwt`]: the expiry of a token that is a JWT.

use std::time::{Duration, SystemTime};

use crate::{expiry::Expiry, telemetry};

/// 9999-12-31T23:59:59Z. A larger number is not a count of seconds; most likely it counts milliseconds.
const MAX_SECONDS: f64 = 253_402_300_799.0;

impl Expiry {
    /// Reads the `exp` claim of a JWT (RFC 7519, section 4.1.4) without checking its signature.
    ///
    /// - With `server_time` (the `Date` header of the issuer's response), `exp` is compared with the issuer's own
    ///   clock. One second is subtracted, because the header omits fractions. If less than two seconds are left, half
    ///   of that time is subtracted instead.
    /// - Without `server_time`, `exp` is compared with `now`, the local wall clock.
    /// - The token never lives longer than `exp - iat`.
    /// - If a token seems expired although `exp` is later than `iat`, a clock is wrong. Its life is `exp - iat`, and a
    ///   warning is recorded.
    ///
    /// Fractions of a second are dropped. Returns [`Expiry::Unknown`] if `jwt` is not a JWT, or if `exp` is missing or
    /// not a number of seconds between the years 1970 and 9999.
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
    pub fn from_jwt(
        jwt: impl AsRef<[u8]>,
        server_time: Option<SystemTime>,
        now: SystemTime,
    ) -> Self {
        let Some((expires, lifetime)) = expiry_and_lifetime(jwt.as_ref()) else {
            return Self::Unknown;
        };
        let looks_expired = expires <= server_time.unwrap_or(now);
        if let Some(lifetime) = lifetime.filter(|lifetime| looks_expired && !lifetime.is_zero()) {
            telemetry::clock_skew(lifetime);
            return Self::In(lifetime);
        }
        let remaining = expires.duration_since(server_time.unwrap_or(now)).unwrap_or_default();
        match (server_time, lifetime) {
            (Some(_), _) => {
                let remaining = remaining.min(lifetime.unwrap_or(Duration::MAX));
                Self::In(remaining - Duration::from_secs(1).min(remaining / 2))
            }
            // The local clock is behind the issuer's.
            (None, Some(lifetime)) if remaining > lifetime => Self::In(lifetime),
            (None, _) => Self::At(expires),
        }
    }

    /// Reads the `exp` claim of a JWT that may be old: one that seems expired is expired. Returns `exp - iat` too.
    #[cfg(any(feature = "token-command", feature = "token-file"))]
    pub(crate) fn from_stored_jwt(jwt: &[u8]) -> (Self, Option<Duration>) {
        expiry_and_lifetime(jwt)
            .map_or((Self::Unknown, None), |(expires, lifetime)| (Self::At(expires), lifetime))
    }
}

/// Returns `exp`, and `exp - iat`.
fn expiry_and_lifetime(jwt: &[u8]) -> Option<(SystemTime, Option<Duration>)> {
    let claims = jsonwebtoken::dangerous::insecure_decode_claims::<serde_json::Value>(jwt).ok()?;
    let claim = claims.get("exp")?;
    let Some(exp) = numeric_date(claim) else {
        telemetry::invalid_exp_claim();
        return None;
    };
    let lifetime = claims.get("iat").and_then(numeric_date).and_then(|iat| exp.checked_sub(iat));
    Some((SystemTime::UNIX_EPOCH + exp, lifetime))
}

/// Reads a NumericDate (RFC 7519, section 2), as time since the epoch.
fn numeric_date(claim: &serde_json::Value) -> Option<Duration> {
    let seconds = claim.as_f64()?.floor();
    (0.0..=MAX_SECONDS).contains(&seconds).then(|| Duration::from_secs_f64(seconds))
}

#[cfg(test)]
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
    fn exp_without_server_time_uses_local_clock() {
        assert_eq!(local(&json!({"exp": NOW + 60})), Expiry::At(at(NOW + 60)));
    }

    #[test]
    fn exp_with_server_time_uses_server_clock() {
        let jwt = jwt(&json!({"iat": NOW, "exp": NOW + 3600}));
        let an_hour_behind = at(NOW - 3600);
        assert_eq!(
            Expiry::from_jwt(&jwt, Some(at(NOW)), an_hour_behind),
            Expiry::In(Duration::from_secs(3599))
        );
        assert_eq!(
            Expiry::from_jwt(&jwt, Some(at(NOW + 3599)), an_hour_behind),
            Expiry::In(Duration::from_millis(500))
        );
        let no_iat = self::jwt(&json!({"exp": NOW}));
        assert_eq!(
            Expiry::from_jwt(&no_iat, Some(at(NOW + 4000)), an_hour_behind),
            Expiry::In(Duration::ZERO)
        );
    }

    #[test]
    fn wrong_server_clock_stays_within_lifetime() {
        let jwt = jwt(&json!({"iat": NOW, "exp": NOW + 3600}));
        for (server_time, left) in
            [(NOW + 86_400, 3600), (NOW + 3600, 3600), (NOW - 60, 3599), (0, 3599)]
        {
            let expiry = Expiry::from_jwt(&jwt, Some(at(server_time)), at(NOW));
            assert_eq!(expiry, Expiry::In(Duration::from_secs(left)), "{server_time}");
        }
    }

    #[test]
    fn token_expired_by_local_clock_uses_lifetime() {
        assert_eq!(
            local(&json!({"iat": NOW - 7200, "exp": NOW - 3600})),
            Expiry::In(Duration::from_secs(3600))
        );
        assert_eq!(
            local(&json!({"iat": NOW - 3600, "exp": NOW})),
            Expiry::In(Duration::from_secs(3600))
        );
        assert_eq!(local(&json!({"iat": NOW - 60, "exp": NOW - 60})), Expiry::At(at(NOW - 60)));
        assert_eq!(local(&json!({"iat": NOW, "exp": NOW - 60})), Expiry::At(at(NOW - 60)));
        assert_eq!(local(&json!({"exp": NOW - 60})), Expiry::At(at(NOW - 60)));
    }

    #[test]
    fn slow_local_clock_stays_within_lifetime() {
        for (behind, lifetime) in [(3600, 3), (3600, 1800), (1, 60)] {
            let claims = json!({"iat": NOW + behind, "exp": NOW + behind + lifetime});
            assert_eq!(
                local(&claims),
                Expiry::In(Duration::from_secs(lifetime)),
                "{behind} s behind"
            );
        }
        let issued_earlier = json!({"iat": NOW - 10, "exp": NOW + 50});
        assert_eq!(local(&issued_earlier), Expiry::At(at(NOW + 50)));
    }

    #[test]
    fn valid_exp_is_used_and_float_is_floored() {
        assert_eq!(local(&json!({"exp": 1_800_000_060.9})), Expiry::At(at(NOW + 60)));
        assert_eq!(local(&json!({"exp": 253_402_300_799_u64})), Expiry::At(at(253_402_300_799)));
        assert_eq!(local(&json!({"exp": 0})), Expiry::At(at(0)));
    }

    #[test]
    fn invalid_exp_is_unknown_expiry() {
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
        for opaque in ["", "opaque", "a.b.c", "..", "a.eyJleHAiOjF9", "\u{fffd}.\u{fffd}.\u{fffd}"]
        {
            assert_eq!(Expiry::from_jwt(opaque, None, at(NOW)), Expiry::Unknown, "{opaque}");
        }
    }
}
