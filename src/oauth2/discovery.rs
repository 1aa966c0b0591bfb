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
use crate::exchange::{AGENT, Exchange, HttpService, JSON, date, excerpt, retry_after};

/// Where to ask, and whom assertions are for.
#[derive(Clone)]
pub(super) struct Found {
    pub(super) endpoint: Uri,
    pub(super) audience: String,
}

#[derive(Deserialize)]
struct Metadata {
    issuer: String,
    token_endpoint: Option<String>,
}

pub(super) async fn find<S: HttpService>(
    server: &AuthorizationServer,
    exchange: Exchange<S>,
) -> Result<Found, OAuth2Error> {
    let issuer = match &server.place {
        Place::TokenEndpoint(endpoint) => {
            return Ok(Found { endpoint: endpoint.clone(), audience: endpoint.to_string() });
        }
        Place::Issuer(issuer) => issuer,
    };
    let mut refused = OAuth2Error::new(issuer, Kind::Metadata("there is none".to_owned()));
    for url in metadata_urls(issuer) {
        let failed = |kind| OAuth2Error::new(format!("GET {url}"), kind);
        let request = Request::get(&url).header(ACCEPT, JSON).header(USER_AGENT, AGENT).body(Full::default());
        let received = exchange.clone().send(request, &[]).await.map_err(|broken| failed(Kind::Broken(broken)))?;
        let (status, headers) = (received.head.status, received.head.headers);
        if status.is_redirection() {
            return Err(failed(Kind::Redirect(status)));
        }
        if !status.is_success() {
            let now = date(&headers).unwrap_or(received.now);
            let said = excerpt(&received.body.unwrap_or_default(), &[]);
            refused =
                failed(Kind::Refused(Refusal { status, code: None, said, retry_after: retry_after(&headers, now) }));
            // Only that it is not there, however that is said, makes the other place worth a look.
            if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
                return Err(refused);
            }
            continue;
        }
        let body = received.body.map_err(|broken| failed(Kind::Broken(broken)))?;
        return read(server, issuer, &body).map_err(|why| failed(Kind::Metadata(why)));
    }
    Err(refused)
}

fn read(server: &AuthorizationServer, issuer: &str, body: &[u8]) -> Result<Found, String> {
    let metadata: Metadata = serde_json::from_slice(body)
        .map_err(|error| format!("this is not the JSON expected (line {}, column {})", error.line(), error.column()))?;
    // RFC 8414, section 3.3: else one issuer could send clients, and their secrets, to another.
    if metadata.issuer != issuer {
        let said = excerpt(metadata.issuer.as_bytes(), &[]);
        return Err(format!("they are of another issuer: {said}"));
    }
    let endpoint = metadata.token_endpoint.ok_or("there is no token_endpoint")?;
    let (_, endpoint) = check(&endpoint, server.plain_text).map_err(|why| format!("the token endpoint: {why}"))?;
    Ok(Found { endpoint, audience: metadata.issuer })
}
