//! Processes that share one token, in Redis or in a directory. One of them logs in for all.
//!
//! ```sh
//! cargo run --release -p examples --features fleet --example fleet -- --processes 20 --seconds 20 --rate 10
//! ```
//!
//! It starts a `redis-server`, which must be installed, an issuer of tokens that live for 3 seconds, and the processes,
//! which send requests all the time. `--file` shares the token in a directory. `--kill`, `--stop-redis`,
//! `--restart-redis`, `--flush` and `--fail-over` disturb them. `--help` lists all options.
//!
//! At the end, it prints:
//!
//! - requests that failed; those that the API rejected, which the client retries with the next token, so they fail only if
//!   that is rejected too; and those with an expired token that the API accepted all the same, for a second;
//! - logins that issued a token, and the unnecessary ones among them: those that started during another login, or while no
//!   process had a reason to refresh the newest token. A refresher refreshes a token at 65 to 75 per cent of its lifetime, and of many processes, the
//!   one that refreshes first logs in;
//! - with `--kill`, logins that the death of a process interrupted, and the longest time until the next one started;
//! - the commands that each process sent to Redis for a necessary login (`evalsha`), and all others (`to_connect`).

mod arguments;
mod counts;
mod redis;
mod sentinel;
mod server;
mod store;
mod supervisor;
mod worker;

use std::{env, path::Path, process::ExitCode};

pub use arguments::Plan;
use arguments::USAGE;
use counts::Recorded;
use examples::load;
use tower::BoxError;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let outcome = if env::var_os(worker::PROCESS).is_some() {
        worker::run().await.map(|()| 0)
    } else {
        let Some(plan) = Plan::new(env::args().skip(1)) else {
            println!("{USAGE}");
            let is_help = env::args().nth(1).is_some_and(|argument| argument == "--help");
            return if is_help { ExitCode::SUCCESS } else { ExitCode::FAILURE };
        };
        match env::current_exe() {
            Ok(program) => run(&program, plan).await.map(|recorded| recorded.requests().1),
            Err(error) => Err(error.into()),
        }
    };
    match outcome {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{}", load::with_causes(&*error));
            ExitCode::FAILURE
        }
    }
}

/// Runs the processes, each an instance of `program`, and prints what happens.
pub async fn run(program: &Path, plan: Plan) -> Result<Recorded, BoxError> {
    let counts = counts::Counts::new(plan.lifetime);
    let address = server::serve(counts.clone(), plan.lifetime).await?;
    let store = store::Store::start(&plan).await?;
    supervisor::Supervisor::new(program, address, plan, counts, store).run().await
}
