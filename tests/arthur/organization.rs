//! The services that send a token, each against a real server.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use crate::support::*;
use http::{Method, Response};
use serde_json::json;
use tower::ServiceExt;
use tower_auth_refresh::{
    AccessToken,
    arthur::{
        ArthurError, AuthenticationInfo, GetArthurInternalUserOrg, GetAuthInfo, GetCurrentOrg,
    },
};

const TOKEN: &str = "h3ad.cla1ms.s1gnature";

fn token() -> AccessToken {
    AccessToken::raw(TOKEN).unwrap()
}

/// A server that returns these responses, by path.
async fn server(me: (u16, &'static str), info: (u16, &'static str)) -> Script {
    Script::start(move |seen| match seen.path.as_str() {
        "/api/v3/users/me" => status(me.0, me.1),
        "/api/v3/users/me/auth_info" => status(info.0, info.1),
        _ => status(404, ""),
    })
    .await
}

async fn auth_info(body: &'static str) -> Result<AuthenticationInfo, ArthurError> {
    let server = server((500, ""), (200, body)).await;
    GetAuthInfo::new(api(&server.url())).oneshot(token()).await
}

async fn internal_org(status: u16, body: &'static str) -> Result<String, ArthurError> {
    let server = server((status, body), (500, "")).await;
    GetArthurInternalUserOrg::new(api(&server.url())).oneshot(token()).await
}

async fn current_org(
    me: (u16, &'static str),
    info: (u16, &'static str),
) -> Result<Option<String>, ArthurError> {
    let server = server(me, info).await;
    GetCurrentOrg::new(api(&server.url())).oneshot(token()).await
}

#[tokio::test]
async fn token_is_sent_without_scheme() {
    let server = server((200, r#"{"organization_id":"o"}"#), (500, "")).await;
    let org = GetArthurInternalUserOrg::new(api(&server.url())).oneshot(token()).await;
    assert_eq!(org.unwrap(), "o");
    let seen = server.seen();
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].method, Method::GET);
    assert_eq!(seen[0].path, "/api/v3/users/me");
    assert_eq!(seen[0].headers["authorization"], TOKEN);
    assert!(seen[0].body.is_empty());
}

#[test]
fn netrc_and_proxy_variables_are_not_read() {
    let home = env!("CARGO_TARGET_TMPDIR");
    let netrc = format!("{home}/.netrc");
    std::fs::write(&netrc, "default login netrc password netrc\n").unwrap();
    // No server listens on port 1.
    let proxy = "http://127.0.0.1:1";
    let variables = [
        ("HOME", home),
        ("NETRC", &netrc),
        ("http_proxy", proxy),
        ("HTTP_PROXY", proxy),
        ("https_proxy", proxy),
        ("HTTPS_PROXY", proxy),
        ("all_proxy", proxy),
        ("ALL_PROXY", proxy),
        ("no_proxy", ""),
    ];
    passes_with(&variables, "organization::token_is_sent_without_scheme");
}

#[tokio::test]
async fn auth_info_accepts_null_absent_and_unknown_fields() {
    let info = auth_info(
        r#"{"organization_ids":["a","b"],"issuer":"i","external_user_id":null,"internal_user_id":"7",
            "username":"jo","first_name":"Jo","last_name":"X","email":"jo@x","roles":[],"new":[1]}"#,
    )
    .await
    .unwrap();
    assert_eq!(info.organization_ids, ["a", "b"]);
    assert_eq!(info.external_user_id, None);
    assert_eq!(info.internal_user_id.as_deref(), Some("7"));
    assert_eq!(info.service_account_id, None);
    assert_eq!(info.first_name, "Jo");
}

#[tokio::test]
async fn service_token_has_organization_and_roles_only() {
    let body =
        r#"{"organization_id":"o","roles":["Service"],"contexts":[{"name":"n"},{"id":null}]}"#;
    assert_eq!(internal_org(200, body).await.unwrap(), "o");
    let body = r#"{"id":null,"organization_id":"o","contexts":null}"#;
    assert_eq!(internal_org(200, body).await.unwrap(), "o");
}

#[tokio::test]
async fn unexpected_json_is_an_error_that_does_not_quote_it() {
    for body in ["", "<html>", "[]", "{}", r#"{"organization_id":"#, r#"{"organization_id":7}"#] {
        let error = internal_org(200, body).await.unwrap_err();
        assert!(error.to_string().contains("not the expected JSON"), "{error}");
        assert_eq!(error.status(), None);
    }
    let error = auth_info(r#"{"organization_ids":"h3ad.cla1ms.s1gnature"}"#).await.unwrap_err();
    assert_hidden(&error, TOKEN);
    assert!(error.to_string().contains("line 1"), "{error}");
}

#[tokio::test]
async fn a_401_or_403_is_a_status_and_not_wrong_credentials() {
    for code in [401, 403, 404, 500] {
        let error = internal_org(code, "no").await.unwrap_err();
        assert_eq!(error.status().unwrap(), code);
        assert!(!error.is_wrong_credentials());
    }
}

#[tokio::test]
async fn token_repeated_by_server_is_redacted() {
    let server = Script::start(|seen| {
        let token = seen.headers["authorization"].to_str().unwrap();
        let mut response = Response::new(full(json!({"bad": token, "worse": [token]}).to_string()));
        *response.status_mut() = 400.try_into().unwrap();
        response
    })
    .await;
    let error = GetAuthInfo::new(api(&server.url())).oneshot(token()).await.unwrap_err();
    assert!(error.to_string().contains("[redacted]"), "{error}");
    assert_hidden(&error, TOKEN);
    assert_hidden(&error, "s1gnature");
}

#[tokio::test]
async fn current_org_is_that_of_the_internal_user() {
    let org = current_org((200, r#"{"organization_id":"o"}"#), (500, "")).await;
    assert_eq!(org.unwrap().as_deref(), Some("o"));
}

/// The response of `auth_info` with these organizations.
macro_rules! info {
    ($ids:literal) => {
        (
            200,
            concat!(
                r#"{"organization_ids":"#,
                $ids,
                r#","issuer":"","username":"","first_name":"","last_name":"","email":"","roles":[]}"#
            ),
        )
    };
}

#[tokio::test]
async fn on_403_the_current_org_is_the_only_one_of_auth_info() {
    let org = current_org((403, ""), info!(r#"["x"]"#)).await;
    assert_eq!(org.unwrap().as_deref(), Some("x"));
}

#[tokio::test]
async fn on_403_and_without_organizations_there_is_no_current_org() {
    assert_eq!(current_org((403, ""), info!("[]")).await.unwrap(), None);
}

#[tokio::test]
async fn on_403_and_with_several_organizations_the_error_lists_them() {
    let error = current_org((403, ""), info!(r#"["x","y\n"]"#)).await.unwrap_err();
    assert_eq!(error.organizations(), ["x", "y\n"]);
    assert!(error.to_string().ends_with(r"x, y\n"), "{error}");
}

#[tokio::test]
async fn error_bounds_and_redacts_organizations() {
    let info = || {
        let mut ids = vec![TOKEN.to_owned()];
        ids.extend((0..1000).map(|id| id.to_string()));
        let info = json!({
            "organization_ids": ids, "issuer": "", "username": "", "first_name": "", "last_name": "",
            "email": "", "roles": [],
        });
        Response::new(full(info.to_string()))
    };
    let server = Script::start(move |seen| match seen.path.as_str() {
        "/api/v3/users/me" => status(403, ""),
        _ => info(),
    })
    .await;
    let error = GetCurrentOrg::new(api(&server.url())).oneshot(token()).await.unwrap_err();
    assert_eq!(error.organizations().len(), 1001);
    assert_hidden(&error, TOKEN);
    assert!(error.to_string().ends_with("18, …"), "{error}");
}

#[tokio::test]
async fn other_error_causes_no_second_request() {
    for code in [401, 404, 500] {
        let server = server((code, ""), info!(r#"["x"]"#)).await;
        let error = GetCurrentOrg::new(api(&server.url())).oneshot(token()).await.unwrap_err();
        assert_eq!(error.status().unwrap(), code);
        assert_eq!(server.seen().len(), 1);
    }
    let error = current_org((403, ""), (403, "")).await.unwrap_err();
    assert_eq!(error.status().unwrap(), 403);
    assert!(error.to_string().contains("auth_info"), "{error}");
}
