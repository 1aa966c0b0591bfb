//! What the quickstart is asked to do.

#![allow(unreachable_pub, reason = "a module of a program")]

/// Said after a wrong argument, and to `--help`.
pub const USAGE: &str = "\
usage: quickstart
       quickstart --url URL --login LOGIN --password PASSWORD [--path /PATH] [--no-verify-ssl]

The first starts a server of its own; the second asks a deployment once a second until Ctrl-C.
ARTHUR_API_URL, ARTHUR_LOGIN, ARTHUR_PASSWORD and ARTHUR_VERIFY_SSL=false are read from the environment.";

/// What to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Task {
    /// Print the usage.
    Help,
    /// Start a server and use it.
    OwnServer,
    /// Use a deployment.
    Deployment(Deployment),
}

/// A real deployment of the Arthur API.
#[derive(PartialEq, Eq)]
pub struct Deployment {
    /// Where it is.
    pub url: String,
    /// Who logs in.
    pub login: String,
    /// The password for it.
    pub password: String,
    /// What is asked for.
    pub path: String,
    /// Whether the certificate is checked.
    pub verify_ssl: bool,
}

impl Task {
    /// `None`: the arguments make no sense.
    pub fn new(
        arguments: impl IntoIterator<Item = String>,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Option<Self> {
        let environment = |name| environment(name).filter(|value| !value.is_empty());
        let mut url = environment("ARTHUR_API_URL");
        let mut login = environment("ARTHUR_LOGIN");
        let mut password = environment("ARTHUR_PASSWORD");
        let mut verify_ssl = !environment("ARTHUR_VERIFY_SSL").is_some_and(|value| value.eq_ignore_ascii_case("false"));
        let mut path = "/api/v3/users/me".to_owned();
        let mut arguments = arguments.into_iter().peekable();
        let plain = arguments.peek().is_none();
        while let Some(name) = arguments.next() {
            match name.as_str() {
                "--help" | "-h" => return Some(Self::Help),
                "--url" => url = Some(arguments.next()?),
                "--login" => login = Some(arguments.next()?),
                "--password" => password = Some(arguments.next()?),
                // Anything else could change the host: `https://arthur.example` + `@elsewhere.example`.
                "--path" => path = arguments.next().filter(|path| path.starts_with('/'))?,
                "--no-verify-ssl" => verify_ssl = false,
                _ => return None,
            }
        }
        match url {
            None if plain => Some(Self::OwnServer),
            None => None,
            Some(url) => {
                let (login, password) = (login?, password?);
                Some(Self::Deployment(Deployment { url, login, password, path, verify_ssl }))
            }
        }
    }
}

impl std::fmt::Debug for Deployment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Deployment").field("url", &self.url).field("path", &self.path).finish_non_exhaustive()
    }
}
