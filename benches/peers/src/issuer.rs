//! A token endpoint on the loopback interface, for the peers that accept a token only from an endpoint.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    thread,
};

use serde_json::json;

use crate::common::secret;

/// Returns the response of a token endpoint: a token that lives for a day.
pub fn answer() -> String {
    json!({ "access_token": secret(), "token_type": "Bearer", "expires_in": 86_400 }).to_string()
}

/// An endpoint that serves until the process ends.
#[derive(Clone, Copy, Debug)]
pub struct Issuer(SocketAddr);

impl Issuer {
    pub fn start() -> Self {
        let listener =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port of the loopback interface");
        let address = listener.local_addr().expect("a bound listener has an address");
        thread::spawn(move || {
            for stream in listener.incoming() {
                // An error of a closed connection is ignored: a peer without a token fails later.
                let _ = stream.and_then(serve);
            }
        });
        Self(address)
    }

    pub fn url(&self) -> String {
        format!("http://{}/token", self.0)
    }
}

fn serve(mut stream: TcpStream) -> io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        match line.trim_end().split_once(':') {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                length = value.trim().parse().map_err(io::Error::other)?;
            }
            None if line.trim_end().is_empty() => break,
            _ => {}
        }
    }
    io::copy(&mut reader.take(length), &mut io::sink())?;
    let body = answer();
    write!(
        stream,
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
}
