//! [`InFlight`]: a request in flight, and what follows its response.

use http::{HeaderMap, HeaderValue, Request, Response, header::WWW_AUTHENTICATE};

use super::{
    classify::ClassifyRejection,
    extensions::{TokenInfo, TokenValidFor},
    replay::policy::ReplayPolicy,
    service_context::ServiceContext,
    sharded_arc::ShardedArc,
};
use crate::refresh::{self, CachedToken, TokenFuture, TokenId};

/// Replays a saved request.
pub(crate) struct Resender<S, P, C> {
    pub(crate) inner: S,
    pub(crate) context: ShardedArc<ServiceContext<P, C>>,
}

/// A saved request of a policy.
pub(crate) type Saved<S, B, P, C> = <P as ReplayPolicy<B>>::Saved<Resender<S, P, C>>;

/// What a call on the slow path stores until its response arrives.
pub(crate) struct InFlight<S, B, P: ReplayPolicy<B>, C> {
    pub(crate) token: TokenId,
    pub(crate) classify: C,
    pub(crate) token_info: Option<TokenInfo>,
    /// `None`: the request cannot be replayed.
    pub(crate) saved: Option<Saved<S, B, P, C>>,
}

/// What follows a response.
pub(crate) enum Outcome<S, B, P: ReplayPolicy<B>, C, T> {
    /// The response is for the caller.
    Final(T),
    /// The token was rejected, and the request is saved.
    Rejected(Rejected<S, B, P, C, T>),
}

/// A rejected request. A newer token exists, or a login for it is due.
pub(crate) struct Rejected<S, B, P: ReplayPolicy<B>, C, T> {
    pub(crate) newer: TokenFuture,
    pub(crate) original: T,
    pub(crate) replay: Replay<S, B, P, C>,
}

/// A saved request that waits for a newer token.
pub(crate) struct Replay<S, B, P: ReplayPolicy<B>, C> {
    saved: Saved<S, B, P, C>,
    classify: C,
    insert_token_info: bool,
}

/// A request to replay.
pub(crate) struct Replayed<S, B, P: ReplayPolicy<B>, C> {
    pub(crate) inner: S,
    pub(crate) request: Request<P::Body>,
    pub(crate) in_flight: InFlight<S, B, P, C>,
}

impl<S: Clone, B, P: ReplayPolicy<B> + Clone, C: Clone> InFlight<S, B, P, C> {
    /// Inserts this token into the request, and saves the request.
    pub(crate) fn new(
        mut request: Request<B>,
        token: &CachedToken,
        context: &ShardedArc<ServiceContext<P, C>>,
        inner: &S,
    ) -> (Request<P::Body>, Self) {
        let ServiceContext { refresher, config, .. } = &**context;
        config.header.insert(request.headers_mut(), token.header.local().1);
        let request = config.replay.wrap(request);
        let resender = || Resender { inner: inner.clone(), context: context.clone() };
        let in_flight = Self {
            token: refresher.id_of(token),
            classify: config.classify.clone(),
            token_info: config.insert_token_info.then(|| TokenInfo::from_token(token)),
            saved: config.replay.save(&request, resender),
        };
        (request, in_flight)
    }
}

/// Reports a rejection, if the response is one and the request had a token. Returns whether a newer token exists or a
/// login for it is due.
#[inline]
pub(crate) fn report_if_rejected<R>(
    token: Option<TokenId>,
    classify: &impl ClassifyRejection,
    response: &Response<R>,
) -> bool {
    #[cold]
    fn rejected(token: Option<TokenId>, headers: &HeaderMap) -> bool {
        token.is_some_and(|token| refresh::reject(token, challenge(headers)))
    }
    classify.is_rejection(response.status(), response.headers()) && rejected(token, response.headers())
}

impl<S, B, P: ReplayPolicy<B>, C: ClassifyRejection> InFlight<S, B, P, C> {
    pub(crate) fn on_response<R>(self, mut response: Response<R>) -> Outcome<S, B, P, C, Response<R>> {
        let insert_token_info = self.token_info.is_some();
        if let Some(token_info) = self.token_info {
            response.extensions_mut().insert(token_info);
        }
        let has_newer = report_if_rejected(Some(self.token), &self.classify, &response);
        match self.saved.filter(|_| has_newer) {
            Some(saved) => Outcome::Rejected(Rejected::new(response, saved, self.classify, insert_token_info)),
            None => Outcome::Final(response),
        }
    }
}

impl<S, B, P: ReplayPolicy<B>, C, T> Rejected<S, B, P, C, T> {
    /// Waits for a newer token than that of a saved request.
    pub(crate) fn new(original: T, saved: Saved<S, B, P, C>, classify: C, insert_token_info: bool) -> Self {
        let request = P::saved(&saved);
        let min = TokenValidFor::from_extensions(request.extensions()).map(|TokenValidFor(min)| min);
        let newer = request.resender.context.refresher.wait_for_token(min);
        Self { newer, original, replay: Replay { saved, classify, insert_token_info } }
    }
}

impl<S, B, P: ReplayPolicy<B>, C> Replay<S, B, P, C> {
    /// Returns the request with the newer token. `None` if the request cannot be replayed, or if `newer` has the
    /// rejected header value.
    pub(crate) fn with_token(self, newer: &CachedToken) -> Option<Replayed<S, B, P, C>> {
        let request = P::saved(&self.saved);
        let name = request.resender.context.config.header.name();
        let (_, value) = newer.header.local();
        // Checked before the body is restored, because that ends the first attempt.
        if request.header(&name) == Some(value) {
            return None;
        }
        let (request, resender) = P::into_saved(self.saved).restore(P::restore_body, (&name, value))?;
        let Resender { inner, context } = resender;
        context.refresher.telemetry().request_replayed();
        let in_flight = InFlight {
            token: context.refresher.id_of(newer),
            classify: self.classify,
            token_info: self.insert_token_info.then(|| TokenInfo::from_token(newer)),
            // A request is replayed once.
            saved: None,
        };
        Some(Replayed { inner, request, in_flight })
    }
}

/// Joins all challenges of a response. Several header lines mean the same as one list (RFC 9110, section 5.3).
fn challenge(headers: &HeaderMap) -> Option<HeaderValue> {
    let all: Vec<&[u8]> = headers.get_all(WWW_AUTHENTICATE).iter().map(HeaderValue::as_bytes).collect();
    if all.is_empty() { None } else { HeaderValue::from_bytes(&all.join(&b", "[..])).ok() }
}
