//! Where the token endpoint is, as the issuer's metadata says.

use http::{
    Request, StatusCode, Uri,
    header::{ACCEPT, USER_AGENT},
};
use http_body_util::Full;
use serde::Deserialize;

use super::{
    AuthorizationServer, OAuth2Error,
    error::{ErrorResponse, Kind},
    server::{Source, check, metadata_urls},
};
use crate::{
    json::position,
    transport::{HttpService, JSON, Transport, USER_AGENT_VALUE, date, redact, retry_after},
};

/// Where to ask, and whom assertions are for.
#[derive(Clone)]
pub(super) struct Endpoints {
    pub(super) endpoint: Uri,
    pub(super) audience: String,
}

/// What is known of where to ask.
#[derive(Default)]
pub(super) struct Discovery {
    found: Option<Endpoints>,
    /// Whether to look again.
    pub(super) stale: bool,
}

impl Discovery {
    /// Where to ask. What was found once is better than nothing.
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
    let mut last = OAuth2Error::new(issuer, Kind::Metadata("there is none".to_owned()));
    for url in metadata_urls(issuer) {
        let failed = |kind| OAuth2Error::new(format!("GET {url}"), kind);
        let request =
            Request::get(&url).header(ACCEPT, JSON).header(USER_AGENT, USER_AGENT_VALUE).body(Full::default());
        let received = match transport.clone().send(request, &[]).await {
            Ok(received) => received,
            Err(redirect) if redirect.is_redirect() => {
                last = failed(Kind::Transport(redirect));
                continue;
            }
            Err(error) => return Err(failed(Kind::Transport(error))),
        };
        let (status, headers) = (received.head.status, received.head.headers);
        // Whatever is there that is no metadata, a page or a redirect to one, there may be some in the other place.
        if status.is_success() {
            let body = received.body.map_err(|broken| failed(Kind::Transport(broken)))?;
            match serde_json::from_slice(&body) {
                Ok(metadata) => return read(server, issuer, metadata).map_err(|why| failed(Kind::Metadata(why))),
                Err(error) => last = failed(Kind::Metadata(position(&error))),
            }
        } else {
            let now = date(&headers).unwrap_or(received.now);
            let description = redact(&received.body.unwrap_or_default(), &[]);
            last = failed(Kind::ErrorResponse(ErrorResponse {
                status,
                code: None,
                description,
                retry_after: retry_after(&headers, now),
            }));
            // Not now, rather than not here.
            if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
                return Err(last);
            }
        }
    }
    Err(last)
}

fn read(server: &AuthorizationServer, issuer: &str, metadata: Metadata) -> Result<Endpoints, String> {
    // RFC 8414, section 3.3: else one issuer could send clients, and their secrets, to another.
    if metadata.issuer != issuer {
        let description = redact(metadata.issuer.as_bytes(), &[]);
        return Err(format!("they are of another issuer: {description}"));
    }
    let endpoint = metadata.token_endpoint.ok_or("there is no token_endpoint")?;
    let (url, endpoint) = check(&endpoint, server.plain_text).map_err(|why| format!("the token endpoint: {why}"))?;
    // An issuer somewhere else has no business on the loopback.
    if url.scheme() == "http" && !issuer.starts_with("http:") && !server.plain_text {
        return Err("the token endpoint is plain http, and the issuer is not".to_owned());
    }
    Ok(Endpoints { endpoint, audience: metadata.issuer })
}
