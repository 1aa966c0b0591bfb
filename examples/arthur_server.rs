//! A server that speaks the Arthur API, on the loopback. `examples/server/mod.rs` says how to run and ask it.

use std::{io, process::ExitCode};

mod server;

use server::{
    Server,
    config::{Config, USAGE},
};

#[tokio::main]
async fn main() -> ExitCode {
    if std::env::args().any(|argument| argument == "--help" || argument == "-h") {
        println!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    let Some(config) = Config::from_arguments(std::env::args().skip(1)) else {
        eprintln!("{USAGE}");
        return ExitCode::FAILURE;
    };
    match run(config).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(config: Config) -> io::Result<()> {
    let server = Server::start(config)?;
    println!("LISTENING {}", server.addr().port());
    println!("{}/api/v3", server.base_url());
    tokio::signal::ctrl_c().await
}
