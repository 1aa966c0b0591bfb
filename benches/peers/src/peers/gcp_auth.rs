//! `CustomServiceAccount` of `gcp_auth`: looks the token up by its scopes, and builds the header each time.

use std::sync::Arc;

use ::gcp_auth::{CustomServiceAccount, TokenProvider};
use http::{HeaderValue, header::AUTHORIZATION};
use serde_json::json;
use tower::Service;

use super::{Peer, Surroundings};
use crate::{
    calls::{self, Calls},
    endpoint::Endpoint,
    keys,
};

const SCOPES: &[&str] = &["https://www.googleapis.com/auth/cloud-platform"];

pub(super) struct ServiceAccount(Arc<dyn TokenProvider>);

impl Peer for ServiceAccount {
    const NAME: &'static str = "gcp_auth";
    const PACKAGE: &'static str = "gcp_auth";

    fn start(surroundings: &Surroundings) -> Self {
        let account = service_account(surroundings);
        surroundings.runtime.block_on(account.token(SCOPES)).expect("the issuer answers");
        Self(account)
    }

    fn calls<const CHECKED: bool>(&self) -> Calls {
        let provider = self.0.clone();
        calls::by(async move |mut request| {
            let token = provider.token(SCOPES).await.expect("it is cached");
            let header = format!("Bearer {}", token.as_str());
            let mut value = HeaderValue::try_from(header).expect("the token is a header's value");
            value.set_sensitive(true);
            request.headers_mut().insert(AUTHORIZATION, value);
            let Ok(_) = Endpoint::<CHECKED>.call(request).await;
        })
    }
}

/// Returns a service account that has no token yet.
pub(super) fn service_account(
    Surroundings { runtime, issuer }: &Surroundings,
) -> Arc<dyn TokenProvider> {
    let credentials = json!({
        "type": "service_account",
        "project_id": "peers",
        "private_key": keys::rsa_pem(),
        "client_email": "peers@example.com",
        "token_uri": issuer.url(),
    });
    let _entered = runtime.enter();
    let account = CustomServiceAccount::from_json(&credentials.to_string());
    Arc::new(account.expect("the credentials are valid"))
}
