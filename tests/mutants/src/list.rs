//! What the mutants are, by the word of cargo-mutants.
use std::process::Command;

use serde_json::Value;

use crate::place::Place;
use crate::text::Position;
use crate::{Words, run};

/// One small change of the code.
#[derive(Clone, Debug)]
pub struct Mutant {
    /// Its place in the list, from 1: what the switch knows it by.
    pub number: u32,
    /// The name that cargo-mutants gives it, with line and column.
    pub name: String,
    /// The file, from the root of the tree.
    pub file: String,
    /// What kind of change it is, such as `BinaryOperator`.
    pub genre: String,
    /// The text that stands there instead.
    pub replacement: String,
    /// The function that it is in; empty outside of one.
    pub function: String,
    /// Where the text begins that is replaced.
    pub start: Position,
    /// Where it ends.
    pub end: Position,
}

impl Mutant {
    /// The crate that it is of: the first part of its path.
    pub fn house(&self) -> &str {
        self.file.split('/').next().unwrap_or_default()
    }
}

/// The name without line and column, so that it outlives a change further up in the file.
pub fn lasting(name: &str) -> String {
    let mut parts = name.splitn(4, ':');
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(file), Some(_), Some(_), Some(rest)) => format!("{file}:{rest}"),
        _ => name.to_owned(),
    }
}

/// All mutants of both crates, or those whose names fit one of the expressions.
pub fn list(place: &Place, expressions: &[String]) -> Result<Vec<Mutant>, Words> {
    let mut command = Command::new("cargo");
    command.args(["mutants", "--list", "--json", "-p", "sublet-core", "-p", "sublet-ledger"]);
    for expression in expressions {
        command.args(["--re", expression]);
    }
    let listed = run(command.current_dir(place.plain()))?;
    let listed: Value = serde_json::from_slice(&listed).map_err(|e| e.to_string())?;
    let listed = listed.as_array().ok_or("cargo-mutants lists no mutants")?;
    Ok(listed.iter().zip(1..).map(|(one, number)| read(one, number)).collect())
}

fn read(one: &Value, number: u32) -> Mutant {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let position = |value: &Value| Position {
        line: value["line"].as_u64().unwrap_or_default() as usize,
        column: value["column"].as_u64().unwrap_or_default() as usize,
    };
    Mutant {
        number,
        name: text(&one["name"]),
        file: text(&one["file"]),
        genre: text(&one["genre"]),
        replacement: text(&one["replacement"]),
        function: text(&one["function"]["function_name"]),
        start: position(&one["span"]["start"]),
        end: position(&one["span"]["end"]),
    }
}
