//! [`ReplayState`]: which attempt reads, from what, and what has been recorded. It calls no user code.

use std::{mem, pin::Pin, task::Waker};

use bytes::Bytes;
use http_body::{Body, Frame};

use super::recording::Recording;
use crate::error::BoxError;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attempt {
    First,
    Replay,
}

/// The part of the body that has not been sent yet.
pub(super) enum Source<B> {
    Body(Pin<Box<B>>),
    /// An attempt polls the body, without the lock: a body is user code.
    Polling,
    End,
    Failed,
}

/// What an attempt does to read the next frame.
pub(super) enum Next<B> {
    Read(Option<Result<Frame<Bytes>, BoxError>>),
    /// Polls the body, and puts it back.
    Poll(Pin<Box<B>>),
    /// Waits until the other attempt puts the body back.
    Wait,
}

/// What the two attempts of one request share.
pub(super) struct ReplayState<B> {
    source: Source<B>,
    recording: Recording,
    /// Only this attempt can read.
    attempt: Attempt,
    /// Wakes this attempt. Each of its polls replaces the waker.
    waker: Option<Waker>,
}

impl<B: Body> ReplayState<B> {
    /// Records at most `limit` bytes of memory. `None`: records nothing.
    pub(super) fn new(body: B, limit: Option<usize>) -> Self {
        Self {
            source: if body.is_end_stream() { Source::End } else { Source::Body(Box::pin(body)) },
            recording: Recording::new(limit),
            attempt: Attempt::First,
            waker: None,
        }
    }
}

impl<B> ReplayState<B> {
    /// Starts the replay and returns the waker of the first attempt, which fails now. Returns `None` if not everything
    /// that was sent has been recorded.
    pub(super) fn start_replay(&mut self) -> Option<Option<Waker>> {
        self.recording.is_complete().then(|| {
            self.attempt = Attempt::Replay;
            self.waker.take()
        })
    }

    /// Returns whether this attempt has read everything. One that cannot read any more has not: it fails.
    pub(super) fn is_end(&self, attempt: Attempt) -> bool {
        let has_recorded = attempt == Attempt::Replay && !self.recording.is_empty();
        self.attempt == attempt && !has_recorded && matches!(self.source, Source::End)
    }

    /// Returns an error if this attempt cannot read any more.
    fn ensure_current(&self, attempt: Attempt) -> Result<(), BoxError> {
        if self.attempt == attempt { Ok(()) } else { Err("request is being replayed".into()) }
    }

    /// Registers the waker of an attempt and returns its next step. Also returns the waker to drop without the lock.
    pub(super) fn next(&mut self, attempt: Attempt, waker: Waker) -> (Next<B>, Option<Waker>) {
        if let Err(error) = self.ensure_current(attempt) {
            return (Next::Read(Some(Err(error))), Some(waker));
        }
        let replaced = self.waker.replace(waker);
        (self.next_step(attempt), replaced)
    }

    fn next_step(&mut self, attempt: Attempt) -> Next<B> {
        if attempt == Attempt::Replay
            && let Some(frame) = self.recording.pop()
        {
            return Next::Read(Some(Ok(frame)));
        }
        match mem::replace(&mut self.source, Source::Polling) {
            Source::Polling => Next::Wait,
            Source::End => {
                self.source = Source::End;
                Next::Read(None)
            }
            Source::Failed => {
                self.source = Source::Failed;
                Next::Read(Some(Err("request body has failed".into())))
            }
            Source::Body(body) => Next::Poll(body),
        }
    }

    /// Records a frame that an attempt has read. Returns an error if the replay has started since, and reads it again.
    pub(super) fn record(
        &mut self,
        attempt: Attempt,
        frame: &Frame<Bytes>,
    ) -> Result<(), BoxError> {
        let current = self.ensure_current(attempt);
        if current.is_err() {
            // The replay needs this frame, which the body does not return a second time.
            self.recording.lift_limit();
        }
        if attempt == Attempt::First {
            self.recording.push(frame);
        }
        current
    }

    /// Stops recording and frees the recording.
    pub(super) fn discard_recording(&mut self) {
        self.recording.discard();
    }

    /// Ends a poll. Returns the waker of the other attempt if it is the current one, and may wait for the body.
    pub(super) fn end_poll(&mut self, attempt: Attempt, source: Source<B>) -> Option<Waker> {
        if matches!(source, Source::Failed) {
            self.discard_recording();
        }
        self.source = source;
        // Waking the attempt that polls would cause a busy loop.
        if self.attempt == attempt { None } else { self.waker.take() }
    }
}
