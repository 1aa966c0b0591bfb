//! [`BufferedBody`]: one attempt's view of a body that is recorded.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::{replay_buffer::ReplayBuffer, replay_state::Attempt};
use crate::error::BoxError;

/// A body that records what is read from it. [`ReplayBuffered`](crate::ReplayBuffered) creates it.
///
/// Its data is `Bytes`, and its error is a [`BoxError`]. An inner service that is generic over its body needs no change.
/// For others, see [`ReplayBuffered::map_body`](crate::ReplayBuffered::map_body).
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
    buffer: Arc<ReplayBuffer<B>>,
    attempt: Attempt,
    remaining: SizeHint,
}

impl<B: Body> BufferedBody<B> {
    /// Records at most `limit` bytes of memory. `None`: records nothing.
    pub(super) fn new(body: B, limit: Option<usize>) -> Self {
        let remaining = body.size_hint();
        let buffer = Arc::new(ReplayBuffer::new(body, limit));
        Self { buffer, attempt: Attempt::First, remaining }
    }
}

impl<B> BufferedBody<B> {
    /// Returns the body to save for a replay. This one must not have been read yet.
    pub(super) fn save(&self) -> Self {
        Self { buffer: self.buffer.clone(), attempt: self.attempt, remaining: self.remaining }
    }

    /// Starts the replay of a saved body, if everything that was sent has been recorded.
    pub(super) fn replay(self) -> Option<Self> {
        self.buffer.start_replay().then_some(Self { attempt: Attempt::Replay, ..self })
    }
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
        // The saved body has been dropped, for example because the response was not a rejection.
        if this.attempt == Attempt::First
            && let Some(buffer) = Arc::get_mut(&mut this.buffer)
        {
            buffer.stop_recording();
        }
        this.buffer.poll_frame(this.attempt, cx).map_ok(|frame| {
            let read = frame.data_ref().map_or(0, Bytes::len);
            this.remaining = subtract(&this.remaining, read as u64);
            frame
        })
    }

    fn is_end_stream(&self) -> bool {
        self.buffer.is_end(self.attempt)
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

    fn data(
        frames: &'static [&'static str],
    ) -> impl Body<Data = Bytes, Error = Infallible> + Unpin {
        let frames = frames.iter().map(|text| Ok(Frame::data(Bytes::from_static(text.as_bytes()))));
        StreamBody::new(stream::iter(frames))
    }

    fn save<B: Body>(body: B) -> (BufferedBody<B>, BufferedBody<B>) {
        let body = BufferedBody::new(body, Some(1024));
        let saved = body.save();
        (body, saved)
    }

    async fn read<B: Body<Error: Into<BoxError>>>(body: BufferedBody<B>) -> Result<Bytes, String> {
        body.collect().await.map(|body| body.to_bytes()).map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn first_attempt_fails_once_the_replay_has_started() {
        let (mut body, saved) = save(data(&["one", "two"]));
        body.frame().await.unwrap().unwrap();
        let second = saved.replay().unwrap();
        assert_eq!(read(body).await.unwrap_err(), "request is being replayed");
        assert_eq!(read(second).await.unwrap(), "onetwo");
    }

    #[tokio::test]
    async fn first_attempt_never_seems_complete_after_the_replay() {
        let (mut body, saved) = save(data(&["one", "two", "three"]));
        body.frame().await.unwrap().unwrap();
        let replay = saved.replay().unwrap();
        assert_eq!(read(replay).await.unwrap(), "onetwothree");
        assert!(!body.is_end_stream(), "a truncated body would be sent as a complete one");
        assert!(body.frame().await.unwrap().is_err());
    }

    #[tokio::test]
    async fn first_attempt_is_woken_when_the_replay_starts() {
        let body = StreamBody::new(stream::pending::<Result<Frame<Bytes>, BoxError>>());
        let (body, saved) = save(body);
        let mut first = tokio_test::task::spawn(body.collect());
        assert!(first.poll().is_pending());
        let second = saved.replay();
        assert!(second.is_some() && first.is_woken());
        assert!(matches!(first.poll(), Poll::Ready(Err(_))));
    }

    #[tokio::test]
    async fn size_hint_is_that_of_the_body() {
        let full = Full::<Bytes>::from("12345").map_err(|error: Infallible| match error {});
        let (mut body, saved) = save(full);
        assert_eq!(body.size_hint().exact(), Some(5));
        assert!(!body.is_end_stream());
        body.frame().await.unwrap().unwrap();
        assert_eq!(body.size_hint().exact(), Some(0));
        assert!(body.is_end_stream());
        let replay = saved.replay().unwrap();
        assert_eq!(replay.size_hint().exact(), Some(5));
        assert!(!replay.is_end_stream());

        let empty = save(http_body_util::Empty::<Bytes>::new()).0;
        assert!(empty.is_end_stream());
        let mut context = Context::from_waker(Waker::noop());
        assert!(matches!(Box::pin(empty).as_mut().poll_frame(&mut context), Poll::Ready(None)));
    }
}
