//! Measures the peers, prints a table and draws `../overhead.svg`.

mod chart;
mod instructions;
mod machine;
mod measure;
mod table;
mod versions;

use std::{env, error::Error, path::Path};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => {
            let results = measure::all();
            print!("{results}");
            chart::draw(&results, &Path::new(env!("CARGO_MANIFEST_DIR")).join("../overhead.svg"))?;
        }
        ["names"] => peers::peers::ALL.iter().for_each(|entry| println!("{}", entry.name)),
        ["instructions", name, calls] => instructions::make(name, calls.parse()?, false),
        ["instructions", name, calls, "bare"] => instructions::make(name, calls.parse()?, true),
        _ => return Err("usage: peers [names | instructions <name> <calls> [bare]]".into()),
    }
    Ok(())
}
