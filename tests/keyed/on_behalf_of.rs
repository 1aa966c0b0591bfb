//! A token exchange on behalf of a user: the key is a hash of the user's token, and the login gets the token itself from
//! the sessions of the program. The guide on many identities has the same lines.
#![cfg(feature = "oauth2")]

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use http::{Request, Response, header::AUTHORIZATION};
use http_body_util::{BodyExt, Full};
use sha2::Sha256;
use tower::{BoxError, Layer, ServiceExt, service_fn};
use tower_auth_refresh::{
    AccessToken, AuthRefreshLayer, AuthRefresher, AuthRefreshers, Error, login_fn,
    oauth2::{AuthorizationServer, ClientAuthentication, Grant, OAuth2Login},
    transport::HttpService,
};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct UserKey([u8; 32]);

/// The tokens of the users who are logged in.
#[derive(Clone, Default)]
struct Sessions(Arc<Mutex<HashMap<UserKey, String>>>);

impl Sessions {
    fn log_in(&self, subject: &str) -> UserKey {
        let mut mac = Hmac::<Sha256>::new_from_slice(b"random at each start").unwrap();
        mac.update(subject.as_bytes());
        let key = UserKey(mac.finalize().into_bytes().into());
        self.0.lock().unwrap().insert(key.clone(), subject.to_owned());
        key
    }

    fn log_out(&self, key: &UserKey) {
        self.0.lock().unwrap().remove(key);
    }

    fn subject(&self, key: &UserKey) -> Option<String> {
        self.0.lock().unwrap().get(key).cloned()
    }
}

/// Exchanges the token `subject-of-jo` for `api-token-of-jo`, and records what it has exchanged.
fn token_endpoint(exchanged: Arc<Mutex<Vec<String>>>) -> impl HttpService {
    service_fn(move |request: Request<Full<Bytes>>| {
        let exchanged = exchanged.clone();
        async move {
            let body = request.into_body().collect().await?.to_bytes();
            let form: HashMap<_, _> = url::form_urlencoded::parse(&body).into_owned().collect();
            let subject = form["subject_token"].clone();
            let user = subject.strip_prefix("subject-of-").ok_or("no subject")?;
            let response = format!(
                r#"{{"access_token":"api-token-of-{user}","token_type":"Bearer","expires_in":3600}}"#
            );
            exchanged.lock().unwrap().push(subject);
            Ok::<_, BoxError>(Response::new(Full::<Bytes>::from(response)))
        }
    })
}

fn refreshers(sessions: Sessions, http: impl HttpService + Sync) -> AuthRefreshers<UserKey> {
    let server = AuthorizationServer::token_endpoint("https://as.example/token").unwrap();
    let factory = move |user: &UserKey| {
        sessions.subject(user).ok_or("user is logged out")?;
        let (sessions, user) = (sessions.clone(), user.clone());
        let subject = login_fn(move |_| {
            let subject = sessions.subject(&user);
            async move { Ok(AccessToken::bearer(subject.ok_or("user is logged out")?)?) }
        });
        let client = ClientAuthentication::client_secret_basic("orders", "s3cr3t");
        let grant = Grant::token_exchange(subject);
        let login = OAuth2Login::new(http.clone(), server.clone(), client, grant);
        Ok::<_, BoxError>(AuthRefresher::builder(login))
    };
    AuthRefreshers::try_builder(factory).build().unwrap()
}

#[tokio::test(start_paused = true)]
async fn login_exchanges_the_subject_token_of_its_key() {
    let (sessions, exchanged) = (Sessions::default(), Arc::new(Mutex::new(Vec::new())));
    let refreshers = refreshers(sessions.clone(), token_endpoint(exchanged.clone()));
    let service = AuthRefreshLayer::keyed(refreshers.clone()).layer(service_fn(
        |request: Request<()>| async move {
            Ok::<_, BoxError>(Response::new(request.headers()[AUTHORIZATION].clone()))
        },
    ));
    let call = |key: &UserKey| {
        let request = Request::get("https://api.example.com/").extension(key.clone()).body(());
        service.clone().oneshot(request.unwrap())
    };
    let users = ["jo", "mo"];
    let keys = users.map(|user| sessions.log_in(&format!("subject-of-{user}")));
    for _ in 0..2 {
        for (user, key) in users.iter().zip(&keys) {
            let response = call(key).await.unwrap();
            assert_eq!(response.into_body(), format!("Bearer api-token-of-{user}"));
        }
    }
    assert_eq!(*exchanged.lock().unwrap(), ["subject-of-jo", "subject-of-mo"]);
    let all =
        format!("{refreshers:?} {service:?} {:?} {keys:?}", refreshers.get(&keys[0]).unwrap());
    assert!(!all.contains("subject-of-jo") && !all.contains("api-token-of-jo"), "{all}");

    // A refresh of a user who has logged out fails, and so does the next request.
    sessions.log_out(&keys[0]);
    refreshers.get(&keys[0]).unwrap().refresh().await.unwrap_err();
    assert!(refreshers.forget(&keys[0]));
    match call(&keys[0]).await.unwrap_err() {
        Error::Key(error) => assert!(error.is_factory_failure()),
        other => panic!("{other:?}"),
    }
    assert_eq!(call(&keys[1]).await.unwrap().into_body(), "Bearer api-token-of-mo");
    assert_eq!(exchanged.lock().unwrap().len(), 2);
}
