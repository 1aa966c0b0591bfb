//! `CommandFormat`: how the token is read from what a command prints.

use std::{future::ready, time::SystemTime};

use tokio::time::{pause, resume, sleep};
use tower::service_fn;
use tower_auth_refresh::{
    AccessToken, AuthRefresher, Expiry, LoginError,
    sources::{CommandFormat, CommandToken},
    test_util::TestClock,
};

use crate::{
    command::shell,
    support::{assert_fails, jwt, log_in, secs},
};

const NEW_YEAR: u64 = 1_800_000_000;

fn at(seconds: u64) -> Expiry {
    Expiry::At(SystemTime::UNIX_EPOCH + secs(seconds))
}

/// Lets a command print a text.
async fn print(text: &str, format: CommandFormat) -> Result<AccessToken, LoginError> {
    log_in(CommandToken::new("printf").args(["%s", text]).format(format)).await
}

#[tokio::test]
async fn json_of_known_helpers_is_read() {
    for (output, expiry) in [
        // OAuth 2.
        (r#"{"access_token":"abc","token_type":"Bearer","expires_in":60}"#, Expiry::In(secs(60))),
        (r#"{"access_token":"abc","expires_in":"60"}"#, Expiry::In(secs(60))),
        (r#"{"access_token":"abc"}"#, Expiry::Unknown),
        (r#"{"access_token":"abc","expires_in":null,"expires_at":null}"#, Expiry::Unknown),
        (r#"{"access_token":"abc","expires_at":"2027-01-15T08:00:00Z"}"#, at(NEW_YEAR)),
        (r#"{"access_token":"abc","expires_at":"2027-01-15T09:00:00.5+01:00"}"#, at(NEW_YEAR)),
        (r#"{"access_token":"abc","expires_at":1800000000}"#, at(NEW_YEAR)),
        (r#"{"access_token":"abc","expires_at":1800000000.75}"#, at(NEW_YEAR)),
        (r#"{"access_token":"abc","expires_at":"1800000000"}"#, at(NEW_YEAR)),
        (r#"{"access_token":"abc","expires_at":"1969-07-20T20:17:40Z"}"#, at(0)),
        // A token of Go's oauth2 package.
        (
            r#"{"access_token":"abc","token_type":"Bearer","refresh_token":"r","expiry":"2027-01-15T10:00:00.123456789+02:00"}"#,
            at(NEW_YEAR),
        ),
        (
            r#"{"access_token":"abc","token_type":"Bearer","expiry":"0001-01-01T00:00:00Z"}"#,
            Expiry::Unknown,
        ),
        // az account get-access-token. `expiresOn` is local time.
        (
            r#"{"accessToken":"abc","expiresOn":"2027-01-15 09:00:00.000000","expires_on":1800000000,"subscription":"s","tenant":"t","tokenType":"Bearer"}"#,
            at(NEW_YEAR),
        ),
        (
            r#"{"accessToken":"abc","expiresOn":"2027-01-15 09:00:00.000000","tokenType":"Bearer"}"#,
            Expiry::Unknown,
        ),
        (r#"{"accessToken":"abc","expiresOn":"2027-01-15T08:00:00Z"}"#, at(NEW_YEAR)),
        // The metadata service of Azure.
        (r#"{"access_token":"abc","expires_in":"60","expires_on":"1800000000"}"#, at(NEW_YEAR)),
        // gcloud config config-helper --format=json
        (
            r#"{"configuration":{"active_configuration":"default"},"credential":{"access_token":"abc","id_token":"i","token_expiry":"2027-01-15T08:00:00Z"},"sentinels":{"config_sentinel":"/s"}}"#,
            at(NEW_YEAR),
        ),
        // gcloud auth print-access-token --format=json
        (r#"{"token":"abc"}"#, Expiry::Unknown),
    ] {
        let token = print(output, CommandFormat::Json).await.unwrap();
        assert_eq!((token.secret(), token.expiry()), ("abc", expiry), "{output}");
    }
}

#[tokio::test]
async fn earliest_stated_expiry_counts() {
    let output =
        r#"{"access_token":"abc","expires_at":1800000000,"expiry":"2027-01-15T07:00:00Z"}"#;
    let token = print(output, CommandFormat::Json).await.unwrap();
    assert_eq!(token.expiry(), at(NEW_YEAR - 3600));
}

#[tokio::test]
async fn cached_point_in_time_and_repeated_lifetime_are_both_limits() {
    // The test clock starts at 1800000000.
    for output in [
        r#"{"access_token":"abc","expires_in":3600,"expires_at":1800000060}"#,
        r#"{"access_token":"abc","expires_in":60,"expires_at":1800003600}"#,
    ] {
        let token = print(output, CommandFormat::Json).await.unwrap();
        // Only now, because paused time does not wait for a process.
        pause();
        let mut first = Some(token);
        let login = service_fn(move |_| {
            ready(first.take().ok_or(LoginError::transient("scripted failure")))
        });
        let refresher = AuthRefresher::builder(login).clock(TestClock::default()).build().unwrap();
        refresher.ready().await.unwrap();
        sleep(secs(59)).await;
        assert!(refresher.token().await.is_ok(), "{output}");
        sleep(secs(2)).await;
        assert!(refresher.token().await.is_err(), "{output}");
        resume();
    }
}

#[tokio::test]
async fn invalid_expiry_is_ignored_beside_a_valid_one() {
    for bad in [r#""tomorrow""#, "1800000000000", "true", "{}", r#""""#] {
        let beside = format!(r#"{{"access_token":"abc","expires_in":60,"expires_at":{bad}}}"#);
        assert_eq!(
            print(&beside, CommandFormat::Json).await.unwrap().expiry(),
            Expiry::In(secs(60)),
            "{bad}"
        );
        let alone = format!(r#"{{"access_token":"s3cr3t","expires_at":{bad}}}"#);
        assert_fails(
            print(&alone, CommandFormat::Json).await,
            "output contains an invalid expires_at",
        );
    }
    let beside = r#"{"access_token":"abc","expires_in":"soon","expires_at":1800000000}"#;
    assert_eq!(print(beside, CommandFormat::Json).await.unwrap().expiry(), at(NEW_YEAR));
}

#[tokio::test]
async fn expiry_of_a_jwt_is_read_if_none_is_stated() {
    let jwt = jwt(SystemTime::UNIX_EPOCH + secs(NEW_YEAR));
    for (output, format) in [
        (jwt.clone(), CommandFormat::Token),
        (
            format!(r#"{{"accessToken":"{jwt}","expiresOn":"2027-01-15 09:00:00.000000"}}"#),
            CommandFormat::Json,
        ),
        (format!(r#"{{"access_token":"{jwt}","expires_at":"tomorrow"}}"#), CommandFormat::Json),
        (format!(r#"{{"status":{{"token":"{jwt}"}}}}"#), CommandFormat::ExecCredential),
    ] {
        assert_eq!(print(&output, format).await.unwrap().expiry(), at(NEW_YEAR), "{output}");
    }
}

#[tokio::test]
async fn output_without_a_token_is_a_transient_error_that_does_not_show_it() {
    for (output, error) in [
        ("s3cr3t", "output is not the expected JSON (line 1, column 1)"),
        (r#"{"access_token":"s3cr3t"} more"#, "output is not the expected JSON"),
        (r#"{"secret":"s3cr3t"}"#, "output contains no token"),
        (r#"{"access_token":null,"other":"s3cr3t"}"#, "output contains no token"),
        (r#"["s3cr3t"]"#, "output is not the expected JSON"),
        (
            r#"{"access_token":"s3cr3t","expires_in":"soon"}"#,
            "output contains an invalid expires_in",
        ),
        (r#"{"access_token":"s3cr3t\n2"}"#, "token contains an invalid byte at position 6"),
        (r#"{"access_token":""}"#, "token is empty"),
    ] {
        assert_fails(print(output, CommandFormat::Json).await, error);
    }
}

#[tokio::test]
async fn exec_credential_is_requested_and_read() {
    let script = r#"
        case "$KUBERNETES_EXEC_INFO" in *'"kind":"ExecCredential"'*) ;; *) exit 3;; esac
        echo '{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":"abc","expirationTimestamp":"2027-01-15T08:00:00Z"}}'
    "#;
    let token = log_in(shell(script).format(CommandFormat::ExecCredential)).await.unwrap();
    assert_eq!((token.secret(), token.expiry()), ("abc", at(NEW_YEAR)));
}

#[tokio::test]
async fn exec_credential_without_a_token_is_an_error() {
    for (output, error) in [
        ("{}", "output contains no status"),
        (r#"{"status":{"clientCertificateData":"s3cr3t"}}"#, "output contains no token"),
        (r#"{"status":{"token":""}}"#, "token is empty"),
        (
            r#"{"status":{"token":"s3cr3t","expirationTimestamp":"soon"}}"#,
            "invalid expirationTimestamp",
        ),
    ] {
        assert_fails(print(output, CommandFormat::ExecCredential).await, error);
    }
}
