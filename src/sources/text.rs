//! A token as text: what a file holds, or a command prints.

use std::fmt;

use crate::{AccessToken, Expiry, InvalidToken};

/// How many bytes a token's text may have. More goes into no header.
pub(super) const LIMIT: usize = 64 << 10;

/// Why a text is no token. Never shows it.
#[derive(Debug)]
pub(super) enum NoToken {
    Empty,
    TooLarge,
    Invalid(InvalidToken),
}

/// The token of a text, without the white space around it. If it is a JWT its end is known.
pub(super) fn token(text: &[u8]) -> Result<AccessToken, NoToken> {
    let text = text.trim_ascii();
    if text.is_empty() {
        return Err(NoToken::Empty);
    }
    if text.len() > LIMIT {
        return Err(NoToken::TooLarge);
    }
    let token = AccessToken::bearer(text).map_err(NoToken::Invalid)?;
    let (expiry, max_lifetime) = Expiry::from_stored_jwt(text);
    Ok(token.with_expiry(expiry).with_max_lifetime(max_lifetime).with_unknown_age())
}

impl fmt::Display for NoToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("there is no token in it"),
            Self::TooLarge => write!(f, "it is larger than {LIMIT} bytes"),
            Self::Invalid(error) => error.fmt(f),
        }
    }
}
