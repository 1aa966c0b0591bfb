//! The session of a person: one refresh token, in a directory.

use std::{
    ffi::OsStr,
    fs, io,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::Full;
use tower::{BoxError, ServiceBuilder, ServiceExt};
use tower_auth_refresh::{
    AuthRefreshLayer,
    http_client::HttpClient,
    oauth2::{
        AuthorizationServer, ClientAuthentication, Grant, OAuth2Login, RefreshTokenStore,
        native_app::{AuthorizationCodeLogin, DeviceLogin},
    },
    shared::{FileTokenStore, SharedRefreshTokenStore, TokenIdentity},
};

/// The directory of the store, below the one that the person names. No other program writes to it.
const STORE: &str = "cli_login-tokens";
/// The extensions of the store's files. The last one is of a save that was interrupted.
const EXTENSIONS: [&str; 3] = ["token", "lock", "new"];

pub(crate) struct Session {
    http: HttpClient,
    server: AuthorizationServer,
    client: ClientAuthentication,
    scope: String,
    directory: PathBuf,
    store: SharedRefreshTokenStore,
}

impl Session {
    pub(crate) fn new(
        issuer: &str,
        client: &str,
        scope: &str,
        directory: &Path,
    ) -> Result<Self, BoxError> {
        let identity = TokenIdentity::new(issuer, client, "refresh_token");
        // The directory is private. A key beside the token would protect nothing.
        let directory = directory.join(STORE);
        let files = FileTokenStore::new(&directory);
        Ok(Self {
            http: HttpClient::builder().build()?,
            server: AuthorizationServer::discover(issuer)?,
            client: ClientAuthentication::public(client),
            scope: scope.to_owned(),
            directory,
            store: SharedRefreshTokenStore::danger_unsealed(files, identity),
        })
    }

    /// Fails if the directory cannot be written: before the person logs in, and not after.
    async fn check_store(&self) -> Result<(), BoxError> {
        self.store.lock().await.map(drop)
    }

    /// Logs in with the browser of this machine. `open` shows the URL.
    pub(crate) async fn log_in_with_browser(
        &self,
        open: impl AsyncFnOnce(&str),
    ) -> Result<(), BoxError> {
        self.check_store().await?;
        let (server, client) = (self.server.clone(), self.client.clone());
        let login = AuthorizationCodeLogin::new(self.http.clone(), server, client)
            .scope(&self.scope)
            // Some servers issue a refresh token only with the person's consent.
            .parameter("prompt", "consent");
        let request = login.start().await?;
        let url = request.url().to_owned();
        let (tokens, ()) = tokio::join!(request.wait(), open(&url));
        Ok(tokens?.save_to(&self.store).await?)
    }

    /// Logs in with any device. `show` shows the page, the page with the code filled in, and the code.
    pub(crate) async fn log_in_with_device(
        &self,
        show: impl AsyncFnOnce(&str, Option<&str>, &str),
    ) -> Result<(), BoxError> {
        self.check_store().await?;
        let (server, client) = (self.server.clone(), self.client.clone());
        let login =
            DeviceLogin::new(self.http.clone(), server, client).scope(&self.scope).start().await?;
        show(login.verification_uri(), login.verification_uri_complete(), login.user_code()).await;
        Ok(login.wait().await?.save_to(&self.store).await?)
    }

    /// Sends a request with an access token. No person is involved.
    pub(crate) async fn call(&self, api: &str) -> Result<StatusCode, BoxError> {
        let grant = Grant::refresh_token_store(self.store.clone());
        let (server, client) = (self.server.clone(), self.client.clone());
        let login = OAuth2Login::new(self.http.clone(), server, client, grant);
        let layer = AuthRefreshLayer::with_login(login);
        let client = ServiceBuilder::new().layer(layer).service(self.http.clone());
        let request = Request::get(api).body(Full::<Bytes>::default())?;
        Ok(client.oneshot(request).await?.status())
    }

    /// Deletes the files of the store, and their directory if it is empty then. The server can revoke the token too (RFC
    /// 7009), which is not part of this tool.
    pub(crate) fn log_out(&self) -> Result<(), BoxError> {
        let files = match fs::read_dir(&self.directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            files => files?,
        };
        for file in files {
            let path = file?.path();
            let extension = path.extension().and_then(OsStr::to_str).unwrap_or_default();
            if EXTENSIONS.contains(&extension) {
                fs::remove_file(path)?;
            }
        }
        match fs::remove_dir(&self.directory) {
            Err(error) if error.kind() != io::ErrorKind::DirectoryNotEmpty => Err(error.into()),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{env, process};

    use super::*;

    #[test]
    fn logout_deletes_only_files_of_the_store() {
        let directory = env::temp_dir().join(format!("cli-login-logout-{}", process::id()));
        let store = directory.join(STORE);
        fs::create_dir_all(&store).unwrap();
        let of_the_person = [directory.join("thesis.token"), store.join("notes")];
        let of_the_store = ["a.token", "a.lock", "a.0.new"].map(|name| store.join(name));
        for path in of_the_person.iter().chain(&of_the_store) {
            fs::write(path, "x").unwrap();
        }
        let session = Session::new("https://as.example", "cli", "", &directory).unwrap();
        session.log_out().unwrap();
        assert!(of_the_person.iter().all(|path| path.exists()));
        assert!(!of_the_store.iter().any(|path| path.exists()));
        fs::remove_file(store.join("notes")).unwrap();
        session.log_out().unwrap();
        assert!(!store.exists() && of_the_person[0].exists());
        session.log_out().unwrap();
        fs::remove_dir_all(directory).unwrap();
    }
}
