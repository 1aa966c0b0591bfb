//! [`Content`]: the content of a record.

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::{oauth2::RefreshToken, shared::ClaimId};

/// A refresh token, and whether a login uses it.
pub(super) struct Content {
    pub(super) token: RefreshToken,
    /// The id of the lock whose process may have sent the token. `None`: every process can send it.
    pub(super) in_use_by: Option<ClaimId>,
}

#[derive(Serialize)]
struct Encoded<'a> {
    refresh_token: &'a str,
    // The name in stored records.
    in_use_by: Option<[u8; 16]>,
}

#[derive(Deserialize)]
struct Decoded {
    refresh_token: String,
    // The name in stored records.
    in_use_by: Option<[u8; 16]>,
}

impl Content {
    /// Renders the content as JSON.
    pub(super) fn encode(&self) -> serde_json::Result<Zeroizing<Vec<u8>>> {
        let refresh_token = self.token.secret();
        let in_use_by = self.in_use_by.map(|id| *id.as_bytes());
        // Large enough for most tokens, because a buffer that grows leaves a copy behind.
        let mut json = Zeroizing::new(Vec::with_capacity(2 * refresh_token.len() + 256));
        serde_json::to_writer(&mut *json, &Encoded { refresh_token, in_use_by })?;
        Ok(json)
    }

    /// Parses a content. Does not return the error of `serde_json`, which can contain a part of the token.
    pub(super) fn decode(json: &[u8]) -> Option<Self> {
        let Decoded { refresh_token, in_use_by } = serde_json::from_slice(json).ok()?;
        Some(Self {
            token: RefreshToken::new(refresh_token),
            in_use_by: in_use_by.map(ClaimId::from_bytes),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_is_decoded_as_it_was_encoded() {
        for token in ["", "tGzv3JOkF0XG5Qx2TlKWIA", "\"\\\0\u{1f}ä\u{10ffff}"] {
            for in_use_by in [None, Some(ClaimId::from_bytes([0xfe; 16]))] {
                let content = Content { token: RefreshToken::new(token), in_use_by };
                let decoded = Content::decode(&content.encode().unwrap()).unwrap();
                assert!(decoded.token == content.token && decoded.in_use_by == in_use_by);
            }
        }
        assert!(Content::decode(b"{}").is_none() && Content::decode(b"").is_none());
    }
}
