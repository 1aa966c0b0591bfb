//! [`ReplayBuffer`]: a body that two attempts read.

use std::{
    mem,
    sync::{Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
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
        let mut waker = Some(cx.waker().clone());
        let next = self.lock().next(attempt, &mut waker);
        let source = match next {
            Next::Read(frame) => return Poll::Ready(frame),
            Next::Wait(replaced) => {
                drop(replaced);
                return Poll::Pending;
            }
            Next::Poll(source) => source,
        };
        let mut polled = PollGuard { buffer: self, source, waker: None };
        let Source::Body(body) = &mut polled.source else { return Poll::Ready(None) };
        match body.as_mut().poll_frame(cx) {
            Poll::Pending => {
                polled.waker = waker;
                drop(polled);
                // A replay may have started during the poll, when this attempt could not be woken.
                let can_read = self.lock().check(attempt);
                can_read.map_or_else(|error| Poll::Ready(Some(Err(error))), |()| Poll::Pending)
            }
            Poll::Ready(None) => {
                polled.source = Source::End;
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(error))) => {
                polled.source = Source::Failed;
                self.lock().discard_recording();
                Poll::Ready(Some(Err(error.into())))
            }
            Poll::Ready(Some(Ok(frame))) => {
                let frame = frame.map_data(|mut data| data.copy_to_bytes(data.remaining()));
                if body.is_end_stream() {
                    polled.source = Source::End;
                }
                // Before the body is put back, so that a replay reads the frames in order.
                let recorded = self.lock().record(attempt, &frame);
                Poll::Ready(Some(recorded.map(|()| frame)))
            }
        }
    }
}

/// The body while an attempt polls it. Its destructor puts it back, even if the poll panics.
struct PollGuard<'a, B> {
    buffer: &'a ReplayBuffer<B>,
    source: Source<B>,
    /// Wakes this attempt when it can read more.
    waker: Option<Waker>,
}

impl<B> Drop for PollGuard<'_, B> {
    fn drop(&mut self) {
        let source = mem::replace(&mut self.source, Source::End);
        let waiting = self.buffer.lock().end_poll(source, self.waker.take());
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
        pin::Pin,
        rc::{Rc, Weak},
    };

    use super::*;

    /// A body whose poll starts the replay of its own request, as a rejection on another thread does.
    struct RejectedWhilePolled {
        buffer: Rc<OnceCell<Weak<ReplayBuffer<Self>>>>,
        frames: RefCell<std::vec::IntoIter<&'static str>>,
    }

    impl Body for RejectedWhilePolled {
        type Data = Bytes;
        type Error = Infallible;
        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            assert!(self.buffer.get().unwrap().upgrade().unwrap().start_replay());
            let frame = self.frames.borrow_mut().next();
            Poll::Ready(frame.map(|frame| Ok(Frame::data(Bytes::from_static(frame.as_bytes())))))
        }
    }

    #[test]
    fn frame_read_while_the_replay_starts_is_not_lost() {
        let this = Rc::<OnceCell<_>>::default();
        let frames = RefCell::new(vec!["one", "two"].into_iter());
        // The limit is reached, but the replay has started.
        let body = RejectedWhilePolled { buffer: Rc::clone(&this), frames };
        let buffer = Rc::new(ReplayBuffer::new(body, Some(2)));
        this.set(Rc::downgrade(&buffer)).unwrap();

        let mut context = Context::from_waker(Waker::noop());
        let mut read = |attempt| match buffer.poll_frame(attempt, &mut context) {
            Poll::Ready(frame) => frame.map(|frame| frame.unwrap().into_data().unwrap()),
            Poll::Pending => panic!("the body is always ready"),
        };
        assert!(matches!(
            buffer.poll_frame(Attempt::First, &mut Context::from_waker(Waker::noop())),
            Poll::Ready(Some(Err(_)))
        ));
        assert_eq!(read(Attempt::Replay).unwrap(), "one");
        assert_eq!(read(Attempt::Replay).unwrap(), "two");
        assert!(read(Attempt::Replay).is_none());
    }
}
