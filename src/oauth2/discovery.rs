//! [`Discovery`]: the token endpoint that the issuer's metadata names.

use http::{Request, Uri};
use http_body_util::Full;
use serde::Deserialize;

use super::{
    AuthorizationServer, OAuth2Error,
    error_kind::{ErrorResponse, Failure, Kind},
    server::{Source, metadata_urls, validate_url},
};
use crate::{
    json::describe_position,
    transport::{HttpService, Transport, redact},
};

/// The token endpoint, and the audience of assertions.
#[derive(Clone)]
pub(super) struct Endpoints {
    pub(super) endpoint: Uri,
    pub(super) audience: String,
}

/// The endpoints that the last valid metadata names.
#[derive(Default)]
pub(super) struct Discovery {
    found: Option<Endpoints>,
    /// The metadata is read again.
    pub(super) stale: bool,
}

impl Discovery {
    /// Returns the endpoints. If the metadata cannot be read again, the previous endpoints remain in use.
    pub(super) async fn find<S: HttpService>(
        &mut self,
        server: &AuthorizationServer,
        transport: Transport<S>,
    ) -> Result<Endpoints, OAuth2Error> {
        if let Some(found) = self.found.as_ref().filter(|_| !self.stale) {
            return Ok(found.clone());
        }
        match (discover(server, transport).await, &self.found) {
            (Ok(found), _) => Ok(self.found.insert(found).clone()),
            (Err(_), Some(found)) => Ok(found.clone()),
            (Err(error), None) => Err(error),
        }
    }
}

#[derive(Deserialize)]
struct Metadata {
    issuer: String,
    token_endpoint: Option<String>,
}

/// Tries both places, because any failure of the first can be its own: another issuer's document, a proxy's page, an
/// unrelated service.
async fn discover<S: HttpService>(
    server: &AuthorizationServer,
    transport: Transport<S>,
) -> Result<Endpoints, OAuth2Error> {
    let issuer = match &server.source {
        Source::TokenEndpoint(endpoint) => {
            return Ok(Endpoints { endpoint: endpoint.clone(), audience: endpoint.to_string() });
        }
        Source::Issuer(issuer) => issuer,
    };
    let mut failures = Vec::new();
    for url in metadata_urls(issuer) {
        match fetch(&url, transport.clone())
            .await
            .and_then(|metadata| endpoints(server, issuer, metadata))
        {
            Ok(endpoints) => return Ok(endpoints),
            Err(kind) => failures.push(Failure { endpoint: format!("GET {url}"), kind }),
        }
    }
    Err(OAuth2Error::new(issuer, Kind::Discovery(failures)))
}

async fn fetch<S: HttpService>(url: &str, transport: Transport<S>) -> Result<Metadata, Kind> {
    let request = Request::get(url).body(Full::default());
    let response = transport.send(request, &[]).await.map_err(Kind::Transport)?;
    let status = response.head.status;
    if status.is_success() {
        let body = response.body.map_err(Kind::Transport)?;
        return serde_json::from_slice(&body)
            .map_err(|error| Kind::Metadata(describe_position(&error)));
    }
    Err(Kind::ErrorResponse(ErrorResponse {
        status,
        code: None,
        retry_after: response.retry_after(),
        description: response.description(&[]),
    }))
}

fn endpoints(
    server: &AuthorizationServer,
    issuer: &str,
    metadata: Metadata,
) -> Result<Endpoints, Kind> {
    // RFC 8414, section 3.3. Otherwise, one issuer could send clients and their secrets to another.
    if metadata.issuer != issuer {
        return Err(Kind::Metadata(format!(
            "issuer does not match: {}",
            redact(metadata.issuer.as_bytes(), &[])
        )));
    }
    let Some(endpoint) = metadata.token_endpoint else {
        return Err(Kind::Metadata("token_endpoint is missing".to_owned()));
    };
    let (url, endpoint) = validate_url(&endpoint, server.plaintext)
        .map_err(|reason| Kind::Metadata(format!("token_endpoint {reason}")))?;
    // A remote issuer must not name a service on the client's loopback.
    if url.scheme() == "http" && !issuer.starts_with("http:") && !server.plaintext {
        return Err(Kind::Metadata(
            "token_endpoint is plain http, but the issuer is not".to_owned(),
        ));
    }
    Ok(Endpoints { endpoint, audience: metadata.issuer })
}
