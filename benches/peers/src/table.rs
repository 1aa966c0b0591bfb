//! Formats the results as a Markdown table.

use std::fmt;

use crate::{
    machine,
    measure::{Results, Row},
    versions,
};

impl fmt::Display for Results {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let baseline = self.rows.iter().find(|row| row.name == self.group.baseline);
        let baseline = baseline.map_or(f64::NAN, |row| row.added);
        writeln!(f, "| | version | added ns | ratio | added allocations | M calls/s, 2 threads |")?;
        writeln!(f, "|---|---|--:|--:|--:|--:|")?;
        for Row { name, package, added, own_bare, allocations, rate } in &self.rows {
            let mark = if own_bare.is_some() { " *" } else { "" };
            let (version, ratio) = (versions::of(package), added / baseline);
            writeln!(
                f,
                "| {name}{mark} | {version} | {added:.0} | {ratio:.1} | {allocations} | {rate:.2} |"
            )?;
        }
        writeln!(f, "\n{}.", machine::line())?;
        writeln!(
            f,
            "The inner service alone: {:.0} ns, {:.2} M calls/s.",
            self.bare, self.bare_rate
        )?;
        for row in &self.rows {
            if let Some(own_bare) = row.own_bare {
                writeln!(
                    f,
                    "\\* {}: added to {own_bare:.0} ns of its own kind of call.",
                    row.name
                )?;
            }
        }
        Ok(())
    }
}
