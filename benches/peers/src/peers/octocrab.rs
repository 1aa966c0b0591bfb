//! `octocrab` as an app installation. Its client sets the token in `execute`, before a `Buffer`. A bare call uses a
//! client without credentials. Both run on a runtime.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    sync::Arc,
    task::{Context, Poll},
};

use ::octocrab::{AuthState, OctoBody, Octocrab, OctocrabBuilder, auth::AppAuth};
use bytes::Bytes;
use http::{Method, Request, Response, Uri};
use http_body_util::Full;
use jsonwebtoken::EncodingKey;
use serde_json::json;
use tokio::runtime::Runtime;
use tower::Service;

use super::{Peer, Surroundings};
use crate::{
    calls::Calls,
    common::{Requests, secret},
    endpoint::Endpoint,
    keys,
};

pub(super) struct Installation {
    /// A current-thread runtime, so that the calls of a thread stay on it.
    runtime: Arc<Runtime>,
    app: AppAuth,
    shared: Arc<Octocrab>,
}

impl Peer for Installation {
    const NAME: &'static str = "octocrab, installation";
    const PACKAGE: &'static str = "octocrab";

    fn start(_: &Surroundings) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = Arc::new(runtime.expect("a runtime can be started"));
        let key = EncodingKey::from_rsa_pem(keys::rsa_pem().as_bytes()).expect("the key is valid");
        let app = AppAuth { app_id: 1.into(), key };
        let shared = Arc::new(installation::<false>(&runtime, app.clone()));
        Self { runtime, app, shared }
    }

    fn calls<const CHECKED: bool>(&self) -> Calls {
        let client = if CHECKED {
            Arc::new(installation::<true>(&self.runtime, self.app.clone()))
        } else {
            self.shared.clone()
        };
        calls_by(self.runtime.clone(), client)
    }

    fn own_bare(&self) -> Option<Calls> {
        Some(calls_by(
            self.runtime.clone(),
            Arc::new(client::<false>(&self.runtime, AuthState::None)),
        ))
    }
}

fn calls_by(runtime: Arc<Runtime>, client: Arc<Octocrab>) -> Calls {
    let requests = Requests::new();
    // octocrab sends the token to GitHub only, which is the destination of a bare path.
    let path = Uri::from_static("/things/1");
    Box::new(move |times| {
        runtime.block_on(async {
            for _ in 0..times {
                let mut request = requests.next();
                *request.uri_mut() = path.clone();
                client.execute(request).await.expect("GitHub answers");
            }
        });
    })
}

fn installation<const CHECKED: bool>(runtime: &Runtime, app: AppAuth) -> Octocrab {
    let installation =
        client::<CHECKED>(runtime, AuthState::App(app)).installation(1.into()).expect("an app");
    runtime.block_on(installation.installation_token()).expect("GitHub answers");
    installation
}

fn client<const CHECKED: bool>(runtime: &Runtime, auth: AuthState) -> Octocrab {
    let _entered = runtime.enter();
    let Ok(client) =
        OctocrabBuilder::new_empty().with_service(GitHub::<CHECKED>).with_auth(auth).build();
    client
}

/// The inner service, which also issues tokens.
struct GitHub<const CHECKED: bool>;

impl<const CHECKED: bool> Service<Request<OctoBody>> for GitHub<CHECKED> {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<OctoBody>) -> Self::Future {
        if request.method() == Method::POST {
            let token = json!({ "token": secret(), "expires_at": "2999-01-01T00:00:00Z", "permissions": {} });
            return ready(Ok(Response::new(token.to_string().into())));
        }
        let Ok(response) = Endpoint::<CHECKED>.call(request).into_inner();
        ready(Ok(response.map(|()| Full::default())))
    }
}
