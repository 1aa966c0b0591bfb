//! Draws the results as a chart with one bar for each peer.

use std::{error::Error, path::Path};

use peers::peers::UNKEYED;
use plotters::{
    prelude::*,
    style::text_anchor::{HPos, Pos, VPos},
};

use crate::{
    machine,
    measure::{Results, Row},
    versions,
};

const WIDTH: i32 = 800;
const TOP: i32 = 68;
const BOTTOM: i32 = 60;
const ROW: i32 = 28;
const BAR: i32 = 18;
/// The left edge of the bars.
const LEFT: i32 = 330;
/// The space for the number to the right of the longest bar.
const RIGHT: i32 = 80;
const MARGIN: i32 = 16;

const INK: RGBColor = RGBColor(0x1f, 0x23, 0x28);
const FAINT: RGBColor = RGBColor(0x59, 0x63, 0x6e);
const OURS: RGBColor = RGBColor(0xc4, 0x4f, 0x1a);
const STATIC: RGBColor = RGBColor(0x8c, 0x95, 0x9f);
const OTHERS: RGBColor = RGBColor(0x4a, 0x7c, 0xb5);

pub fn draw(results: &Results, path: &Path) -> Result<(), Box<dyn Error>> {
    let height = TOP + ROW * i32::try_from(results.rows.len())? + BOTTOM;
    let area =
        SVGBackend::new(path, (WIDTH.unsigned_abs(), height.unsigned_abs())).into_drawing_area();
    // White, because the text is dark on every page.
    area.fill(&WHITE)?;
    let text = |text: &str, at: (i32, i32), size: i32, ink: &RGBColor, horizontally: HPos| {
        // The backend writes a font's size divided by 1.24.
        let style = ("sans-serif", f64::from(size) * 1.24)
            .into_text_style(&area)
            .color(ink)
            .pos(Pos::new(horizontally, VPos::Center));
        area.draw_text(text, &style, at)
    };
    text(results.group.title, (MARGIN, 24), 19, &INK, HPos::Left)?;
    let subtitle = "A current token, already fetched, is put on the request. One thread, median; less is better.";
    text(subtitle, (MARGIN, 48), 13, &FAINT, HPos::Left)?;
    let longest = results.rows.iter().map(|row| row.added).fold(f64::MIN_POSITIVE, f64::max);
    for (row, top) in results.rows.iter().zip((TOP..).step_by(ROW.unsigned_abs() as usize)) {
        let middle = top + ROW / 2;
        let mark = if row.own_bare.is_some() { "* " } else { "" };
        let label = format!("{mark}{} ({})", row.name, versions::of(row.package));
        text(&label, (LEFT - 8, middle), 13, &INK, HPos::Right)?;
        let length = (f64::from(WIDTH - LEFT - RIGHT) * row.added / longest).round() as i32;
        let corners = [(LEFT, middle - BAR / 2), (LEFT + length.max(1), middle + BAR / 2)];
        area.draw(&Rectangle::new(corners, color(row).filled()))?;
        text(&format!("{:.0} ns", row.added), (LEFT + length + 8, middle), 13, &INK, HPos::Left)?;
    }
    text(results.group.note, (MARGIN, height - 42), 12, &FAINT, HPos::Left)?;
    text(&machine::line(), (MARGIN, height - 22), 12, &FAINT, HPos::Left)?;
    area.present()?;
    Ok(())
}

fn color(row: &Row) -> RGBColor {
    match row.name {
        name if name.starts_with("tower-auth-refresh") => OURS,
        "http, static token by hand" => STATIC,
        name if name.starts_with(UNKEYED.baseline) => STATIC,
        _ => OTHERS,
    }
}
