//! Tables for people: names to the left, numbers to the right.

use std::io::Write;

/// Writes rows of the same length, headings first. `names`: how many columns, from the left, are names. `has_total`: the last row is
/// a sum, and stands under a line of its own.
pub(super) fn table(
    out: &mut impl Write,
    rows: &[impl AsRef<[String]>],
    names: usize,
    has_total: bool,
) -> std::io::Result<()> {
    let columns = rows.first().map_or(0, |row| row.as_ref().len());
    let width = |at: usize| rows.iter().map(|row| row.as_ref()[at].chars().count()).max().unwrap_or(0);
    let widths: Vec<_> = (0..columns).map(width).collect();
    for (index, row) in rows.iter().enumerate() {
        for (at, (cell, width)) in row.as_ref().iter().zip(&widths).enumerate() {
            let gap = if at == 0 { "" } else { "  " };
            if at < names {
                write!(out, "{gap}{cell:<width$}")?;
            } else {
                write!(out, "{gap}{cell:>width$}")?;
            }
        }
        writeln!(out)?;
        if index == 0 || (has_total && index + 2 == rows.len()) {
            writeln!(out, "{}", "-".repeat(widths.iter().sum::<usize>() + 2 * (columns - 1)))?;
        }
    }
    Ok(())
}
