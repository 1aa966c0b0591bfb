//! [`Discovery`]: the token endpoint that the issuer's metadata names. [`discover`] reads the metadata.

use bytes::Bytes;
use http::{Request, Uri};
use http_body_util::Full;
use serde::{Deserialize, de::DeserializeOwned};

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
        match (token_endpoint(server, transport).await, &self.found) {
            (Ok(found), _) => Ok(self.found.insert(found).clone()),
            (Err(_), Some(found)) => Ok(found.clone()),
            (Err(error), None) => Err(error),
        }
    }
}

#[derive(Deserialize)]
struct Issuer {
    issuer: String,
}

#[derive(Deserialize)]
struct Metadata {
    token_endpoint: Option<String>,
}

async fn token_endpoint<S: HttpService>(
    server: &AuthorizationServer,
    transport: Transport<S>,
) -> Result<Endpoints, OAuth2Error> {
    match &server.source {
        Source::TokenEndpoint(endpoint) => {
            Ok(Endpoints { endpoint: endpoint.clone(), audience: endpoint.to_string() })
        }
        Source::Issuer(issuer) => {
            let read = |metadata: Metadata| {
                let endpoint = endpoint(server, issuer, "token_endpoint", metadata.token_endpoint)?;
                Ok(Endpoints { endpoint, audience: issuer.clone() })
            };
            discover(issuer, transport, read).await
        }
    }
}

/// Reads an issuer's metadata from the first place where `read` accepts it.
///
/// Tries both places, because any failure of the first can be its own: another issuer's document, a proxy's page, an
/// unrelated service.
pub(super) async fn discover<S: HttpService, M: DeserializeOwned, T>(
    issuer: &str,
    transport: Transport<S>,
    read: impl Fn(M) -> Result<T, Kind>,
) -> Result<T, OAuth2Error> {
    let mut failures = Vec::new();
    for url in metadata_urls(issuer) {
        let metadata = fetch(&url, transport.clone()).await;
        match metadata.and_then(|metadata| parse(issuer, &metadata)).and_then(&read) {
            Ok(found) => return Ok(found),
            Err(kind) => failures.push(Failure { endpoint: format!("GET {url}"), kind }),
        }
    }
    Err(OAuth2Error::new(issuer, Kind::Discovery(failures)))
}

async fn fetch<S: HttpService>(url: &str, transport: Transport<S>) -> Result<Bytes, Kind> {
    let request = Request::get(url).body(Full::default());
    let response = transport.send(request, &[]).await.map_err(Kind::Transport)?;
    let status = response.head.status;
    if status.is_success() {
        return response.body.map_err(Kind::Transport);
    }
    Err(Kind::ErrorResponse(ErrorResponse {
        status,
        code: None,
        retry_after: response.retry_after(),
        description: response.description(&[]),
    }))
}

fn parse<M: DeserializeOwned>(issuer: &str, metadata: &[u8]) -> Result<M, Kind> {
    let invalid = |error| Kind::Metadata(describe_position(&error));
    let named: Issuer = serde_json::from_slice(metadata).map_err(invalid)?;
    // RFC 8414, section 3.3. Otherwise, one issuer could send clients and their secrets to another.
    if named.issuer != issuer {
        return Err(Kind::Metadata(format!(
            "issuer does not match: {}",
            redact(named.issuer.as_bytes(), &[])
        )));
    }
    serde_json::from_slice(metadata).map_err(invalid)
}

/// Checks an endpoint that the metadata names.
pub(super) fn endpoint(
    server: &AuthorizationServer,
    issuer: &str,
    name: &str,
    url: Option<String>,
) -> Result<Uri, Kind> {
    let Some(url) = url else { return Err(Kind::Metadata(format!("{name} is missing"))) };
    let (url, uri) = validate_url(&url, server.plaintext)
        .map_err(|reason| Kind::Metadata(format!("{name} {reason}")))?;
    // A remote issuer must not name a service on the client's loopback.
    if url.scheme() == "http" && !issuer.starts_with("http:") && !server.plaintext {
        return Err(Kind::Metadata(format!("{name} is plain http, but the issuer is not")));
    }
    Ok(uri)
}
