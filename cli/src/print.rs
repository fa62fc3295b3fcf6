//! Data on stdout: a table for a person, or JSON for a program.

use std::io::Write as _;

use serde_json::Value;
use sublet_core::base::id::UnixMillis;
pub(crate) use sublet_core::base::utc::{from_utc, utc};

use crate::context::Context;

/// Prints a formatted line of data. When stdout is closed, the process exits with code 1.
macro_rules! line {
    ($($text:tt)*) => { $crate::print::text(&format!($($text)*)) };
}
pub(crate) use line;

/// Prints a line of data. When stdout is closed, the process exits with code 1.
pub(crate) fn text(text: &str) {
    if writeln!(std::io::stdout().lock(), "{text}").is_err() {
        std::process::exit(1);
    }
}

/// Prints rows under column heads, or `value` where the output is JSON.
pub(crate) fn rows(context: &Context, heads: &[&str], rows: &[Vec<String>], value: &Value) {
    if context.json() {
        return json(value);
    }
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        let head = heads.get(column).map_or(0, |head| head.chars().count());
        cells.max().unwrap_or(0).max(head)
    };
    let widths: Vec<usize> = (0..heads.len()).map(width).collect();
    let line = |cells: Vec<&str>| {
        let padded = cells
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:<width$}", width = *width));
        crate::print::line!("{}", padded.collect::<Vec<_>>().join("  ").trim_end());
    };
    line(heads.to_vec());
    for row in rows {
        line(row.iter().map(String::as_str).collect());
    }
}

/// Prints pairs of a label and a text, or `value` where the output is JSON.
pub(crate) fn pairs(context: &Context, pairs: &[(&str, String)], value: &Value) {
    if context.json() {
        return json(value);
    }
    let width = pairs.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    for (name, text) in pairs {
        crate::print::line!("{name:<width$}  {text}");
    }
}

/// Prints a value as JSON.
pub(crate) fn json(value: &Value) {
    crate::print::line!("{value:#}");
}

/// Returns milliseconds since 1970 as an RFC 3339 time in UTC, to the second.
pub(crate) fn utc_ms(millis: i64) -> String {
    utc(UnixMillis(millis).seconds())
}
