//! A browser that is redirected to the listener.

use std::{collections::BTreeMap, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tower_auth_refresh::oauth2::{AuthorizationServer, native_app::AuthorizationRequest};
use url::Url;

use crate::support::ENDPOINT;

/// Only against a test that hangs.
pub(crate) const GUARD: Duration = Duration::from_secs(60);

/// A server with a query in its endpoint.
pub(crate) fn authorize_server() -> AuthorizationServer {
    let server = AuthorizationServer::token_endpoint(ENDPOINT).unwrap();
    server.authorization_endpoint("https://as.example/authorize?response_mode=query").unwrap()
}

pub(crate) struct Page {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

/// Returns the parameters of a URL.
pub(crate) fn parameters(url: &str) -> BTreeMap<String, Vec<String>> {
    let mut parameters = BTreeMap::<String, Vec<String>>::new();
    for (name, value) in Url::parse(url).unwrap().query_pairs() {
        parameters.entry(name.into_owned()).or_default().push(value.into_owned());
    }
    parameters
}

/// Returns the redirect URI with this query. `STATE` stands for the state of the login.
pub(crate) fn redirect_with<S>(request: &AuthorizationRequest<S>, query: &str) -> String {
    let state = &parameters(request.url())["state"][0];
    format!("{}?{}", request.redirect_uri(), query.replace("STATE", state))
}

pub(crate) async fn connect(url: &str) -> TcpStream {
    TcpStream::connect(("127.0.0.1", Url::parse(url).unwrap().port().unwrap())).await.unwrap()
}

/// Returns the head of a request.
pub(crate) fn head(method: &str, url: &str) -> String {
    let url = Url::parse(url).unwrap();
    let query = url.query().map(|query| format!("?{query}")).unwrap_or_default();
    format!("{method} {}{query} HTTP/1.1\r\nhost: {}\r\n\r\n", url.path(), url.authority())
}

pub(crate) async fn get(url: &str) -> Page {
    send(url, &head("GET", url)).await
}

pub(crate) async fn send(url: &str, request: &str) -> Page {
    let mut stream = connect(url).await;
    stream.write_all(request.as_bytes()).await.unwrap();
    read_page(stream).await
}

/// Reads a response to its end.
pub(crate) async fn read_page(mut stream: TcpStream) -> Page {
    let mut response = String::new();
    let read = timeout(GUARD, stream.read_to_string(&mut response)).await;
    read.expect("the response ends").unwrap();
    let (head, body) = response.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{response}"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Page { status, head: head.to_ascii_lowercase(), body: body.to_owned() }
}
