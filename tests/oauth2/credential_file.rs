//! A client assertion in a file, as workload identities have it.

use std::{fs, path::PathBuf, time::Duration};

use tokio::time::sleep;
use tower_auth_refresh::{
    AuthRefresher,
    oauth2::{ClientAuthentication, Grant, OAuth2Login},
    sources::FileToken,
    test_util::TestClock,
};

use crate::support::{
    GRANTED, MockResponse, MockServer, RecordedRequest, authorization_server, response,
};

fn file(name: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
        .join(format!("credential-{name}-{}", std::process::id()));
    fs::write(&path, "first").unwrap();
    path
}

fn refresher(
    server: &MockServer,
    file: &PathBuf,
    respond: fn(&RecordedRequest) -> MockResponse,
) -> AuthRefresher {
    let client = ClientAuthentication::client_assertion("orders", FileToken::new(file));
    let login = OAuth2Login::new(
        server.service(respond),
        authorization_server(),
        client,
        Grant::client_credentials(),
    );
    AuthRefresher::builder(login).clock(TestClock::default()).build().unwrap()
}

#[tokio::test(start_paused = true)]
async fn replaced_credential_is_sent_within_ten_seconds() {
    let (server, path) = (MockServer::default(), file("replaced"));
    let refresher = refresher(&server, &path, |_| response(200, GRANTED));
    refresher.ready().await.unwrap();
    assert_eq!(server.last_request().parameter("client_assertion"), "first");
    fs::write(&path, "second").unwrap();
    sleep(Duration::from_secs(11)).await;
    assert_eq!(server.last_request().parameter("client_assertion"), "second");
    assert_eq!(server.requests().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn unchanged_credential_does_not_shorten_the_pauses_of_a_failing_login() {
    let (server, path) = (MockServer::default(), file("unchanged"));
    let refresher = refresher(&server, &path, |_| {
        let mut response = response(503, "");
        response.headers_mut().insert("retry-after", "3600".parse().unwrap());
        response
    });
    refresher.token().await.unwrap_err();
    // The longest pause that a server can request.
    sleep(Duration::from_secs(299)).await;
    assert_eq!(server.requests().len(), 1);
}
