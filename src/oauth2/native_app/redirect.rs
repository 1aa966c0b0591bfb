//! [`RedirectCheck`]: which requests to the listener are the redirect of this login, and what they contain.

use http::{Method, StatusCode, Uri};
use url::form_urlencoded;
use zeroize::Zeroizing;

use super::{endpoints::Issuer, error_kind::NativeAppErrorKind, secrets::State};
use crate::{oauth2::error_kind::is_known_code, transport::redact};

/// The authorization code (RFC 6749, section 4.1.2), or why there is none.
pub(super) type Redirect = Result<Zeroizing<String>, NativeAppErrorKind>;

/// What the redirect of this login has to contain.
pub(super) struct RedirectCheck {
    pub(super) path: String,
    pub(super) state: State,
    pub(super) issuer: Option<Issuer>,
}

impl RedirectCheck {
    /// Returns the redirect, or the status of a response to any other request.
    pub(super) fn check(&self, method: &Method, uri: &Uri) -> Result<Redirect, StatusCode> {
        if uri.path() != self.path {
            return Err(StatusCode::NOT_FOUND);
        }
        if method != Method::GET {
            return Err(StatusCode::METHOD_NOT_ALLOWED);
        }
        let parameters = Parameters::parse(uri.query().unwrap_or_default());
        match &*parameters.values("state") {
            // Only the server and the browser know the state. Other pages can send requests too.
            [state] if self.state.matches(state) => Ok(self.read(&parameters)),
            _ => Err(StatusCode::BAD_REQUEST),
        }
    }

    fn read(&self, parameters: &Parameters) -> Redirect {
        let invalid = |cause| Err(NativeAppErrorKind::InvalidRedirect(cause));
        // RFC 9207, section 2.4, also for errors.
        if let Some(issuer) = &self.issuer {
            match &*parameters.values("iss") {
                [] if issuer.is_always_named => return invalid("iss is missing"),
                [] => {}
                [name] if *name == issuer.name => {}
                _ => return invalid("iss is not the issuer"),
            }
        }
        let codes = parameters.values("code");
        if let Some(error) = parameters.values("error").into_iter().find(|error| !error.is_empty())
        {
            let secrets: Vec<&str> = codes.iter().copied().chain([self.state.secret()]).collect();
            let shown = |text: &str| redact(text.as_bytes(), &secrets);
            let description = parameters.values("error_description");
            return Err(NativeAppErrorKind::Refused {
                code: if is_known_code(error) { error.to_owned() } else { shown(error) },
                description: description.first().copied().map(shown).unwrap_or_default(),
            });
        }
        match &*codes {
            [code] if !code.is_empty() => Ok(Zeroizing::new((*code).to_owned())),
            [_] | [] => invalid("code is missing"),
            _ => invalid("code is repeated"),
        }
    }
}

struct Parameters(Vec<(String, Zeroizing<String>)>);

impl Parameters {
    fn parse(query: &str) -> Self {
        let pairs = form_urlencoded::parse(query.as_bytes()).into_owned();
        Self(pairs.map(|(name, value)| (name, Zeroizing::new(value))).collect())
    }

    fn values(&self, name: &str) -> Vec<&str> {
        self.0.iter().filter(|(there, _)| there == name).map(|(_, value)| &***value).collect()
    }
}
