//! `Credentials` of `google-cloud-auth`: the crate builds the headers each time; the user's code adds them.

use google_cloud_auth::credentials::{CacheableResource, Credentials, user_account};
use http::Extensions;
use serde_json::json;
use tower::Service;

use super::{Peer, Surroundings};
use crate::{
    calls::{self, Calls},
    endpoint::Endpoint,
};

#[derive(Debug)]
pub(super) struct UserCredentials(Credentials);

impl Peer for UserCredentials {
    const NAME: &'static str = "google-cloud-auth";
    const PACKAGE: &'static str = "google-cloud-auth";

    fn start(Surroundings { runtime, issuer }: &Surroundings) -> Self {
        let user = json!({
            "type": "authorized_user",
            "client_id": "peers",
            "client_secret": "peers",
            "refresh_token": "peers",
            "token_uri": issuer.url(),
        });
        runtime.block_on(async {
            let credentials =
                user_account::Builder::new(user).build().expect("the credentials are valid");
            credentials.headers(Extensions::new()).await.expect("the issuer answers");
            Self(credentials)
        })
    }

    fn calls<const CHECKED: bool>(&self) -> Calls {
        let credentials = self.0.clone();
        calls::by(async move |mut request| {
            match credentials.headers(Extensions::new()).await.expect("the token is cached") {
                CacheableResource::New { data, .. } => request.headers_mut().extend(data),
                CacheableResource::NotModified => unreachable!("no tag was given"),
            }
            let Ok(_) = Endpoint::<CHECKED>.call(request).await;
        })
    }
}
