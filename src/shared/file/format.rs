//! [`StoredRecord`]: the bytes of a record file.
//!
//! ```text
//! magic 8 | version 1 | checksum 32 | revision 16 | put at 8 | time to live 8 | sealed bytes
//! ```
//!
//! The checksum is the SHA-256 of all bytes after it. Times are nanoseconds in big endian. Wall-clock times count from 1970.

use std::time::Duration;

use bytes::Bytes;
use ring::digest::{SHA256, digest};

use crate::shared::{NewRecord, Record, Revision};

const MAGIC: [u8; 8] = *b"TARtoken";
const VERSION: u8 = 1;
const CHECKSUM_LEN: usize = 32;
const HEADER_LEN: usize = MAGIC.len() + 1 + CHECKSUM_LEN + 16 + 8 + 8;
/// No time to live.
const UNLIMITED: u64 = u64::MAX;

/// The greatest number of sealed bytes in a record.
pub(super) const MAX_RECORD_LEN: usize = 1 << 20;
/// The greatest length of a record file in bytes.
pub(super) const MAX_FILE_LEN: usize = HEADER_LEN + MAX_RECORD_LEN;

/// The content of a record file. The wall-clock time counts from 1970.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct StoredRecord {
    pub(super) revision: Revision,
    put_at: Duration,
    time_to_live: Option<Duration>,
    bytes: Bytes,
}

/// A file with an unknown version of the format.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct UnknownVersion(pub(super) u8);

impl StoredRecord {
    pub(super) fn new(record: NewRecord, now: Duration) -> Self {
        let NewRecord { revision, bytes, time_to_live } = record;
        Self { revision, put_at: now, time_to_live, bytes }
    }

    /// Returns the age. It is zero if the clock has been set back since.
    fn age(&self, now: Duration) -> Duration {
        now.saturating_sub(self.put_at)
    }

    pub(super) fn is_expired(&self, now: Duration) -> bool {
        self.time_to_live.is_some_and(|time_to_live| self.age(now) >= time_to_live)
    }

    pub(super) fn into_record(self, now: Duration) -> Record {
        let age = self.age(now);
        Record::new(self.revision, self.bytes, age)
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut content = Vec::with_capacity(HEADER_LEN + self.bytes.len());
        content.extend(self.revision.as_bytes());
        content.extend(nanoseconds(self.put_at).to_be_bytes());
        content.extend(self.time_to_live.map_or(UNLIMITED, nanoseconds).to_be_bytes());
        content.extend_from_slice(&self.bytes);
        let checksum = digest(&SHA256, &content);
        [&MAGIC, &[VERSION][..], checksum.as_ref(), &content].concat()
    }

    /// Parses a record file. Returns `None` if it is damaged.
    pub(super) fn decode(file: &[u8]) -> Result<Option<Self>, UnknownVersion> {
        let Some((&version, rest)) = file.strip_prefix(&MAGIC).and_then(<[u8]>::split_first) else {
            return Ok(None);
        };
        if version != VERSION {
            return Err(UnknownVersion(version));
        }
        Ok(rest
            .split_first_chunk::<CHECKSUM_LEN>()
            .filter(|(checksum, content)| digest(&SHA256, content).as_ref() == *checksum)
            .and_then(|(_, content)| Self::decode_content(content)))
    }

    fn decode_content(content: &[u8]) -> Option<Self> {
        let (&revision, rest) = content.split_first_chunk()?;
        let (&put_at, rest) = rest.split_first_chunk()?;
        let (&time_to_live, bytes) = rest.split_first_chunk()?;
        let time_to_live = Some(u64::from_be_bytes(time_to_live)).filter(|ttl| *ttl != UNLIMITED);
        Some(Self {
            revision: Revision::from_bytes(revision),
            put_at: Duration::from_nanos(u64::from_be_bytes(put_at)),
            time_to_live: time_to_live.map(Duration::from_nanos),
            bytes: Bytes::copy_from_slice(bytes),
        })
    }
}

/// Returns the number of nanoseconds, 584 years at most.
pub(super) fn nanoseconds(duration: Duration) -> u64 {
    duration.as_nanos().try_into().unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(1_800_000_000);

    fn record(bytes: impl Into<Bytes>) -> StoredRecord {
        StoredRecord::new(NewRecord::new(Revision::from_bytes([5; 16]), bytes), NOW)
    }

    #[test]
    fn record_is_decoded_as_it_was_encoded() {
        let limited = NewRecord::new(Revision::from_bytes([6; 16]), &b"sealed"[..])
            .time_to_live(Duration::from_millis(2500));
        for record in [record(&b""[..]), record(vec![0; 4096]), StoredRecord::new(limited, NOW)] {
            assert_eq!(StoredRecord::decode(&record.encode()), Ok(Some(record)));
        }
    }

    #[test]
    fn damaged_file_has_no_record() {
        let file = record(&b"sealed"[..]).encode();
        for len in 0..file.len() {
            assert_eq!(StoredRecord::decode(&file[..len]), Ok(None), "{len}");
        }
        assert_eq!(StoredRecord::decode(&[&file[..], b"x"].concat()), Ok(None));
        for bit in 0..file.len() * 8 {
            let mut changed = file.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            let expected =
                if bit / 8 == MAGIC.len() { Err(UnknownVersion(changed[8])) } else { Ok(None) };
            assert_eq!(StoredRecord::decode(&changed), expected, "bit {bit}");
        }
    }

    #[test]
    fn short_content_with_a_valid_checksum_has_no_record() {
        for len in 0..32 {
            let content = vec![0; len];
            let file =
                [&MAGIC, &[VERSION][..], digest(&SHA256, &content).as_ref(), &content].concat();
            assert_eq!(StoredRecord::decode(&file).unwrap().is_some(), len == 32, "{len}");
        }
    }

    #[test]
    fn age_is_zero_before_the_record_was_put() {
        let second = Duration::from_secs(1);
        for (now, age) in
            [(NOW + second, second), (NOW, Duration::ZERO), (NOW - second, Duration::ZERO)]
        {
            assert_eq!(record(&b"sealed"[..]).into_record(now).age, age);
        }
    }

    #[test]
    fn record_expires_after_its_time_to_live() {
        let new = NewRecord::new(Revision::from_bytes([5; 16]), &b"sealed"[..]);
        let record = StoredRecord::new(new.time_to_live(Duration::from_secs(2)), NOW);
        assert!(!record.is_expired(NOW + Duration::from_nanos(1_999_999_999)));
        assert!(record.is_expired(NOW + Duration::from_secs(2)));
        assert!(!record.is_expired(Duration::ZERO));
        assert!(!self::record(&b"sealed"[..]).is_expired(Duration::MAX));
    }
}
