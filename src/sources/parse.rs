//! Parses a token from text: the content of a file, or the output of a command.

use std::fmt;

use crate::{AccessToken, Expiry, InvalidToken};

/// How many bytes a token may have. Servers do not accept longer headers.
pub(super) const MAX_LEN: usize = 64 << 10;

/// Why a text is not a token. Never shows the text.
#[derive(Debug)]
pub(super) enum InvalidTokenText {
    Empty,
    TooLarge,
    Invalid(InvalidToken),
}

/// Parses a bearer token, without the white space around it. Reads its expiry if it is a JWT.
pub(super) fn parse_token(text: &[u8]) -> Result<AccessToken, InvalidTokenText> {
    let text = text.trim_ascii();
    if text.is_empty() {
        return Err(InvalidTokenText::Empty);
    }
    if text.len() > MAX_LEN {
        return Err(InvalidTokenText::TooLarge);
    }
    let token = AccessToken::bearer(text).map_err(InvalidTokenText::Invalid)?;
    let (expiry, max_lifetime) = Expiry::from_stored_jwt(text);
    Ok(token.with_expiry(expiry).with_max_lifetime(max_lifetime).with_unknown_age())
}

impl fmt::Display for InvalidTokenText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("token is empty"),
            Self::TooLarge => write!(f, "token is larger than {MAX_LEN} bytes"),
            Self::Invalid(error) => error.fmt(f),
        }
    }
}
