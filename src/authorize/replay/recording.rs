//! [`Recording`]: the part of a body that has been sent, up to a limit of memory.

use std::collections::VecDeque;

use bytes::Bytes;
use http::HeaderMap;
use http_body::Frame;

/// A new segment is at least this large, if the limit allows it.
const MIN_SEGMENT: usize = 256;
/// The estimated overhead of one header map entry.
const HEADER_OVERHEAD: usize = 64;

/// The recorded frames of a body, for a replay.
///
/// Data is copied, because a frame can be a slice of a much larger buffer. Small frames are copied together. The limit
/// therefore bounds memory, not only payload.
#[derive(Debug)]
pub(crate) struct Recording {
    frames: VecDeque<RecordedFrame>,
    /// How many more bytes can be recorded. `None`: the limit was exceeded, and recording has stopped.
    capacity_left: Option<usize>,
    reserved: usize,
}

#[derive(Debug)]
enum RecordedFrame {
    Data(Vec<u8>),
    Trailers(HeaderMap),
}

impl Recording {
    /// `None`: nothing is recorded.
    pub(crate) fn new(limit: Option<usize>) -> Self {
        Self { frames: VecDeque::new(), capacity_left: limit, reserved: 0 }
    }

    /// Returns whether everything that was sent has been recorded.
    pub(crate) fn is_complete(&self) -> bool {
        self.capacity_left.is_some()
    }

    pub(crate) fn push(&mut self, frame: &Frame<Bytes>) {
        if let Some(data) = frame.data_ref() {
            self.push_data(data);
        } else if let Some(trailers) = frame.trailers_ref() {
            self.push_trailers(trailers);
        }
    }

    fn push_data(&mut self, data: &[u8]) {
        let Some(left) = self.capacity_left else { return };
        let spare = match self.frames.back() {
            Some(RecordedFrame::Data(segment)) => segment.capacity() - segment.len(),
            _ => 0,
        };
        let (now, rest) = data.split_at(data.len().min(spare));
        if rest.len() > left {
            return self.discard();
        }
        if let Some(RecordedFrame::Data(segment)) = self.frames.back_mut() {
            segment.extend_from_slice(now);
        }
        if rest.is_empty() {
            return;
        }
        // Segments grow with the recorded size, so that there are few.
        let capacity = rest.len().max(self.reserved).max(MIN_SEGMENT).min(left);
        let mut segment = Vec::with_capacity(capacity);
        segment.extend_from_slice(rest);
        self.reserve(segment.capacity());
        self.frames.push_back(RecordedFrame::Data(segment));
    }

    fn push_trailers(&mut self, trailers: &HeaderMap) {
        let size = trailers
            .iter()
            .map(|(name, value)| name.as_str().len() + value.len() + HEADER_OVERHEAD)
            .sum();
        // No data follows trailers, so they can use what the last segment has to spare.
        self.shrink_last_segment();
        if self.capacity_left.is_some_and(|left| left < size) {
            self.discard();
        } else if self.capacity_left.is_some() {
            self.reserve(size);
            self.frames.push_back(RecordedFrame::Trailers(trailers.clone()));
        }
    }

    fn shrink_last_segment(&mut self) {
        if let Some(RecordedFrame::Data(segment)) = self.frames.back_mut() {
            let before = segment.capacity();
            segment.shrink_to_fit();
            let freed = before.saturating_sub(segment.capacity());
            self.reserved = self.reserved.saturating_sub(freed);
            self.capacity_left = self.capacity_left.map(|left| left.saturating_add(freed));
        }
    }

    fn reserve(&mut self, size: usize) {
        self.reserved += size;
        self.capacity_left = self.capacity_left.map(|left| left.saturating_sub(size));
    }

    /// Records further frames without a limit, because a replay has started and needs them.
    pub(crate) fn lift_limit(&mut self) {
        self.capacity_left = self.capacity_left.map(|_| usize::MAX);
    }

    /// Frees the recorded frames. The body can no longer be replayed.
    pub(crate) fn discard(&mut self) {
        *self = Self::new(None);
    }

    /// Removes and returns the next frame to replay.
    pub(crate) fn pop(&mut self) -> Option<Frame<Bytes>> {
        Some(match self.frames.pop_front()? {
            RecordedFrame::Data(data) => Frame::data(data.into()),
            RecordedFrame::Trailers(trailers) => Frame::trailers(trailers),
        })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn capacity(recording: &Recording) -> usize {
        let size = |frame: &RecordedFrame| match frame {
            RecordedFrame::Data(segment) => segment.capacity(),
            RecordedFrame::Trailers(_) => 0,
        };
        recording.frames.iter().map(size).sum()
    }

    #[test]
    fn small_frames_are_copied_together_within_the_limit() {
        let mut recording = Recording::new(Some(64 << 10));
        for _ in 0..64 << 10 {
            recording.push_data(b"x");
        }
        assert!(recording.is_complete());
        assert!(capacity(&recording) <= 64 << 10, "{}", capacity(&recording));
        assert!(recording.frames.len() < 20, "{}", recording.frames.len());
        recording.push_data(b"x");
        assert!(!recording.is_complete() && recording.is_empty());
    }

    #[test]
    fn slice_of_a_large_buffer_holds_its_own_bytes_only() {
        let large = Bytes::from(vec![0; 1 << 20]);
        let mut recording = Recording::new(Some(4096));
        for _ in 0..1000 {
            recording.push_data(&large[..4]);
        }
        drop(large);
        assert!(recording.is_complete() && capacity(&recording) <= 4096);
    }

    #[test]
    fn trailers_count_with_names_values_and_overhead() {
        let trailers = HeaderMap::from_iter([
            ("grpc-status".parse().unwrap(), "16".parse().unwrap()),
            ("grpc-message".parse().unwrap(), "expired".parse().unwrap()),
        ]);
        let size = "grpc-status".len()
            + "16".len()
            + "grpc-message".len()
            + "expired".len()
            + 2 * HEADER_OVERHEAD;
        for (limit, is_complete) in [(size - 1, false), (size, true), (size + 1, true)] {
            let mut recording = Recording::new(Some(limit));
            recording.push_trailers(&trailers);
            assert_eq!(recording.is_complete(), is_complete, "{limit}");
            // What the trailers occupy is not left for data.
            recording.push_data(b"12");
            assert!(!recording.is_complete(), "{limit}");
        }
    }

    #[test]
    fn any_sequence_of_frames_up_to_the_limit_is_complete() {
        for frame in [1, 7, 100, 1000, 4096] {
            let mut recording = Recording::new(Some(4096));
            let mut sent = Vec::new();
            while sent.len() + frame <= 4096 {
                let data = vec![sent.len() as u8; frame];
                recording.push_data(&data);
                sent.extend(data);
            }
            assert!(recording.is_complete(), "{frame}");
            let mut replayed = Vec::new();
            while let Some(frame) = recording.pop() {
                replayed.extend_from_slice(&frame.into_data().unwrap());
            }
            assert_eq!(replayed, sent, "{frame}");
        }
    }
}
