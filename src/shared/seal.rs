//! [`SealingKeys`]: encrypts records, and authenticates them together with their key and revision.

use std::{error::Error, fmt, sync::Arc};

use bytes::Bytes;
use ring::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    digest::{Context, SHA256},
    error::Unspecified,
    rand::{SecureRandom, SystemRandom},
};
use zeroize::Zeroizing;

use super::{RecordKey, Revision};

/// The first byte of a sealed record.
const VERSION: u8 = 1;
/// Precedes the key in the input of the hash. The id of the key is the first bytes of that hash.
const ID_LABEL: &[u8] = b"tower-auth-refresh sealing key id";
/// The version, the id of the key, and the nonce.
const HEADER_LEN: usize = 1 + size_of::<KeyId>() + NONCE_LEN;
/// The additional authenticated data: the version, the id of the key, the [`RecordKey`] and the [`Revision`].
const CONTEXT_LEN: usize = 1 + size_of::<KeyId>() + 32 + 16;

type KeyId = [u8; 8];

/// A key for records in a [`TokenStore`](super::TokenStore): 32 random bytes for AES-256-GCM.
///
/// Processes that share a token need the same key. Each record contains the id of its key as plaintext: 8 bytes of a
/// hash (SHA-256) of the key. The key is wiped from memory on drop. `Debug` shows only the id.
///
/// `openssl rand -out sealing-key 32` creates a key in a file. A program reads it, for example from a mounted secret:
///
/// ```
/// use tower_auth_refresh::shared::{SealingKey, SealingKeys};
///
/// # fn keys(path: &std::path::Path) -> Result<SealingKeys, tower::BoxError> {
/// let key: [u8; 32] = std::fs::read(path)?.as_slice().try_into()?;
/// let keys = SealingKeys::new(SealingKey::new(key));
/// # Ok(keys)
/// # }
/// # let path = std::env::temp_dir().join(format!("sealing-key-{}", std::process::id()));
/// # std::fs::write(&path, [7; 32]).unwrap();
/// # assert!(keys(&path).is_ok());
/// # std::fs::remove_file(path).unwrap();
/// ```
#[derive(Clone)]
pub struct SealingKey {
    id: KeyId,
    key: Arc<Zeroizing<[u8; 32]>>,
}

impl SealingKey {
    /// Creates a key from random bytes. A password is not suitable: derive a key from it first.
    pub fn new(key: [u8; 32]) -> Self {
        let key = Arc::new(Zeroizing::new(key));
        let mut hash = Context::new(&SHA256);
        hash.update(ID_LABEL);
        hash.update(key.as_slice());
        let mut id = KeyId::default();
        id.iter_mut().zip(hash.finish().as_ref()).for_each(|(byte, hash)| *byte = *hash);
        Self { id, key }
    }

    /// The cipher is created for each use, because `ring` does not wipe it.
    fn cipher(&self) -> Result<LessSafeKey, Unspecified> {
        UnboundKey::new(&AES_256_GCM, self.key.as_slice()).map(LessSafeKey::new)
    }
}

/// The keys of a process: one that seals, and any number that open.
///
/// # Key rotation
///
/// To replace a key without extra logins:
///
/// 1. Give every process the new key with [`also_open`](Self::also_open). They still seal with the old key.
/// 2. Let every process seal with the new key, and open with the old one too.
/// 3. Remove the old key when all records that were sealed with it have expired: after the lifetime of an access token,
///    and twice the [`login_timeout`](super::SharedTokenLayer::login_timeout).
///
/// The record of a refresh token never expires. A process seals it with the new key when it uses the token the next
/// time. So keep the old key until each session has refreshed once.
///
/// A process that reads a record with an unknown key logs in without the store. It replaces the record only if the
/// record is older than the lifetime of the process's own token.
///
/// ```
/// use tower_auth_refresh::shared::{SealingKey, SealingKeys};
///
/// # let (old, new) = ([7; 32], [8; 32]);
/// let keys = SealingKeys::new(SealingKey::new(new)).also_open(SealingKey::new(old));
/// # let _ = keys;
/// ```
#[derive(Clone)]
pub struct SealingKeys {
    sealing: SealingKey,
    others: Vec<SealingKey>,
}

impl SealingKeys {
    /// Creates keys from the one that seals. It opens records too.
    pub fn new(key: SealingKey) -> Self {
        Self { sealing: key, others: Vec::new() }
    }

    /// Adds a key that only opens records.
    #[must_use]
    pub fn also_open(mut self, key: SealingKey) -> Self {
        self.others.push(key);
        self
    }

    /// Seals a record for one key and revision. The nonce is random.
    pub(super) fn seal(
        &self,
        key: &RecordKey,
        revision: &Revision,
        plain: &[u8],
    ) -> Result<Bytes, SealError> {
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new().fill(&mut nonce).map_err(|_| SealError)?;
        let id = self.sealing.id;
        let mut sealed = Vec::with_capacity(HEADER_LEN + plain.len() + AES_256_GCM.tag_len());
        sealed.push(VERSION);
        sealed.extend(id);
        sealed.extend(nonce);
        let mut text = Zeroizing::new(plain.to_vec());
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = self
            .sealing
            .cipher()
            .and_then(|cipher| {
                cipher.seal_in_place_separate_tag(nonce, context(id, key, revision), &mut text)
            })
            .map_err(|_| SealError)?;
        sealed.extend_from_slice(&text);
        sealed.extend_from_slice(tag.as_ref());
        Ok(sealed.into())
    }

    /// Opens a record that was sealed for this key and revision.
    pub(super) fn open(
        &self,
        key: &RecordKey,
        revision: &Revision,
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        let (&version, rest) = sealed.split_first().ok_or(OpenError::Damaged)?;
        if version != VERSION {
            return Err(OpenError::UnknownVersion(version));
        }
        let (&id, rest) = rest.split_first_chunk().ok_or(OpenError::Damaged)?;
        let (&nonce, text) = rest.split_first_chunk().ok_or(OpenError::Damaged)?;
        let mut keys = [&self.sealing].into_iter().chain(&self.others);
        let sealing = keys.find(|sealing| sealing.id == id).ok_or(OpenError::UnknownKey(id))?;
        open(sealing, nonce, context(id, key, revision), text).map_err(|_| OpenError::Damaged)
    }
}

/// Returns whether this can be a sealed record. One in plaintext starts with a brace.
pub(super) fn is_sealed(bytes: &[u8]) -> bool {
    bytes.first().is_some_and(|first| *first != b'{')
}

fn open(
    key: &SealingKey,
    nonce: [u8; NONCE_LEN],
    context: Aad<[u8; CONTEXT_LEN]>,
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, Unspecified> {
    let mut text = Zeroizing::new(sealed.to_vec());
    let nonce = Nonce::assume_unique_for_key(nonce);
    let len = key.cipher()?.open_in_place(nonce, context, &mut text)?.len();
    text.truncate(len);
    Ok(text)
}

/// Returns the additional authenticated data, so that a record does not open in the place of another one.
fn context(id: KeyId, key: &RecordKey, revision: &Revision) -> Aad<[u8; CONTEXT_LEN]> {
    let parts = [VERSION].into_iter().chain(id).chain(*key.as_bytes()).chain(*revision.as_bytes());
    let mut context = [0; CONTEXT_LEN];
    context.iter_mut().zip(parts).for_each(|(byte, part)| *byte = part);
    Aad::from(context)
}

/// Sealing a record failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SealError;

impl fmt::Display for SealError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("record sealing failed")
    }
}

impl Error for SealError {}

/// Opening a record failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OpenError {
    /// A newer version of this crate has sealed it. Processes with that version can open it.
    UnknownVersion(u8),
    /// This process does not have the key. Other processes can open it.
    UnknownKey(KeyId),
    /// No process can open it. It was changed, or sealed for another record key or revision.
    Damaged,
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownVersion(version) => write!(f, "record version unknown: {version}"),
            Self::UnknownKey(id) => {
                write!(f, "sealing key of record unknown: {:016x}", u64::from_be_bytes(*id))
            }
            Self::Damaged => f.write_str("record damaged, or sealed for another identity"),
        }
    }
}

impl Error for OpenError {}

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealingKey")
            .field("id", &format_args!("{:016x}", u64::from_be_bytes(self.id)))
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for SealingKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealingKeys")
            .field("sealing", &self.sealing)
            .field("others", &self.others)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: RecordKey = RecordKey([3; 32]);
    const REVISION: Revision = Revision([4; 16]);

    fn key(number: u8) -> SealingKey {
        SealingKey::new([number; 32])
    }

    fn open(keys: &SealingKeys, sealed: &[u8]) -> Result<Vec<u8>, OpenError> {
        keys.open(&KEY, &REVISION, sealed).map(|text| text.to_vec())
    }

    #[test]
    fn sealed_record_opens_as_it_was() {
        let keys = SealingKeys::new(key(1));
        for len in [0, 1, 15, 16, 17, 4096, 1 << 20] {
            let plain: Vec<u8> = (0..len).map(|n| n as u8).collect();
            let sealed = keys.seal(&KEY, &REVISION, &plain).unwrap();
            assert_eq!(open(&keys, &sealed), Ok(plain), "{len}");
        }
    }

    #[test]
    fn sealed_record_does_not_contain_its_text() {
        let sealed = SealingKeys::new(key(1)).seal(&KEY, &REVISION, b"s3cr3t-s3cr3t").unwrap();
        assert!(!sealed.windows(6).any(|window| window == b"s3cr3t"));
    }

    #[test]
    fn record_opens_with_its_own_key_identity_and_revision_only() {
        let keys = SealingKeys::new(key(1));
        let sealed = keys.seal(&KEY, &REVISION, b"text").unwrap();
        let damaged = |opened: Result<Zeroizing<Vec<u8>>, _>| opened.err();
        for byte in 0..32 {
            let mut identity = KEY;
            identity.0[byte] ^= 1;
            assert_eq!(damaged(keys.open(&identity, &REVISION, &sealed)), Some(OpenError::Damaged));
        }
        for byte in 0..16 {
            let mut revision = REVISION;
            revision.0[byte] ^= 1;
            assert_eq!(damaged(keys.open(&KEY, &revision, &sealed)), Some(OpenError::Damaged));
        }
    }

    #[test]
    fn record_with_a_flipped_bit_does_not_open() {
        let keys = SealingKeys::new(key(1)).also_open(key(2)).also_open(key(3));
        let sealed = keys.seal(&KEY, &REVISION, b"text").unwrap();
        for bit in 0..sealed.len() * 8 {
            let mut changed = sealed.to_vec();
            changed[bit / 8] ^= 1 << (bit % 8);
            let error = open(&keys, &changed).unwrap_err();
            let expected = match bit / 8 {
                0 => matches!(error, OpenError::UnknownVersion(_)),
                1..=8 => matches!(error, OpenError::UnknownKey(_)),
                _ => error == OpenError::Damaged,
            };
            assert!(expected, "bit {bit}: {error:?}");
        }
    }

    #[test]
    fn incomplete_record_is_damaged() {
        let keys = SealingKeys::new(key(1));
        let sealed = keys.seal(&KEY, &REVISION, b"text").unwrap();
        for len in 0..sealed.len() {
            assert_eq!(open(&keys, &sealed[..len]), Err(OpenError::Damaged), "{len}");
        }
        let longer = [&*sealed, b"x"].concat();
        assert_eq!(open(&keys, &longer), Err(OpenError::Damaged));
    }

    #[test]
    fn key_ring_opens_records_of_old_and_new_keys() {
        let old = SealingKeys::new(key(1));
        let prepared = SealingKeys::new(key(1)).also_open(key(2));
        let switched = SealingKeys::new(key(2)).also_open(key(1));
        for (writer, reader) in [(&old, &switched), (&switched, &prepared), (&prepared, &old)] {
            let sealed = writer.seal(&KEY, &REVISION, b"text").unwrap();
            assert_eq!(open(reader, &sealed), Ok(b"text".to_vec()));
        }
    }

    #[test]
    fn unknown_key_is_not_damage() {
        let sealed = SealingKeys::new(key(7)).seal(&KEY, &REVISION, b"text").unwrap();
        let others = SealingKeys::new(key(1)).also_open(key(2));
        assert_eq!(open(&others, &sealed), Err(OpenError::UnknownKey(key(7).id)));
    }

    #[test]
    fn id_of_a_key_is_that_of_its_bytes() {
        assert_eq!(key(1).id, key(1).id);
        let ids: std::collections::HashSet<_> = (0..=255).map(|number| key(number).id).collect();
        assert_eq!(ids.len(), 256);
        // Records outlive processes, so it never changes.
        assert_eq!(format!("{:?}", key(1)), "SealingKey { id: 6b4dca868dd26b04, .. }");
    }

    #[test]
    fn each_record_has_another_nonce() {
        let keys = SealingKeys::new(key(1));
        let nonces: std::collections::HashSet<_> = (0..100)
            .map(|_| {
                keys.seal(&KEY, &REVISION, b"text").unwrap()[1 + size_of::<KeyId>()..HEADER_LEN]
                    .to_vec()
            })
            .collect();
        assert_eq!(nonces.len(), 100);
    }

    #[test]
    fn debug_shows_ids_and_no_key() {
        let keys = SealingKeys::new(key(0xab)).also_open(key(0xcd));
        let shown = format!("{keys:?}");
        assert!(shown.contains("SealingKey { id: "), "{shown}");
        assert!(
            !shown.contains("171") && !shown.contains("205") && !shown.contains("abab"),
            "{shown}"
        );
    }
}
