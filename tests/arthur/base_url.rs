//! Which base URLs are valid. Construction checks them, before a request is sent.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use tower_auth_refresh::arthur::BaseUrl;

#[track_caller]
fn accepted(url: &str, normal: &str) {
    assert_eq!(BaseUrl::parse(url).unwrap().as_str(), normal, "{url}");
    assert_eq!(url.parse::<BaseUrl>().unwrap().to_string(), normal, "{url}");
}

#[track_caller]
fn rejected(url: &str, why: &str) {
    for result in [BaseUrl::parse(url), BaseUrl::danger_parse_plaintext(url)] {
        let error = result.expect_err(url);
        assert!(error.to_string().contains(why), "{url}: {error}");
        assert!(url.is_empty() || !error.to_string().contains(url), "{url}: {error}");
    }
}

#[test]
fn slash_upper_case_and_missing_scheme_are_accepted() {
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
fn localhost_8080_is_host_and_port() {
    accepted("localhost:8080", "https://localhost:8080");
}

#[test]
fn empty_url_is_rejected() {
    rejected("", "empty");
}

#[test]
fn path_is_rejected() {
    rejected("https://arthur.example/api/v3", "path");
    rejected("https://arthur.example//", "path");
    rejected("arthur.example/login", "path");
    for url in
        ["arthur.example/..", "arthur.example/.", "https://arthur.example/%2e", "arthur.example/./"]
    {
        rejected(url, "path");
    }
}

#[test]
fn query_is_rejected() {
    rejected("https://arthur.example?x=1", "query");
    rejected("https://arthur.example/?", "query");
}

#[test]
fn fragment_is_rejected() {
    rejected("https://arthur.example#x", "fragment");
    rejected("https://arthur.example/#", "fragment");
}

#[test]
fn other_scheme_is_rejected() {
    rejected("ftp://arthur.example", "scheme");
    rejected("file:///etc/passwd", "scheme");
    rejected("://arthur.example", "scheme");
    rejected("https+unix://arthur.example", "scheme");
}

#[test]
fn user_information_is_rejected_and_not_shown() {
    for url in [
        "https://jo:sw0rdfish@arthur.example",
        "https://jo@arthur.example",
        "https://@arthur.example",
        "jo:sw0rdfish@arthur.example",
    ] {
        rejected(url, "user name or a password");
        let error = BaseUrl::parse(url).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("sw0rdfish"));
    }
}

#[test]
fn space_or_control_character_is_rejected() {
    for url in [
        " arthur.example",
        "arthur.example ",
        "arthur .example",
        "arthur\t.example",
        "arthur.example\n",
        "\0",
    ] {
        rejected(url, "space");
    }
    rejected("https://arthur.example\\x", "backslash");
}

#[test]
fn invalid_port_is_rejected() {
    for url in
        ["https://arthur.example:99999", "arthur.example:-1", "localhost:0", "localhost:http"]
    {
        rejected(url, "port");
    }
    rejected("mailto:jo", "scheme");
}

#[test]
fn invalid_host_is_rejected() {
    for url in [
        "https://",
        "https:///",
        "https://:8080",
        "https://[::1",
        "https://a<b",
        "https://1.2.3.4.5",
        "%",
        "https://h;p",
    ] {
        rejected(url, "host");
    }
}

#[test]
fn host_that_parser_would_correct_is_rejected() {
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
        rejected(url, "host");
    }
}

#[test]
fn plain_http_is_for_loopback_unless_allowed() {
    for url in
        ["http://arthur.example", "HTTP://10.0.0.1:80", "http://localhost.example", "http://[::2]"]
    {
        let error = BaseUrl::parse(url).unwrap_err();
        assert!(error.to_string().contains("plain http"), "{url}: {error}");
        assert!(BaseUrl::danger_parse_plaintext(url).is_ok(), "{url}");
    }
}
