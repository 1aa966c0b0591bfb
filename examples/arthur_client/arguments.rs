//! The command line.

/// Printed for an invalid argument, and for `--help`.
pub(crate) const USAGE: &str = "\
usage: arthur_client --url URL --login LOGIN --password PASSWORD [--path /PATH] [--no-verify-ssl]

It sends a request every second until Ctrl-C.
The environment variables ARTHUR_API_URL, ARTHUR_LOGIN, ARTHUR_PASSWORD and ARTHUR_VERIFY_SSL=false are defaults.";

/// What the program does.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Task {
    /// Prints the usage.
    Help,
    /// Sends requests.
    Run(Deployment),
}

/// A deployment of the Arthur API.
#[derive(PartialEq, Eq)]
pub(crate) struct Deployment {
    pub(crate) url: String,
    pub(crate) login: String,
    pub(crate) password: String,
    /// The path of each request.
    pub(crate) path: String,
    /// Whether the client verifies the certificate.
    pub(crate) verify_ssl: bool,
}

impl Task {
    /// Parses the arguments, with defaults from the environment. Returns `None` if they are invalid.
    pub(crate) fn new(
        arguments: impl IntoIterator<Item = String>,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Option<Self> {
        let environment = |name| environment(name).filter(|value| !value.is_empty());
        let mut url = environment("ARTHUR_API_URL");
        let mut login = environment("ARTHUR_LOGIN");
        let mut password = environment("ARTHUR_PASSWORD");
        let mut verify_ssl = !environment("ARTHUR_VERIFY_SSL")
            .is_some_and(|value| value.eq_ignore_ascii_case("false"));
        let mut path = "/api/v3/users/me".to_owned();
        let mut arguments = arguments.into_iter();
        while let Some(name) = arguments.next() {
            match name.as_str() {
                "--help" | "-h" => return Some(Self::Help),
                "--url" => url = Some(arguments.next()?),
                "--login" => login = Some(arguments.next()?),
                "--password" => password = Some(arguments.next()?),
                // Any other path can change the host: `https://arthur.example` + `@evil.example`.
                "--path" => path = arguments.next().filter(|path| path.starts_with('/'))?,
                "--no-verify-ssl" => verify_ssl = false,
                _ => return None,
            }
        }
        Some(Self::Run(Deployment {
            url: url?,
            login: login?,
            password: password?,
            path,
            verify_ssl,
        }))
    }
}

impl std::fmt::Debug for Deployment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Deployment")
            .field("url", &self.url)
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}
