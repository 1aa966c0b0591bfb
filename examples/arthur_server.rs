//! A local server for the Arthur API. The docs of `src/arthur_server/mod.rs` have its command line and endpoints.

use std::{io, process::ExitCode};

use examples::arthur_server::{
    Server,
    config::{Arguments, USAGE},
};

#[tokio::main]
async fn main() -> ExitCode {
    if std::env::args().any(|argument| argument == "--help" || argument == "-h") {
        println!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    let Some(arguments) = Arguments::parse(std::env::args().skip(1)) else {
        eprintln!("{USAGE}");
        return ExitCode::FAILURE;
    };
    match run(arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> io::Result<()> {
    let server =
        if arguments.tls { start_tls(arguments)? } else { Server::start(arguments.config)? };
    println!("LISTENING {}", server.addr().port());
    println!("{}/api/v3", server.base_url());
    tokio::signal::ctrl_c().await
}

#[cfg(feature = "tls")]
fn start_tls(arguments: Arguments) -> io::Result<Server> {
    examples::arthur_server_tls::start(arguments.config).map(|(server, _)| server)
}

#[cfg(not(feature = "tls"))]
fn start_tls(_: Arguments) -> io::Result<Server> {
    Err(io::Error::other("--tls needs the feature tls"))
}
