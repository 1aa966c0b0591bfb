//! A server that speaks the Arthur API, on the loopback. `examples/server/mod.rs` says how to run and ask it.

use std::{error::Error, time::Duration};

mod server;

use server::{Config, Server};

const USAGE: &str = "usage: arthur_server [--port 0] [--ttl 8] [--login LOGIN] [--password PASSWORD] [--tls]";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let server = Server::start(config(std::env::args().skip(1))?)?;
    println!("LISTENING {}", server.addr().port());
    println!("{}/api/v3", server.base_url());
    tokio::signal::ctrl_c().await?;
    Ok(())
}

fn config(mut arguments: impl Iterator<Item = String>) -> Result<Config, Box<dyn Error>> {
    let mut config = Config::default();
    while let Some(name) = arguments.next() {
        let mut value = || arguments.next().ok_or(USAGE);
        match name.as_str() {
            "--port" => config.port = value()?.parse()?,
            "--ttl" => config.ttl = Duration::from_secs(value()?.parse()?),
            "--login" => config.login = value()?,
            "--password" => config.password = value()?,
            "--tls" => config.tls = true,
            _ => return Err(USAGE.into()),
        }
    }
    Ok(config)
}
