//! Logins of a person at the certified authorization server, in whose pages a scripted browser logs in.

use http::{Request, StatusCode, header::AUTHORIZATION};
use http_body_util::{BodyExt, Full};
use serde_json::Value;
use tower::ServiceExt;
use tower_auth_refresh::{
    AccessToken,
    http_client::HttpClient,
    oauth2::{
        AuthorizationServer, ClientAuthentication, Grant, OAuth2Login,
        native_app::{AuthorizationCodeLogin, DeviceLogin, Tokens},
    },
};

use crate::{
    oidc_provider::server::OidcProvider,
    support::{Store, log_in, oauth2_error},
};

const SCOPE: &str = "openid offline_access read";

fn http() -> HttpClient {
    HttpClient::builder().build().unwrap()
}

fn client() -> ClientAuthentication {
    ClientAuthentication::public("cli")
}

impl OidcProvider {
    fn server(&self) -> AuthorizationServer {
        AuthorizationServer::discover(&self.issuer).unwrap()
    }

    fn in_browser(&self) -> AuthorizationCodeLogin<HttpClient> {
        let login = AuthorizationCodeLogin::new(http(), self.server(), client());
        // The server requires the consent for a refresh token.
        login.scope(SCOPE).parameter("prompt", "consent")
    }

    fn on_device(&self) -> DeviceLogin<HttpClient> {
        DeviceLogin::new(http(), self.server(), client())
            .scope(SCOPE)
            .parameter("prompt", "consent")
    }

    /// Opens a page in a browser. Returns the last page.
    async fn browse(&self, page: &str, refuse: bool) -> Value {
        let mut request =
            Request::post(format!("{}/test/browse", self.issuer)).header("x-page", page);
        if refuse {
            request = request.header("x-refuse", "yes");
        }
        let response = http().oneshot(request.body(Full::default()).unwrap()).await.unwrap();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        serde_json::from_slice(&body).unwrap()
    }

    /// Returns whether the server accepts the token.
    async fn accepts(&self, token: &AccessToken) -> bool {
        let request = Request::get(format!("{}/test/introspect", self.issuer))
            .header(AUTHORIZATION, token.header_value());
        let response = http().oneshot(request.body(Full::default()).unwrap()).await.unwrap();
        response.status() == StatusCode::OK
    }

    /// Saves the refresh token, and logs in twice without a person, as two later processes do.
    async fn assert_later_logins(&self, tokens: Tokens) {
        assert!(self.accepts(tokens.access_token()).await);
        let store = Store { token: Default::default(), ..Store::with("") };
        tokens.save_to(&store).await.unwrap();
        let first = store.has();
        for _ in 0..2 {
            let grant = Grant::refresh_token_store(store.clone());
            let token = log_in(OAuth2Login::new(http(), self.server(), client(), grant));
            assert!(self.accepts(&token.await.unwrap()).await);
        }
        assert_ne!(store.has(), first, "the server rotates the token");
        assert_eq!(self.seen().await["twice"], 0);

        // The server revokes the session of a token that is sent a second time.
        store.put(&first);
        let grant = Grant::refresh_token_store(store.clone());
        let error = log_in(OAuth2Login::new(http(), self.server(), client(), grant)).await;
        assert!(oauth2_error(&error.unwrap_err()).is_login_required());
    }
}

#[tokio::test]
async fn login_in_browser_is_followed_by_logins_without_a_person() {
    let Some(provider) = OidcProvider::start(&[]) else { return };
    let request = provider.in_browser().start().await.unwrap();
    let url = request.url().to_owned();
    let (tokens, page) = tokio::join!(request.wait(), provider.browse(&url, false));
    assert_eq!(page["status"], 200, "{page}");
    assert!(page["page"].as_str().unwrap().contains("Login received"), "{page}");
    provider.assert_later_logins(tokens.unwrap()).await;
}

#[tokio::test]
async fn login_on_device_is_followed_by_logins_without_a_person() {
    let Some(provider) = OidcProvider::start(&[]) else { return };
    let started = provider.on_device().start().await.unwrap();
    let page = started.verification_uri_complete().unwrap().to_owned();
    assert!(page.contains(started.user_code()) && page.starts_with(started.verification_uri()));
    let page = provider.browse(&page, false).await;
    assert!(page["page"].as_str().unwrap().contains("Sign-in Success"), "{page}");
    provider.assert_later_logins(started.wait().await.unwrap()).await;
}

#[tokio::test]
async fn refusal_by_the_person_ends_both_logins() {
    let Some(provider) = OidcProvider::start(&[]) else { return };
    let request = provider.in_browser().start().await.unwrap();
    let url = request.url().to_owned();
    let (tokens, page) = tokio::join!(request.wait(), provider.browse(&url, true));
    assert!(page["page"].as_str().unwrap().contains("Login failed"), "{page}");
    assert!(tokens.unwrap_err().is_access_denied());

    let started = provider.on_device().start().await.unwrap();
    provider.browse(started.verification_uri_complete().unwrap(), true).await;
    assert!(started.wait().await.unwrap_err().is_access_denied());
}

#[tokio::test]
async fn redirect_uri_without_a_path_is_sent_as_registered() {
    let Some(provider) = OidcProvider::start(&[]) else { return };
    let login = provider.in_browser().redirect_uri("http://localhost").unwrap();
    let request = login.start().await.unwrap();
    assert!(!request.redirect_uri().ends_with('/'), "{}", request.redirect_uri());
}
