//! Where the token endpoint is, as the issuer's metadata says.

use http::{
    Request, StatusCode, Uri,
    header::{ACCEPT, USER_AGENT},
};
use http_body_util::Full;
use serde::Deserialize;

use super::{
    AuthorizationServer, OAuth2Error,
    error::{Kind, Refusal},
    server::{Place, check, metadata_urls},
};
use crate::{
    exchange::{AGENT, Exchange, HttpService, JSON, date, excerpt, retry_after},
    json::describe_position,
};

/// Where to ask, and whom assertions are for.
#[derive(Clone)]
pub(super) struct Found {
    pub(super) endpoint: Uri,
    pub(super) audience: String,
}

/// What is known of where to ask.
#[derive(Default)]
pub(super) struct Discovery {
    found: Option<Found>,
    /// Whether to look again.
    pub(super) doubtful: bool,
}

impl Discovery {
    /// Where to ask. What was found once is better than nothing.
    pub(super) async fn find<S: HttpService>(
        &mut self,
        server: &AuthorizationServer,
        exchange: Exchange<S>,
    ) -> Result<Found, OAuth2Error> {
        if let Some(found) = self.found.as_ref().filter(|_| !self.doubtful) {
            return Ok(found.clone());
        }
        match (discover(server, exchange).await, &self.found) {
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

async fn discover<S: HttpService>(server: &AuthorizationServer, exchange: Exchange<S>) -> Result<Found, OAuth2Error> {
    let issuer = match &server.place {
        Place::TokenEndpoint(endpoint) => {
            return Ok(Found { endpoint: endpoint.clone(), audience: endpoint.to_string() });
        }
        Place::Issuer(issuer) => issuer,
    };
    let mut last = OAuth2Error::new(issuer, Kind::Metadata("there is none".to_owned()));
    for url in metadata_urls(issuer) {
        let failed = |kind| OAuth2Error::new(format!("GET {url}"), kind);
        let request = Request::get(&url).header(ACCEPT, JSON).header(USER_AGENT, AGENT).body(Full::default());
        let received = exchange.clone().send(request, &[]).await.map_err(|broken| failed(Kind::Broken(broken)))?;
        let (status, headers) = (received.head.status, received.head.headers);
        // Whatever is there that is no metadata, a page or a redirect to one, there may be some in the other place.
        if status.is_success() {
            let body = received.body.map_err(|broken| failed(Kind::Broken(broken)))?;
            match serde_json::from_slice(&body) {
                Ok(metadata) => return read(server, issuer, metadata).map_err(|why| failed(Kind::Metadata(why))),
                Err(error) => last = failed(Kind::Metadata(describe_position(&error))),
            }
        } else if status.is_redirection() {
            last = failed(Kind::Redirect(status));
        } else {
            let now = date(&headers).unwrap_or(received.now);
            let said = excerpt(&received.body.unwrap_or_default(), &[]);
            last = failed(Kind::Refused(Refusal { status, code: None, said, retry_after: retry_after(&headers, now) }));
            // Not now, rather than not here.
            if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
                return Err(last);
            }
        }
    }
    Err(last)
}

fn read(server: &AuthorizationServer, issuer: &str, metadata: Metadata) -> Result<Found, String> {
    // RFC 8414, section 3.3: else one issuer could send clients, and their secrets, to another.
    if metadata.issuer != issuer {
        let said = excerpt(metadata.issuer.as_bytes(), &[]);
        return Err(format!("they are of another issuer: {said}"));
    }
    let endpoint = metadata.token_endpoint.ok_or("there is no token_endpoint")?;
    let (url, endpoint) = check(&endpoint, server.plain_text).map_err(|why| format!("the token endpoint: {why}"))?;
    // An issuer somewhere else has no business on the loopback.
    if url.scheme() == "http" && !issuer.starts_with("http:") && !server.plain_text {
        return Err("the token endpoint is plain http, and the issuer is not".to_owned());
    }
    Ok(Found { endpoint, audience: metadata.issuer })
}
