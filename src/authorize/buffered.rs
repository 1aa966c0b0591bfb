//! Replay of streaming bodies: what has been sent is kept, up to a limit.

use std::{
    fmt,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker, ready},
};

use bytes::{Buf, Bytes};
use http::{HeaderMap, Request};
use http_body::{Body, Frame, SizeHint};

use super::ReplayPolicy;
use crate::BoxError;

/// Replay with what has been sent of the body so far, and then the rest of it; if more has been sent than the buffer
/// holds, do not replay.
///
/// The inner service is sent a [`BufferedBody`]. The buffer holds 64 KiB for each request unless told otherwise.
#[derive(Clone, Copy, Debug)]
pub struct ReplayBuffered {
    limit: usize,
}

impl ReplayBuffered {
    /// With 64 KiB for each request.
    pub const fn new() -> Self {
        Self { limit: 64 << 10 }
    }

    /// With so many bytes for each request.
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

impl super::replay::Sealed for ReplayBuffered {}

impl<B> ReplayPolicy<B> for ReplayBuffered
where
    B: Body,
    B::Error: Into<BoxError>,
{
    type Body = BufferedBody<B>;
    type Kept = Request<BufferedBody<B>>;

    fn keep(&self, request: Request<B>) -> (Request<Self::Body>, Option<Self::Kept>) {
        let (head, body) = request.into_parts();
        let body = BufferedBody::new(body, Some(self.limit));
        let kept = Request::from_parts(head.clone(), body.view(0));
        (Request::from_parts(head, body), Some(kept))
    }

    fn pass_on(&self, body: B) -> Self::Body {
        BufferedBody::new(body, None)
    }

    fn again(kept: Self::Kept) -> Option<Request<Self::Body>> {
        let (replay, waiting) = {
            let mut recording = kept.body().lock();
            recording.room?;
            recording.replays += 1;
            (recording.replays, recording.waiting.take())
        };
        // The first sending is to learn that it is over, or its connection would wait for the rest of the body.
        if let Some(first) = waiting {
            first.wake();
        }
        Some(kept.map(|body| body.view(replay)))
    }
}

/// A body of which is kept what has been read of it.
pub struct BufferedBody<B> {
    recording: Arc<Mutex<Recording<B>>>,
    /// Which sending of the body this is: only the newest may read on.
    replay: u32,
    /// The frame to come next, of those that are kept.
    next: usize,
    left: SizeHint,
}

struct Recording<B> {
    /// What has not been read yet.
    rest: Option<Pin<Box<B>>>,
    sent: Vec<Kept>,
    /// How many bytes the buffer still takes; `None`: nothing is kept, or no more, since there was not enough room.
    room: Option<usize>,
    replays: u32,
    /// Who waits for more of the body.
    waiting: Option<Waker>,
}

/// A frame that can be sent again.
#[derive(Clone)]
enum Kept {
    Data(Bytes),
    Trailers(HeaderMap),
}

impl<B: Body> BufferedBody<B> {
    fn new(body: B, room: Option<usize>) -> Self {
        let whole = body.size_hint();
        let rest = (!body.is_end_stream()).then(|| Box::pin(body));
        let recording = Recording { rest, sent: Vec::new(), room, replays: 0, waiting: None };
        Self { recording: Arc::new(Mutex::new(recording)), replay: 0, next: 0, left: whole }
    }
}

impl<B> BufferedBody<B> {
    fn view(&self, replay: u32) -> Self {
        Self { recording: self.recording.clone(), replay, next: 0, left: self.left }
    }

    /// Nothing of ours panics under this lock. A body that did is asked again, as it would be without us.
    fn lock(&self) -> MutexGuard<'_, Recording<B>> {
        self.recording.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<B: Body> Recording<B> {
    /// Reads on, and keeps what comes as long as there is room.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Kept, B::Error>>> {
        let Some(rest) = &mut self.rest else { return Poll::Ready(None) };
        let polled = rest.as_mut().poll_frame(cx);
        self.waiting = polled.is_pending().then(|| cx.waker().clone());
        let frame = match ready!(polled) {
            Some(Ok(frame)) => frame,
            Some(Err(error)) => {
                self.forget();
                return Poll::Ready(Some(Err(error)));
            }
            None => {
                self.rest = None;
                return Poll::Ready(None);
            }
        };
        let kept = match frame.into_data() {
            Ok(mut data) => Kept::Data(data.copy_to_bytes(data.remaining())),
            Err(frame) => Kept::Trailers(frame.into_trailers().unwrap_or_default()),
        };
        self.keep(&kept);
        Poll::Ready(Some(Ok(kept)))
    }

    fn keep(&mut self, kept: &Kept) {
        let Some(room) = self.room else { return };
        match room.checked_sub(kept.len()) {
            Some(room) => {
                self.room = Some(room);
                self.sent.push(kept.clone());
            }
            None => self.forget(),
        }
    }

    fn forget(&mut self) {
        self.room = None;
        self.sent = Vec::new();
    }
}

impl Kept {
    /// Frames without data count too, lest an endless row of them fill the memory.
    fn len(&self) -> usize {
        match self {
            Self::Data(data) => data.len().max(1),
            Self::Trailers(trailers) => {
                trailers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum::<usize>() + 1
            }
        }
    }
}

impl<B> Body for BufferedBody<B>
where
    B: Body,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        let mut recording = this.recording.lock().unwrap_or_else(PoisonError::into_inner);
        if recording.replays != this.replay {
            return Poll::Ready(Some(Err("the request is being sent once more".into())));
        }
        let frame = match recording.sent.get(this.next) {
            Some(kept) => kept.clone(),
            None => match ready!(recording.poll_next(cx)) {
                Some(Ok(kept)) => kept,
                Some(Err(error)) => return Poll::Ready(Some(Err(error.into()))),
                None => return Poll::Ready(None),
            },
        };
        this.next += 1;
        Poll::Ready(Some(Ok(match frame {
            Kept::Data(data) => {
                this.left = less(&this.left, data.len() as u64);
                Frame::data(data)
            }
            Kept::Trailers(trailers) => Frame::trailers(trailers),
        })))
    }

    fn is_end_stream(&self) -> bool {
        let recording = self.lock();
        recording.rest.as_ref().is_none_or(|rest| rest.is_end_stream()) && self.next >= recording.sent.len()
    }

    fn size_hint(&self) -> SizeHint {
        self.left
    }
}

fn less(hint: &SizeHint, read: u64) -> SizeHint {
    let mut left = SizeHint::new();
    left.set_lower(hint.lower().saturating_sub(read));
    if let Some(upper) = hint.upper() {
        left.set_upper(upper.saturating_sub(read));
    }
    left
}

impl<B> fmt::Debug for BufferedBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BufferedBody").field("replay", &self.replay).finish_non_exhaustive()
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

    fn keep(chunks: Chunks, limit: usize) -> (BufferedBody<Stream>, BufferedBody<Stream>) {
        keep_by(ReplayBuffered::new().limit(limit), StreamBody::new(stream::iter(chunks)))
    }

    fn keep_by<B: Body<Error: Into<BoxError>>>(policy: ReplayBuffered, body: B) -> (BufferedBody<B>, BufferedBody<B>) {
        let (request, kept) = policy.keep(Request::new(body));
        (request.into_body(), kept.unwrap().into_body())
    }

    fn again<B: Body<Error: Into<BoxError>>>(kept: BufferedBody<B>) -> Option<BufferedBody<B>> {
        <ReplayBuffered as ReplayPolicy<B>>::again(Request::new(kept)).map(Request::into_body)
    }

    async fn read(body: BufferedBody<Stream>) -> Result<(String, Option<HeaderMap>), String> {
        let collected = body.collect().await.map_err(|error| error.to_string())?;
        let trailers = collected.trailers().cloned();
        Ok((String::from_utf8(collected.to_bytes().to_vec()).unwrap(), trailers))
    }

    #[tokio::test]
    async fn a_body_is_sent_again_with_its_trailers_however_much_of_it_was_sent() {
        for frames_sent in 0..=4 {
            let (mut body, kept) = keep(vec![data("one "), data("two "), data("three"), trailers()], 1024);
            for _ in 0..frames_sent {
                body.frame().await.unwrap().unwrap();
            }
            let (text, sent_trailers) = read(again(kept).unwrap()).await.unwrap();
            assert_eq!(text, "one two three", "{frames_sent}");
            assert!(sent_trailers.is_some());
        }
    }

    #[tokio::test]
    async fn a_body_of_which_more_was_sent_than_is_kept_is_not_sent_again() {
        let (mut body, kept) = keep(vec![data("12345"), data("6"), data("7")], 5);
        body.frame().await.unwrap().unwrap();
        assert!(again(kept.view(0)).is_some(), "the buffer is full, and whole");

        let (mut body, kept) = keep(vec![data("12345"), data("6"), data("7")], 5);
        body.frame().await.unwrap().unwrap();
        body.frame().await.unwrap().unwrap();
        assert!(again(kept).is_none());
        assert_eq!(read(body).await.unwrap().0, "7", "the first sending goes on");
    }

    #[tokio::test]
    async fn nothing_is_kept_of_a_body_that_is_only_passed_on() {
        let whole = StreamBody::new(stream::iter(vec![data("one "), data("two")]));
        let body = ReplayBuffered::new().pass_on(whole);
        let recording = body.recording.clone();
        assert_eq!(read(body).await.unwrap().0, "one two");
        assert!(recording.lock().unwrap().sent.is_empty());
    }

    #[tokio::test]
    async fn frames_without_data_fill_the_buffer_too() {
        let (mut body, kept) = keep(vec![data(""), data(""), data("")], 2);
        for _ in 0..3 {
            body.frame().await.unwrap().unwrap();
        }
        assert!(again(kept).is_none());
    }

    #[tokio::test]
    async fn a_body_that_has_failed_is_not_sent_again() {
        let (body, kept) = keep(vec![data("one"), Err("the disk is gone".into())], 1024);
        assert_eq!(read(body).await.unwrap_err(), "the disk is gone");
        assert!(again(kept).is_none());
    }

    #[tokio::test]
    async fn the_first_sending_may_not_read_on_once_the_second_has_begun() {
        let (mut body, kept) = keep(vec![data("one"), data("two")], 1024);
        body.frame().await.unwrap().unwrap();
        let second = again(kept).unwrap();
        assert_eq!(read(body).await.unwrap_err(), "the request is being sent once more");
        assert_eq!(read(second).await.unwrap().0, "onetwo");
    }

    #[tokio::test]
    async fn the_first_sending_is_woken_when_the_second_begins() {
        let body = StreamBody::new(stream::pending::<Result<Frame<Bytes>, BoxError>>());
        let (body, kept) = keep_by(ReplayBuffered::new(), body);
        let mut first = tokio_test::task::spawn(body.collect());
        assert!(first.poll().is_pending());
        let second = again(kept);
        assert!(second.is_some() && first.is_woken());
        assert!(matches!(first.poll(), Poll::Ready(Err(_))));
    }

    #[tokio::test]
    async fn the_size_is_told_as_the_body_told_it() {
        let full = Full::<Bytes>::from("12345").map_err(|error: Infallible| match error {});
        let (mut body, again) = keep_by(ReplayBuffered::new(), full);
        assert_eq!(body.size_hint().exact(), Some(5));
        assert!(!body.is_end_stream());
        body.frame().await.unwrap().unwrap();
        assert_eq!(body.size_hint().exact(), Some(0));
        assert!(body.is_end_stream());
        assert_eq!(again.size_hint().exact(), Some(5));
        assert!(!again.is_end_stream());

        let empty = keep_by(ReplayBuffered::new(), http_body_util::Empty::<Bytes>::new()).0;
        assert!(empty.is_end_stream());
        let mut context = Context::from_waker(Waker::noop());
        assert!(matches!(Box::pin(empty).as_mut().poll_frame(&mut context), Poll::Ready(None)));
    }
}
