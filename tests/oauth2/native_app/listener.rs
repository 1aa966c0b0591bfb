//! What the listener for the redirect receives apart from the redirect.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, timeout},
};
use tower_auth_refresh::{
    oauth2::native_app::{AuthorizationRequest, Tokens},
    transport::HttpService,
};

use super::{
    authorization_code::{granting_server, login},
    browser::{GUARD, Page, connect, get, head, parameters, read_page, redirect_with, send},
};
use crate::support::MockServer;

/// A login that waits in a task, and the redirect that it waits for.
struct Waiting {
    login: tokio::task::JoinHandle<Tokens>,
    server: MockServer,
    url: String,
    redirect: String,
}

impl Waiting {
    async fn start() -> Self {
        let server = MockServer::default();
        let request = login(granting_server(&server)).start().await.unwrap();
        let (url, redirect) =
            (request.url().to_owned(), redirect_with(&request, "code=c0de&state=STATE"));
        let login = tokio::spawn(async { request.wait().await.unwrap() });
        Self { login, server, url, redirect }
    }

    fn state(&self) -> String {
        parameters(&self.url)["state"][0].clone()
    }

    /// Sends a request that is not the redirect.
    async fn ignores(&self, request: &str) -> Page {
        let page = send(&self.redirect, request).await;
        assert!(!self.login.is_finished() && self.server.requests().is_empty(), "{request}");
        page
    }

    async fn complete(self) -> Tokens {
        let page = get(&self.redirect).await;
        assert_eq!(page.status, 200);
        self.completed().await
    }

    async fn completed(self) -> Tokens {
        let tokens = timeout(GUARD, self.login).await.expect("the login ends").unwrap();
        assert_eq!(self.server.requests().len(), 1, "one token request");
        assert_eq!(self.server.last_request().parameter("code"), "c0de");
        tokens
    }
}

fn is_open<S: HttpService>(
    request: &AuthorizationRequest<S>,
) -> impl Future<Output = bool> + use<S> {
    let port = url::Url::parse(request.redirect_uri()).unwrap().port().unwrap();
    async move { TcpStream::connect(("127.0.0.1", port)).await.is_ok() }
}

#[tokio::test]
async fn redirect_with_another_state_is_ignored() {
    let waiting = Waiting::start().await;
    let state = waiting.state();
    let other = parameters(&Waiting::start().await.url)["state"][0].clone();
    for query in [
        "code=evil".to_owned(),
        "code=evil&state=".to_owned(),
        format!("code=evil&state={other}"),
        format!("code=evil&state={}", &state[..42]),
        format!("code=evil&state={state}x"),
        format!("code=evil&state={state}&state={state}"),
        format!("code=evil&state={other}&state={state}"),
        "error=access_denied&state=wrong".to_owned(),
    ] {
        let page =
            waiting.ignores(&format!("GET /callback?{query} HTTP/1.1\r\nhost: x\r\n\r\n")).await;
        assert_eq!(page.status, 400, "{query}");
        assert!(page.body.contains("The application is still waiting."), "{}", page.body);
    }
    waiting.complete().await;
}

#[tokio::test]
async fn other_paths_are_ignored() {
    let waiting = Waiting::start().await;
    let state = waiting.state();
    for target in [
        "/favicon.ico".to_owned(),
        "/".to_owned(),
        format!("/callback/?code=evil&state={state}"),
        format!("/other?code=evil&state={state}"),
        format!("/callback%2f?code=evil&state={state}"),
    ] {
        let page = waiting.ignores(&format!("GET {target} HTTP/1.1\r\nhost: x\r\n\r\n")).await;
        assert_eq!(page.status, 404, "{target}");
    }
    waiting.complete().await;
}

#[tokio::test]
async fn only_get_is_a_redirect() {
    let waiting = Waiting::start().await;
    for method in ["HEAD", "POST", "PUT", "OPTIONS", "DELETE"] {
        let page = waiting.ignores(&head(method, &waiting.redirect)).await;
        assert_eq!(page.status, 405, "{method}");
        assert!(page.head.contains("allow: get"), "{method}");
        let is_shown = page.body.contains("The application is still waiting.");
        assert_eq!(is_shown, method != "HEAD", "{method}: {}", page.body);
    }
    waiting.complete().await;
}

#[tokio::test]
async fn body_is_not_read() {
    let waiting = Waiting::start().await;
    let request = head("POST", &waiting.redirect);
    let request = request.replace("\r\n\r\n", "\r\ncontent-length: 1000000000000\r\n\r\ncode=evil");
    assert_eq!(waiting.ignores(&request).await.status, 405);
    waiting.complete().await;
}

#[tokio::test]
async fn what_is_not_http_is_ignored() {
    let waiting = Waiting::start().await;
    let page = waiting.ignores("\u{16}\u{3}\u{1} not http\r\n\r\n").await;
    assert_eq!(page.status, 400);
    waiting.complete().await;
}

#[tokio::test]
async fn head_that_is_too_large_is_ignored() {
    let waiting = Waiting::start().await;
    let mut stream = connect(&waiting.redirect).await;
    let cookie = format!("\r\ncookie: {}\r\n\r\n", "a".repeat(1 << 20));
    let head = head("GET", &waiting.redirect).replace("\r\n\r\n", &cookie);
    // The listener closes the connection before it has read all.
    let (mut read, mut write) = stream.split();
    let mut status = [0; 12];
    let (received, _) =
        tokio::join!(read.read_exact(&mut status), write.write_all(head.as_bytes()));
    received.unwrap();
    assert_eq!(&status, b"HTTP/1.1 431");
    assert!(!waiting.login.is_finished() && waiting.server.requests().is_empty());
    waiting.complete().await;
}

#[tokio::test]
async fn large_cookies_of_other_servers_do_not_matter() {
    let waiting = Waiting::start().await;
    let cookie = format!("\r\ncookie: {}\r\n\r\n", "a".repeat(32 << 10));
    let request = head("GET", &waiting.redirect).replace("\r\n\r\n", &cookie);
    assert_eq!(send(&waiting.redirect, &request).await.status, 200);
    waiting.completed().await;
}

#[tokio::test]
async fn redirect_in_pieces_is_accepted() {
    let waiting = Waiting::start().await;
    let mut stream = connect(&waiting.redirect).await;
    stream.set_nodelay(true).unwrap();
    for byte in head("GET", &waiting.redirect).bytes() {
        stream.write_all(&[byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    assert_eq!(read_page(stream).await.status, 200);
    waiting.completed().await;
}

#[tokio::test]
async fn connections_that_send_nothing_do_not_block_the_redirect() {
    let waiting = Waiting::start().await;
    let mut silent = Vec::new();
    for _ in 0..8 {
        silent.push(connect(&waiting.redirect).await);
    }
    let mut half = connect(&waiting.redirect).await;
    half.write_all(b"GET /callb").await.unwrap();
    drop(connect(&waiting.redirect).await);
    waiting.complete().await;
}

#[tokio::test(start_paused = true)]
async fn connections_up_to_the_limit_do_not_delay_the_redirect() {
    let waiting = Waiting::start().await;
    let mut silent = Vec::new();
    for _ in 0..100 {
        silent.push(connect(&waiting.redirect).await);
    }
    let before = Instant::now();
    waiting.complete().await;
    assert!(before.elapsed() < Duration::from_secs(10), "their timeout");
}

#[tokio::test]
async fn oldest_connection_is_closed_at_the_limit() {
    let waiting = Waiting::start().await;
    let mut silent = Vec::new();
    for _ in 0..31 {
        silent.push(connect(&waiting.redirect).await);
    }
    // The listener has accepted all when it responds to the last one.
    let ignored = "GET /favicon.ico HTTP/1.1\r\nhost: x\r\n\r\n";
    assert_eq!(waiting.ignores(ignored).await.status, 404);
    let mut oldest = silent.remove(0);
    assert_eq!(timeout(GUARD, oldest.read(&mut [0])).await.unwrap().unwrap_or(0), 0);
    // The next one is still served.
    let mut next = silent.remove(0);
    next.write_all(head("GET", &waiting.redirect).as_bytes()).await.unwrap();
    assert_eq!(read_page(next).await.status, 200);
    waiting.completed().await;
}

#[tokio::test]
async fn second_redirect_is_ignored() {
    let waiting = Waiting::start().await;
    let (one, other) = tokio::join!(connect(&waiting.redirect), connect(&waiting.redirect));
    let request = head("GET", &waiting.redirect);
    for mut stream in [one, other] {
        // The listener may be closed by now.
        let _ = stream.write_all(request.as_bytes()).await;
    }
    waiting.completed().await;
}

#[tokio::test]
async fn redirect_of_a_browser_that_does_not_read_the_page_counts() {
    let waiting = Waiting::start().await;
    let mut stream = connect(&waiting.redirect).await;
    stream.write_all(head("GET", &waiting.redirect).as_bytes()).await.unwrap();
    drop(stream);
    waiting.completed().await;
}

#[tokio::test]
async fn page_contains_no_secret_and_is_not_stored() {
    let waiting = Waiting::start().await;
    let page = get(&waiting.redirect).await;
    assert!(page.body.contains("return to the application"), "{}", page.body);
    assert!(!page.body.contains("c0de") && !page.body.contains(&waiting.state()));
    for header in [
        "cache-control: no-store",
        "referrer-policy: no-referrer",
        "content-security-policy: default-src 'none'",
        "content-type: text/html; charset=utf-8",
        "connection: close",
    ] {
        assert!(page.head.contains(header), "{header}: {}", page.head);
    }
    waiting.completed().await;
}

#[tokio::test]
async fn pages_do_not_repeat_what_was_sent() {
    let waiting = Waiting::start().await;
    let request = "GET /callback?state=%3Cscript%3E&error=<script> HTTP/1.1\r\nhost: x\r\n\r\n";
    assert!(!waiting.ignores(request).await.body.contains("script"));
    waiting.complete().await;
}

#[tokio::test]
async fn dropped_login_closes_the_listener() {
    let login = login(granting_server(&MockServer::default()));
    let request = login.clone().start().await.unwrap();
    assert!(is_open(&request).await);
    let open = is_open(&request);
    drop(request);
    assert!(!open.await, "dropped before the wait");

    let request = login.start().await.unwrap();
    let open = is_open(&request);
    let waiting = tokio::spawn(request.wait());
    tokio::task::yield_now().await;
    waiting.abort();
    assert!(waiting.await.unwrap_err().is_cancelled());
    assert!(!open.await, "dropped during the wait");
}

#[tokio::test]
async fn listener_is_closed_before_the_token_request() {
    let (sent, mut received) = tokio::sync::mpsc::channel(1);
    let http = tower::service_fn(move |_: http::Request<http_body_util::Full<bytes::Bytes>>| {
        let sent = sent.clone();
        async move {
            sent.send(()).await.unwrap();
            std::future::pending::<Result<http::Response<String>, tower::BoxError>>().await
        }
    });
    let request = login(http).start().await.unwrap();
    let (redirect, open) = (redirect_with(&request, "code=c0de&state=STATE"), is_open(&request));
    let waiting = tokio::spawn(request.wait());
    assert_eq!(get(&redirect).await.status, 200);
    received.recv().await.unwrap();
    assert!(!open.await);
    waiting.abort();
}
