//! What a base URL may be. All of it is settled at construction, before anything is sent.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use tower_auth_refresh::arthur::BaseUrl;

#[track_caller]
fn accepted(url: &str, normal: &str) {
    assert_eq!(BaseUrl::parse(url).unwrap().as_str(), normal, "{url}");
    assert_eq!(url.parse::<BaseUrl>().unwrap().to_string(), normal, "{url}");
}

#[track_caller]
fn refused(url: &str, trouble: &str) {
    for result in [BaseUrl::parse(url), BaseUrl::danger_parse_plaintext(url)] {
        let error = result.expect_err(url);
        assert!(error.to_string().contains(trouble), "{url}: {error}");
        assert!(url.is_empty() || !error.to_string().contains(url), "{url}: {error}");
    }
}

#[test]
fn a_trailing_slash_an_upper_case_scheme_and_no_scheme_are_accepted() {
    accepted("https://arthur.example", "https://arthur.example");
    accepted("https://arthur.example/", "https://arthur.example");
    accepted("HTTPS://Arthur.Example:443/", "https://arthur.example");
    accepted("HTTP://localhost:8080", "http://localhost:8080");
    accepted("arthur.example", "https://arthur.example");
    accepted("arthur.example:8443/", "https://arthur.example:8443");
    accepted("http://127.0.0.1:3000", "http://127.0.0.1:3000");
    accepted("http://[::1]:3000/", "http://[::1]:3000");
    accepted("bücher.example", "https://xn--bcher-kva.example");
}

#[test]
fn localhost_8080_is_a_host_and_port() {
    accepted("localhost:8080", "https://localhost:8080");
}

#[test]
fn an_empty_url_is_refused() {
    refused("", "empty");
}

#[test]
fn a_path_is_refused() {
    refused("https://arthur.example/api/v3", "path");
    refused("https://arthur.example//", "path");
    refused("arthur.example/login", "path");
    for url in ["arthur.example/..", "arthur.example/.", "https://arthur.example/%2e", "arthur.example/./"] {
        refused(url, "path");
    }
}

#[test]
fn a_query_is_refused() {
    refused("https://arthur.example?x=1", "query");
    refused("https://arthur.example/?", "query");
}

#[test]
fn a_fragment_is_refused() {
    refused("https://arthur.example#x", "fragment");
    refused("https://arthur.example/#", "fragment");
}

#[test]
fn another_scheme_is_refused() {
    refused("ftp://arthur.example", "scheme");
    refused("file:///etc/passwd", "scheme");
    refused("://arthur.example", "scheme");
    refused("https+unix://arthur.example", "scheme");
}

#[test]
fn user_information_is_refused_and_not_repeated() {
    for url in [
        "https://jo:sw0rdfish@arthur.example",
        "https://jo@arthur.example",
        "https://@arthur.example",
        "jo:sw0rdfish@arthur.example",
    ] {
        refused(url, "user name or a password");
        let error = BaseUrl::parse(url).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("sw0rdfish"));
    }
}

#[test]
fn a_space_or_control_character_is_refused() {
    for url in [" arthur.example", "arthur.example ", "arthur .example", "arthur\t.example", "arthur.example\n", "\0"] {
        refused(url, "space");
    }
    refused("https://arthur.example\\x", "backslash");
}

#[test]
fn a_bad_port_is_refused() {
    for url in ["https://arthur.example:99999", "arthur.example:-1", "localhost:0", "localhost:http"] {
        refused(url, "port");
    }
    refused("mailto:jo", "scheme");
}

#[test]
fn a_bad_host_is_refused() {
    for url in ["https://", "https:///", "https://:8080", "https://[::1", "https://a<b", "https://1.2.3.4.5", "%"] {
        refused(url, "host");
    }
}

#[test]
fn a_host_that_would_be_mended_is_refused() {
    for url in [
        "https://ex%61mple.com",
        "https://b%C3%BCcher.example",
        "https://\u{200b}arthur.example",
        "arthur\u{ad}.example",
        "arthur\u{202e}.example",
        "arthur。example",
        "https://127.1",
        "https://0x7f000001:8080",
        "https:x",
        "HTTP:8080",
        "https:/arthur.example",
    ] {
        refused(url, "host");
    }
}

#[test]
fn plain_http_elsewhere_than_the_loopback_is_refused_unless_allowed() {
    for url in ["http://arthur.example", "HTTP://10.0.0.1:80", "http://localhost.example", "http://[::2]"] {
        let error = BaseUrl::parse(url).unwrap_err();
        assert!(error.to_string().contains("plain http"), "{url}: {error}");
        assert!(BaseUrl::danger_parse_plaintext(url).is_ok(), "{url}");
    }
}
