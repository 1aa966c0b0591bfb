//! [`ReplayBuffered`]: replays streaming bodies from a copy of what has been sent.

use http::Request;
use http_body::Body;

use super::{
    buffered_body::BufferedBody,
    policy::{ReplayPolicy, Sealed},
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
/// does not accept the policy's body. Create hyper-util's client as a `Client<_, BufferedBody<B>>`, or convert the body with
/// [`map_body`](Self::map_body).
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
        Some(Box::new(SavedRequest::new(request, request.body().save(), sender())))
    }

    fn restore_body(body: Self::Body) -> Option<Self::Body> {
        body.replay()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures::stream;
    use http::HeaderMap;
    use http_body::Frame;
    use http_body_util::{BodyExt, StreamBody};

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
        let policy = ReplayBuffered::new().limit(limit);
        let request = policy.wrap(Request::new(StreamBody::new(stream::iter(chunks))));
        let saved = policy.save(&request, || ()).unwrap();
        let (saved, ()) = saved.restore(Some).unwrap();
        (request.into_body(), saved.into_body())
    }

    fn restore(saved: BufferedBody<Stream>) -> Option<BufferedBody<Stream>> {
        <ReplayBuffered as ReplayPolicy<Stream>>::restore_body(saved)
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
        assert!(restore(saved.save()).is_some(), "the buffer is full and complete");

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
        let saved = body.save();
        assert_eq!(read(body).await.unwrap().0, "one two");
        assert!(restore(saved).is_none());
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
}
