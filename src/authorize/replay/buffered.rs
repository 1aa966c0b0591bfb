//! [`ReplayBuffered`]: replays streaming bodies from a copy of what has been sent.

use std::{
    fmt, mem,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use bytes::{Buf, Bytes};
use http::{HeaderMap, Request};
use http_body::{Body, Frame, SizeHint};

use super::{
    policy::{ReplayPolicy, Sealed},
    recording::{Recording, ReplayFrame},
    saved_request::SavedRequest,
};
use crate::error::BoxError;

/// Replays streaming bodies: a copy of the part that was sent, and then the rest. If the part that was sent exceeds the
/// buffer, the request is not replayed.
///
/// The inner service receives a [`BufferedBody`]. The buffer of each request occupies at most 64 KiB of memory by
/// default.
///
/// If the compiler reports that `oneshot` or `ready` exists but its trait bounds were not satisfied, the inner service
/// does not accept the policy's body: hyper-util's client has the type
/// `Client<_, BufferedBody<B>>` then, or [`map_body`](Self::map_body) converts the body.
///
/// ```
/// use tower_auth_refresh::{AccessToken, AuthRefreshLayer, LoginRequest, ReplayBuffered};
///
/// let login = tower::service_fn(|_: LoginRequest| async { AccessToken::bearer("abc") });
/// let layer = AuthRefreshLayer::with_login(login).replay(ReplayBuffered::new().limit(1 << 20));
/// # let _ = layer;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ReplayBuffered {
    limit: usize,
}

impl ReplayBuffered {
    /// Creates a policy with a buffer of 64 KiB for each request.
    pub const fn new() -> Self {
        Self { limit: 64 << 10 }
    }

    /// Sets how many bytes of memory the buffer of each request can occupy. Defaults to 64 KiB.
    #[must_use]
    pub const fn limit(mut self, bytes: usize) -> Self {
        self.limit = bytes;
        self
    }
}

impl Default for ReplayBuffered {
    fn default() -> Self {
        Self::new()
    }
}

impl Sealed for ReplayBuffered {}

impl<B> ReplayPolicy<B> for ReplayBuffered
where
    B: Body,
    B::Error: Into<BoxError>,
{
    type Body = BufferedBody<B>;
    type SavedBody = BufferedBody<B>;
    type Saved<R> = Box<SavedRequest<BufferedBody<B>, R>>;

    fn wrap(&self, request: Request<B>) -> Request<Self::Body> {
        request.map(|body| BufferedBody::new(body, Some(self.limit)))
    }

    fn finish(&self, request: Request<BufferedBody<B>>) -> Request<BufferedBody<B>> {
        request
    }

    fn wrap_unsaved(&self, body: B) -> Self::Body {
        BufferedBody::new(body, None)
    }

    fn save<R>(
        &self,
        request: &Request<Self::Body>,
        sender: impl FnOnce() -> R,
    ) -> Option<Self::Saved<R>> {
        Some(Box::new(SavedRequest::new(request, request.body().attempt(Attempt::First), sender())))
    }

    fn saved<R>(saved: &Self::Saved<R>) -> &SavedRequest<Self::Body, R> {
        saved
    }

    fn into_saved<R>(saved: Self::Saved<R>) -> SavedRequest<Self::Body, R> {
        *saved
    }

    fn restore_body(body: Self::Body) -> Option<Self::Body> {
        let waker = {
            let mut buffer = body.lock();
            if !buffer.recording.is_complete() {
                return None;
            }
            buffer.attempt = Attempt::Replay;
            buffer.waker.take()
        };
        // The first attempt has to fail now, or its connection would wait for the rest of the body.
        if let Some(first) = waker {
            first.wake();
        }
        Some(body.attempt(Attempt::Replay))
    }
}

/// A body that records what is read from it. [`ReplayBuffered`] creates it.
///
/// Its data is `Bytes`, and its error is a [`BoxError`]. An inner service that is generic over its body needs no change.
/// For others, see [`ReplayBuffered::map_body`].
///
/// ```
/// use http::{Request, Response};
/// use http_body_util::{BodyExt, Full};
/// use tower::{BoxError, ServiceBuilder, ServiceExt};
/// use tower_auth_refresh::{AccessToken, AuthRefreshLayer, BufferedBody, ReplayBuffered, login_fn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), BoxError> {
/// # let login = login_fn(|_| async { Ok(AccessToken::bearer("abc")?) });
/// let client = ServiceBuilder::new()
///     .layer(AuthRefreshLayer::with_login(login).replay(ReplayBuffered::new()))
///     .service_fn(|request: Request<BufferedBody<Full<&'static [u8]>>>| async move {
///         Ok::<_, BoxError>(Response::new(request.into_body().collect().await?.to_bytes()))
///     });
///
/// let request = Request::post("https://api.example.com/").body(Full::new(&b"abc"[..]))?;
/// assert_eq!(client.oneshot(request).await?.into_body(), "abc");
/// # Ok(())
/// # }
/// ```
pub struct BufferedBody<B> {
    buffer: Arc<Mutex<ReplayBuffer<B>>>,
    attempt: Attempt,
    remaining: SizeHint,
}

/// What the two attempts of one request share.
struct ReplayBuffer<B> {
    source: Source<B>,
    recording: Recording,
    /// Only this attempt can read.
    attempt: Attempt,
    /// The attempt that waits for more of the body.
    waker: Option<Waker>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Attempt {
    First,
    Replay,
}

/// The part of the body that has not been sent yet.
enum Source<B> {
    Body(Pin<Box<B>>),
    /// An attempt polls the body, without the lock: a body is user code.
    Polling,
    End,
    Failed,
}

impl<B: Body> BufferedBody<B> {
    fn new(body: B, limit: Option<usize>) -> Self {
        let remaining = body.size_hint();
        let source = if body.is_end_stream() { Source::End } else { Source::Body(Box::pin(body)) };
        let buffer = ReplayBuffer {
            source,
            recording: Recording::new(limit),
            attempt: Attempt::First,
            waker: None,
        };
        Self { buffer: Arc::new(Mutex::new(buffer)), attempt: Attempt::First, remaining }
    }
}

impl<B> BufferedBody<B> {
    fn attempt(&self, attempt: Attempt) -> Self {
        Self { buffer: self.buffer.clone(), attempt, remaining: self.remaining }
    }

    /// Nothing panics under this lock, so a poisoned one is still valid.
    fn lock(&self) -> MutexGuard<'_, ReplayBuffer<B>> {
        self.buffer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The body while an attempt polls it. Its destructor puts it back, even if the poll panics.
struct PollGuard<'a, B> {
    buffer: &'a Mutex<ReplayBuffer<B>>,
    source: Source<B>,
    /// Wakes this attempt when there is more.
    waker: Option<Waker>,
}

impl<B> Drop for PollGuard<'_, B> {
    fn drop(&mut self) {
        let mut buffer = self.buffer.lock().unwrap_or_else(PoisonError::into_inner);
        buffer.source = mem::replace(&mut self.source, Source::End);
        // The other attempt may wait because the body was in use.
        let waiting = mem::replace(&mut buffer.waker, self.waker.take());
        drop(buffer);
        if let Some(waiting) = waiting {
            waiting.wake();
        }
    }
}

enum OwnedFrame {
    Data(Bytes),
    Trailers(HeaderMap),
}

impl<B> BufferedBody<B>
where
    B: Body,
    B::Error: Into<BoxError>,
{
    fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Option<Result<OwnedFrame, BoxError>>> {
        // A waker is user code, so it is cloned without the lock.
        let waker = cx.waker().clone();
        let source = {
            let mut buffer = self.lock();
            if buffer.attempt != self.attempt {
                return Poll::Ready(Some(Err(replay_started_error())));
            }
            if self.attempt == Attempt::Replay
                && let Some(frame) = buffer.recording.pop()
            {
                return Poll::Ready(Some(Ok(match frame {
                    ReplayFrame::Data(data) => OwnedFrame::Data(data),
                    ReplayFrame::Trailers(trailers) => OwnedFrame::Trailers(trailers),
                })));
            }
            match mem::replace(&mut buffer.source, Source::Polling) {
                Source::Polling => {
                    let replaced = buffer.waker.replace(waker);
                    drop(buffer);
                    drop(replaced);
                    return Poll::Pending;
                }
                Source::End => {
                    buffer.source = Source::End;
                    return Poll::Ready(None);
                }
                Source::Failed => {
                    buffer.source = Source::Failed;
                    return Poll::Ready(Some(Err("request body has failed".into())));
                }
                Source::Body(body) => Source::Body(body),
            }
        };
        let mut polled = PollGuard { buffer: &self.buffer, source, waker: None };
        let Source::Body(body) = &mut polled.source else { return Poll::Ready(None) };
        match body.as_mut().poll_frame(cx) {
            Poll::Pending => {
                polled.waker = Some(waker);
                drop(polled);
                // A replay may have started during the poll, when this attempt could not be woken.
                if self.lock().attempt != self.attempt {
                    Poll::Ready(Some(Err(replay_started_error())))
                } else {
                    Poll::Pending
                }
            }
            Poll::Ready(None) => {
                polled.source = Source::End;
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(error))) => {
                polled.source = Source::Failed;
                self.lock().recording.discard();
                Poll::Ready(Some(Err(error.into())))
            }
            Poll::Ready(Some(Ok(frame))) => {
                let frame = match frame.into_data() {
                    Ok(mut data) => OwnedFrame::Data(data.copy_to_bytes(data.remaining())),
                    Err(frame) => OwnedFrame::Trailers(frame.into_trailers().unwrap_or_default()),
                };
                if body.is_end_stream() {
                    polled.source = Source::End;
                }
                // Before the body is put back, so that a replay reads the frames in order.
                let mut buffer = self.lock();
                let is_replayed = buffer.attempt != self.attempt;
                if is_replayed {
                    // The replay needs this frame, which the body does not return a second time.
                    buffer.recording.lift_limit();
                }
                if self.attempt == Attempt::First {
                    match &frame {
                        OwnedFrame::Data(data) => buffer.recording.push_data(data),
                        OwnedFrame::Trailers(trailers) => buffer.recording.push_trailers(trailers),
                    }
                }
                drop(buffer);
                drop(polled);
                Poll::Ready(Some(if is_replayed { Err(replay_started_error()) } else { Ok(frame) }))
            }
        }
    }
}

fn replay_started_error() -> BoxError {
    "request is being replayed".into()
}

impl<B> Body for BufferedBody<B>
where
    B: Body,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        this.poll_next(cx).map_ok(|frame| match frame {
            OwnedFrame::Data(data) => {
                this.remaining = subtract(&this.remaining, data.len() as u64);
                Frame::data(data)
            }
            OwnedFrame::Trailers(trailers) => Frame::trailers(trailers),
        })
    }

    fn is_end_stream(&self) -> bool {
        let buffer = self.lock();
        let has_recorded = self.attempt == Attempt::Replay && !buffer.recording.is_empty();
        // An attempt that cannot read any more has not reached the end: it fails.
        buffer.attempt == self.attempt && !has_recorded && matches!(buffer.source, Source::End)
    }

    fn size_hint(&self) -> SizeHint {
        self.remaining
    }
}

fn subtract(hint: &SizeHint, read: u64) -> SizeHint {
    let mut remaining = SizeHint::new();
    remaining.set_lower(hint.lower().saturating_sub(read));
    if let Some(upper) = hint.upper() {
        remaining.set_upper(upper.saturating_sub(read));
    }
    remaining
}

impl<B> fmt::Debug for BufferedBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BufferedBody").field("attempt", &self.attempt).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, task::Waker};

    use futures::stream;
    use http_body_util::{BodyExt, Full, StreamBody};

    use super::*;

    type Chunks = Vec<Result<Frame<Bytes>, BoxError>>;
    type Stream = StreamBody<stream::Iter<std::vec::IntoIter<Result<Frame<Bytes>, BoxError>>>>;

    fn data(text: &'static str) -> Result<Frame<Bytes>, BoxError> {
        Ok(Frame::data(Bytes::from_static(text.as_bytes())))
    }

    fn trailers() -> Result<Frame<Bytes>, BoxError> {
        Ok(Frame::trailers(HeaderMap::from_iter([("a".parse().unwrap(), "b".parse().unwrap())])))
    }

    fn save(chunks: Chunks, limit: usize) -> (BufferedBody<Stream>, BufferedBody<Stream>) {
        save_with(ReplayBuffered::new().limit(limit), StreamBody::new(stream::iter(chunks)))
    }

    fn save_with<B: Body<Error: Into<BoxError>>>(
        policy: ReplayBuffered,
        body: B,
    ) -> (BufferedBody<B>, BufferedBody<B>) {
        let body = policy.wrap(Request::new(body)).into_body();
        let saved = body.attempt(Attempt::First);
        (body, saved)
    }

    fn restore<B: Body<Error: Into<BoxError>>>(saved: BufferedBody<B>) -> Option<BufferedBody<B>> {
        <ReplayBuffered as ReplayPolicy<B>>::restore_body(saved)
    }

    async fn read(body: BufferedBody<Stream>) -> Result<(String, Option<HeaderMap>), String> {
        let collected = body.collect().await.map_err(|error| error.to_string())?;
        let trailers = collected.trailers().cloned();
        Ok((String::from_utf8(collected.to_bytes().to_vec()).unwrap(), trailers))
    }

    #[tokio::test]
    async fn replay_sends_the_whole_body_with_trailers() {
        for frames_sent in 0..=4 {
            let (mut body, saved) =
                save(vec![data("one "), data("two "), data("three"), trailers()], 1024);
            for _ in 0..frames_sent {
                body.frame().await.unwrap().unwrap();
            }
            let (text, sent_trailers) = read(restore(saved).unwrap()).await.unwrap();
            assert_eq!(text, "one two three", "{frames_sent}");
            assert!(sent_trailers.is_some());
        }
    }

    #[tokio::test]
    async fn body_over_the_limit_is_not_replayed() {
        let (mut body, saved) = save(vec![data("12345"), data("6"), data("7")], 5);
        body.frame().await.unwrap().unwrap();
        assert!(
            restore(saved.attempt(Attempt::First)).is_some(),
            "the buffer is full and complete"
        );

        let (mut body, saved) = save(vec![data("12345"), data("6"), data("7")], 5);
        body.frame().await.unwrap().unwrap();
        body.frame().await.unwrap().unwrap();
        assert!(restore(saved).is_none());
        assert_eq!(read(body).await.unwrap().0, "7", "the first attempt continues");
    }

    #[tokio::test]
    async fn wrapped_body_is_not_recorded() {
        let whole = StreamBody::new(stream::iter(vec![data("one "), data("two")]));
        let body = ReplayBuffered::new().wrap_unsaved(whole);
        let buffer = body.buffer.clone();
        assert_eq!(read(body).await.unwrap().0, "one two");
        assert!(buffer.lock().unwrap().recording.is_empty());
    }

    #[tokio::test]
    async fn empty_frames_take_no_memory_and_do_not_prevent_a_replay() {
        let (mut body, saved) = save(vec![data(""), data(""), data("")], 2);
        for _ in 0..3 {
            body.frame().await.unwrap().unwrap();
        }
        assert_eq!(read(restore(saved).unwrap()).await.unwrap().0, "");
    }

    #[tokio::test]
    async fn failed_body_is_not_replayed() {
        let (body, saved) = save(vec![data("one"), Err("the disk is gone".into())], 1024);
        assert_eq!(read(body).await.unwrap_err(), "the disk is gone");
        assert!(restore(saved).is_none());
    }

    #[tokio::test]
    async fn first_attempt_fails_once_the_replay_has_started() {
        let (mut body, saved) = save(vec![data("one"), data("two")], 1024);
        body.frame().await.unwrap().unwrap();
        let second = restore(saved).unwrap();
        assert_eq!(read(body).await.unwrap_err(), "request is being replayed");
        assert_eq!(read(second).await.unwrap().0, "onetwo");
    }

    #[tokio::test]
    async fn first_attempt_never_seems_complete_after_the_replay() {
        let (mut body, saved) = save(vec![data("one"), data("two"), data("three")], 1024);
        body.frame().await.unwrap().unwrap();
        let replay = restore(saved).unwrap();
        assert_eq!(read(replay).await.unwrap().0, "onetwothree");
        assert!(!body.is_end_stream(), "a truncated body would be sent as a complete one");
        assert!(body.frame().await.unwrap().is_err());
    }

    #[tokio::test]
    async fn first_attempt_is_woken_when_the_replay_starts() {
        let body = StreamBody::new(stream::pending::<Result<Frame<Bytes>, BoxError>>());
        let (body, saved) = save_with(ReplayBuffered::new(), body);
        let mut first = tokio_test::task::spawn(body.collect());
        assert!(first.poll().is_pending());
        let second = restore(saved);
        assert!(second.is_some() && first.is_woken());
        assert!(matches!(first.poll(), Poll::Ready(Err(_))));
    }

    #[tokio::test]
    async fn size_hint_is_that_of_the_body() {
        let full = Full::<Bytes>::from("12345").map_err(|error: Infallible| match error {});
        let (mut body, saved) = save_with(ReplayBuffered::new(), full);
        assert_eq!(body.size_hint().exact(), Some(5));
        assert!(!body.is_end_stream());
        body.frame().await.unwrap().unwrap();
        assert_eq!(body.size_hint().exact(), Some(0));
        assert!(body.is_end_stream());
        let replay = restore(saved).unwrap();
        assert_eq!(replay.size_hint().exact(), Some(5));
        assert!(!replay.is_end_stream());

        let empty = save_with(ReplayBuffered::new(), http_body_util::Empty::<Bytes>::new()).0;
        assert!(empty.is_end_stream());
        let mut context = Context::from_waker(Waker::noop());
        assert!(matches!(Box::pin(empty).as_mut().poll_frame(&mut context), Poll::Ready(None)));
    }

    /// A body whose poll starts the replay of its own request, as a rejection on another thread does.
    struct RejectedWhilePolled {
        saved: std::cell::RefCell<Option<BufferedBody<Self>>>,
        replay: std::rc::Rc<std::cell::RefCell<Option<BufferedBody<Self>>>>,
        frames: std::cell::RefCell<std::vec::IntoIter<&'static str>>,
    }

    impl Body for RejectedWhilePolled {
        type Data = Bytes;
        type Error = Infallible;
        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            if let Some(saved) = self.saved.take() {
                *self.replay.borrow_mut() = ReplayBuffered::restore_body(saved);
            }
            Poll::Ready(
                self.frames
                    .borrow_mut()
                    .next()
                    .map(|frame| Ok(Frame::data(Bytes::from_static(frame.as_bytes())))),
            )
        }
    }

    #[tokio::test]
    async fn frame_read_while_the_replay_starts_is_not_lost() {
        let replay = std::rc::Rc::default();
        let body = RejectedWhilePolled {
            saved: None.into(),
            replay: std::rc::Rc::clone(&replay),
            frames: vec!["one", "two"].into_iter().into(),
        };
        // The limit is reached, but the replay has started.
        let mut first = ReplayBuffered::new().limit(2).wrap(Request::new(body)).into_body();
        let saved = Some(first.attempt(Attempt::First));
        {
            let buffer = first.buffer.lock().unwrap();
            let Source::Body(source) = &buffer.source else { panic!("nothing has been read") };
            source.saved.replace(saved);
        }
        assert!(first.frame().await.unwrap().is_err());
        let replay = replay.borrow_mut().take().unwrap();
        assert_eq!(replay.collect().await.unwrap().to_bytes(), "onetwo");
    }
}
