//! Measures a group of peers, prints a table and draws a chart.

mod chart;
mod instructions;
mod machine;
mod measure;
mod table;
mod versions;

use std::{env, error::Error, path::Path};

use peers::peers::Group;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => compare("unkeyed"),
        ["names", group] => {
            group_named(group)?.entries.iter().for_each(|entry| println!("{}", entry.name));
            Ok(())
        }
        ["instructions", group, name, calls] => {
            instructions::make(group_named(group)?, name, calls.parse()?, false)
        }
        ["instructions", group, name, calls, "bare"] => {
            instructions::make(group_named(group)?, name, calls.parse()?, true)
        }
        [group] => compare(group),
        _ => Err(
            "usage: peers [<group> | names <group> | instructions <group> <name> <calls> [bare]]"
                .into(),
        ),
    }
}

fn group_named(name: &str) -> Result<&'static Group, Box<dyn Error>> {
    Group::named(name).ok_or_else(|| "the groups are `unkeyed` and `keyed`".into())
}

fn compare(name: &str) -> Result<(), Box<dyn Error>> {
    let group = group_named(name)?;
    let results = measure::all(name, group);
    print!("{results}");
    chart::draw(&results, &Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(group.file))
}
