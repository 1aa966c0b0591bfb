//! [`ReplayBuffer`]: a body that two attempts read.

use std::{
    mem,
    sync::{Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame};

use super::replay_state::{Attempt, Next, ReplayState, Source};
use crate::error::BoxError;

/// The body of one request, and the record of what has been sent. The body and the wakers are user code, so none of
/// them runs under the lock.
pub(super) struct ReplayBuffer<B>(Mutex<ReplayState<B>>);

impl<B: Body> ReplayBuffer<B> {
    pub(super) fn new(body: B, limit: Option<usize>) -> Self {
        Self(Mutex::new(ReplayState::new(body, limit)))
    }
}

impl<B> ReplayBuffer<B> {
    /// Nothing panics under this lock, so a poisoned one is still valid.
    fn lock(&self) -> MutexGuard<'_, ReplayState<B>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts the replay. Returns `false` if not everything that was sent has been recorded.
    pub(super) fn start_replay(&self) -> bool {
        let started = self.lock().start_replay();
        let is_started = started.is_some();
        // The first attempt has to fail now, or its connection would wait for the rest of the body.
        if let Some(first) = started.flatten() {
            first.wake();
        }
        is_started
    }

    pub(super) fn is_end(&self, attempt: Attempt) -> bool {
        self.lock().is_end(attempt)
    }

    /// Stops recording, because no replay can follow.
    pub(super) fn stop_recording(&mut self) {
        self.0.get_mut().unwrap_or_else(PoisonError::into_inner).discard_recording();
    }
}

impl<B> ReplayBuffer<B>
where
    B: Body,
    B::Error: Into<BoxError>,
{
    pub(super) fn poll_frame(
        &self,
        attempt: Attempt,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let waker = cx.waker().clone();
        let (next, replaced) = self.lock().next(attempt, waker);
        drop(replaced);
        let mut body = match next {
            Next::Read(frame) => return Poll::Ready(frame),
            Next::Wait => return Poll::Pending,
            Next::Poll(body) => body,
        };
        let mut poll = PollGuard { buffer: self, attempt, source: Source::Failed };
        match body.as_mut().poll_frame(cx) {
            Poll::Pending => {
                poll.source = Source::Body(body);
                Poll::Pending
            }
            Poll::Ready(None) => {
                poll.source = Source::End;
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(error.into()))),
            Poll::Ready(Some(Ok(frame))) => {
                let frame = frame.map_data(|mut data| data.copy_to_bytes(data.remaining()));
                let rest = if body.is_end_stream() { Source::End } else { Source::Body(body) };
                // Before the body is put back, so that a replay reads the frames in order.
                let recorded = self.lock().record(attempt, &frame);
                poll.source = rest;
                Poll::Ready(Some(recorded.map(|()| frame)))
            }
        }
    }
}

/// Ends a poll when it is dropped. The body has failed unless the poll sets another source: a panic can lose a frame.
struct PollGuard<'a, B> {
    buffer: &'a ReplayBuffer<B>,
    attempt: Attempt,
    source: Source<B>,
}

impl<B> Drop for PollGuard<'_, B> {
    fn drop(&mut self) {
        let source = mem::replace(&mut self.source, Source::Failed);
        let waiting = self.buffer.lock().end_poll(self.attempt, source);
        if let Some(waiting) = waiting {
            waiting.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        cell::{OnceCell, RefCell},
        convert::Infallible,
        future::poll_fn,
        pin::Pin,
        rc::Rc,
        task::Waker,
    };

    use tokio_test::task;

    use super::*;

    type Buffer = Rc<ReplayBuffer<PolledBody>>;
    type OnPoll = Rc<OnceCell<Box<dyn Fn()>>>;

    /// A body whose poll calls a function, as another thread can act during a poll.
    struct PolledBody {
        on_poll: OnPoll,
        frames: RefCell<std::slice::Iter<'static, &'static str>>,
    }

    impl Body for PolledBody {
        type Data = Bytes;
        type Error = Infallible;
        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            self.on_poll.get().unwrap()();
            let frame = self.frames.borrow_mut().next();
            Poll::Ready(frame.map(|frame| Ok(Frame::data(Bytes::from_static(frame.as_bytes())))))
        }
    }

    /// A buffer of two bytes, and the function.
    fn buffer(frames: &'static [&'static str]) -> (Buffer, OnPoll) {
        let on_poll = OnPoll::default();
        let frames = RefCell::new(frames.iter());
        let body = PolledBody { on_poll: Rc::clone(&on_poll), frames };
        (Rc::new(ReplayBuffer::new(body, Some(2))), on_poll)
    }

    fn read(buffer: &Buffer, attempt: Attempt) -> Option<Result<Bytes, BoxError>> {
        match buffer.poll_frame(attempt, &mut Context::from_waker(Waker::noop())) {
            Poll::Ready(frame) => frame.map(|frame| frame.map(|frame| frame.into_data().unwrap())),
            Poll::Pending => panic!("the body is always ready"),
        }
    }

    #[test]
    fn frame_read_while_the_replay_starts_is_not_lost() {
        let (buffer, on_poll) = buffer(&["one", "two"]);
        let this = Rc::downgrade(&buffer);
        // The limit is reached, but the replay has started.
        let start_replay = move || assert!(this.upgrade().unwrap().start_replay());
        assert!(on_poll.set(Box::new(start_replay)).is_ok());

        assert!(read(&buffer, Attempt::First).unwrap().is_err());
        assert_eq!(read(&buffer, Attempt::Replay).unwrap().unwrap(), "one");
        assert_eq!(read(&buffer, Attempt::Replay).unwrap().unwrap(), "two");
        assert!(read(&buffer, Attempt::Replay).is_none());
    }

    #[test]
    fn replay_that_waits_for_the_body_is_woken_after_the_poll() {
        let (buffer, on_poll) = buffer(&["one"]);
        let this = Rc::downgrade(&buffer);
        let poll_replay = {
            let this = this.clone();
            move |cx: &mut Context<'_>| this.upgrade().unwrap().poll_frame(Attempt::Replay, cx)
        };
        let replay = Rc::new(RefCell::new(task::spawn(poll_fn(poll_replay))));
        let waiting = Rc::clone(&replay);
        let start_replay = move || {
            assert!(this.upgrade().unwrap().start_replay());
            assert!(waiting.borrow_mut().poll().is_pending());
            assert!(!waiting.borrow_mut().is_woken());
        };
        assert!(on_poll.set(Box::new(start_replay)).is_ok());

        assert!(read(&buffer, Attempt::First).unwrap().is_err());
        assert!(replay.borrow_mut().is_woken());
        let Poll::Ready(Some(Ok(frame))) = replay.borrow_mut().poll() else {
            panic!("the first attempt has recorded a frame")
        };
        assert_eq!(frame.into_data().unwrap(), "one");
    }
}
