//! [`Unsent`]: a request before it is sent. [`InFlight`]: what is stored of it until its response arrives.

use std::time::Duration;

use http::{HeaderMap, HeaderValue, Request, Response, header::WWW_AUTHENTICATE};

use super::{
    classify::ClassifyRejection,
    extensions::{TokenInfo, TokenValidFor},
    identity::{IdentityPolicy, Select},
    replay::{policy::ReplayPolicy, saved_request::SavedRequest},
    service_context::ServiceContext,
    sharded_arc::ShardedArc,
};
use crate::{
    AuthRefresher,
    refresh::{self, CachedToken, TokenFuture, TokenId},
};

/// Sends a request.
pub(crate) struct RequestSender<S, P, C, I: IdentityPolicy> {
    pub(crate) inner: S,
    pub(crate) context: ShardedArc<ServiceContext<P, C, I>>,
    /// The identity of the request. A replay uses the same one.
    pub(crate) selected: <I as Select>::Selected,
}

impl<S, P, C, I: IdentityPolicy> RequestSender<S, P, C, I> {
    pub(crate) fn refresher(&self) -> &AuthRefresher {
        self.context.identity.refresher(&self.selected)
    }
}

/// A saved request of a policy.
pub(crate) type Saved<S, B, P, C, I> = <P as ReplayPolicy<B>>::Saved<RequestSender<S, P, C, I>>;

/// What a call on the slow path stores until its response arrives.
pub(crate) struct InFlight<S, B, P: ReplayPolicy<B>, C, I: IdentityPolicy> {
    pub(crate) token: TokenId,
    pub(crate) classify: C,
    pub(crate) token_info: Option<TokenInfo>,
    /// `None`: the request cannot be replayed.
    pub(crate) saved: Option<Saved<S, B, P, C, I>>,
}

/// A request that waits for a token or for the inner service.
pub(crate) enum Unsent<B, P: ReplayPolicy<B>> {
    /// The first attempt.
    First(Request<B>),
    /// The first attempt, after a wait that ended without a token. It is sent without one if there still is none.
    FirstTokenOptional(Request<B>),
    /// The second attempt. It still has the rejected token.
    Replay(Request<P::Body>),
}

/// A request to replay, and what replays it.
pub(crate) type Restored<S, B, P, C, I> = (Unsent<B, P>, RequestSender<S, P, C, I>);

/// A request with a token, and what is stored of it.
pub(crate) type Authorized<S, B, P, C, I> =
    (Request<<P as ReplayPolicy<B>>::Body>, InFlight<S, B, P, C, I>);

/// What follows a response.
pub(crate) enum Outcome<S, B, P: ReplayPolicy<B>, C, I: IdentityPolicy, T> {
    /// The response is for the caller.
    Final(T),
    /// The token was rejected, and the request is saved.
    Rejected(Rejected<S, B, P, C, I, T>),
}

/// A rejected request. A newer token exists, or a login for it is due.
pub(crate) struct Rejected<S, B, P: ReplayPolicy<B>, C, I: IdentityPolicy, T> {
    pub(crate) newer: TokenFuture,
    pub(crate) original: T,
    pub(crate) saved: Saved<S, B, P, C, I>,
}

impl<B, P: ReplayPolicy<B> + Clone> Unsent<B, P> {
    /// Returns how long the token must live, if the request says so.
    pub(crate) fn min_token_life(&self) -> Option<Duration> {
        let extensions = match self {
            Self::First(request) | Self::FirstTokenOptional(request) => request.extensions(),
            Self::Replay(request) => request.extensions(),
        };
        TokenValidFor::from_extensions(extensions).map(|TokenValidFor(min)| min)
    }

    /// Returns whether this is a replay, and the token is that of its first attempt.
    pub(crate) fn would_repeat_token<C, I: IdentityPolicy>(
        &self,
        token: &CachedToken,
        context: &ServiceContext<P, C, I>,
    ) -> bool {
        match self {
            Self::First(_) | Self::FirstTokenOptional(_) => false,
            Self::Replay(request) => {
                request.headers().get(context.config.header.name()) == Some(token.header.local().1)
            }
        }
    }

    /// Inserts this token. Saves the request, unless it is a replay: a request is replayed once.
    pub(crate) fn authorize<S: Clone, C: Clone, I: IdentityPolicy>(
        self,
        token: &CachedToken,
        context: &ShardedArc<ServiceContext<P, C, I>>,
        selected: &<I as Select>::Selected,
        inner: &S,
    ) -> Authorized<S, B, P, C, I> {
        let ServiceContext { identity, config, .. } = &**context;
        let refresher = identity.refresher(selected);
        let value = token.header.local().1;
        let (request, saved) = match self {
            Self::First(mut request) | Self::FirstTokenOptional(mut request) => {
                config.header.insert_clone(request.headers_mut(), value);
                let request = config.replay.wrap(request);
                let sender = || RequestSender {
                    inner: inner.clone(),
                    context: context.clone(),
                    selected: selected.clone(),
                };
                let saved = config.replay.save(&request, sender);
                (config.replay.finish(request), saved)
            }
            Self::Replay(mut request) => {
                config.header.insert_clone(request.headers_mut(), value);
                refresher.telemetry().request_replayed();
                (request, None)
            }
        };
        let token_info = config.insert_token_info.then(|| TokenInfo::from_token(token));
        (
            request,
            InFlight {
                token: refresher.id_of(token),
                classify: config.classify.clone(),
                token_info,
                saved,
            },
        )
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
    classify.is_rejection(response.status(), response.headers())
        && rejected(token, response.headers())
}

impl<S, B, P: ReplayPolicy<B>, C: ClassifyRejection, I: IdentityPolicy> InFlight<S, B, P, C, I> {
    pub(crate) fn on_response<R>(
        self,
        mut response: Response<R>,
    ) -> Outcome<S, B, P, C, I, Response<R>> {
        if let Some(token_info) = self.token_info {
            response.extensions_mut().insert(token_info);
        }
        let has_newer = report_if_rejected(Some(self.token), &self.classify, &response);
        match self.saved.filter(|_| has_newer) {
            Some(saved) => Outcome::Rejected(Rejected::new(response, saved)),
            None => Outcome::Final(response),
        }
    }
}

impl<S, B, P: ReplayPolicy<B>, C, I: IdentityPolicy, T> Rejected<S, B, P, C, I, T> {
    /// Waits for a newer token than that of a saved request.
    pub(crate) fn new(original: T, saved: Saved<S, B, P, C, I>) -> Self {
        let request = saved.as_ref();
        let min =
            TokenValidFor::from_extensions(request.extensions()).map(|TokenValidFor(min)| min);
        let newer = request.sender.refresher().wait_for_token(min);
        Self { newer, original, saved }
    }
}

/// Restores a saved request, to be sent with a newer token. `None` if its body is not whole, or if `newer` has the
/// rejected header value.
pub(crate) fn restore<S, B, P: ReplayPolicy<B>, C, I: IdentityPolicy>(
    saved: Saved<S, B, P, C, I>,
    newer: &CachedToken,
) -> Option<Restored<S, B, P, C, I>> {
    let request: SavedRequest<_, _> = saved.into();
    let name = request.sender.context.config.header.name();
    // Checked before the body is restored, because that ends the first attempt.
    if request.header(&name) == Some(newer.header.local().1) {
        return None;
    }
    let (request, sender) = request.restore(P::restore_body)?;
    let request = sender.context.config.replay.finish(request);
    Some((Unsent::Replay(request), sender))
}

/// Joins all challenges of a response. Several header lines mean the same as one list (RFC 9110, section 5.3).
fn challenge(headers: &HeaderMap) -> Option<HeaderValue> {
    let all: Vec<&[u8]> =
        headers.get_all(WWW_AUTHENTICATE).iter().map(HeaderValue::as_bytes).collect();
    if all.is_empty() { None } else { HeaderValue::from_bytes(&all.join(&b", "[..])).ok() }
}
