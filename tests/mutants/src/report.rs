//! What came of it, in words: `results.txt`, and the sum with what is explained.
use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use crate::Words;
use crate::list::{Mutant, lasting};

/// The two files beside the command.
pub struct Report {
    results: PathBuf,
    explained: PathBuf,
}

/// How many of a crate, by word.
#[derive(Default)]
struct Count {
    caught: usize,
    timeout: usize,
    missed: usize,
    unviable: usize,
    untried: usize,
}

impl Count {
    fn add(&mut self, word: &str) {
        *match word {
            "caught" => &mut self.caught,
            "timeout" => &mut self.timeout,
            "missed" => &mut self.missed,
            "unviable" => &mut self.unviable,
            _ => &mut self.untried,
        } += 1;
    }

    fn line(&self, of: &str) -> String {
        let Count { caught, timeout, missed, unviable, untried } = self;
        let viable = caught + timeout + missed;
        let share = 100.0 * (caught + timeout) as f64 / viable.max(1) as f64;
        format!(
            "{of}: {} mutants, {caught} caught, {timeout} timed out, {missed} missed, {unviable} unviable, \
             {untried} untried; {share:.1} % of the viable ones are caught\n",
            viable + unviable + untried
        )
    }
}

/// The results as text: counts, then a line for each mutant that was missed or timed out.
pub fn results(commit: &str, mutants: &[&Mutant], verdicts: &HashMap<String, String>) -> String {
    let mut counts: Vec<(&str, Count)> =
        ["all", "core", "ledger"].map(|of| (of, Count::default())).into();
    let mut lines = String::new();
    for mutant in mutants {
        let word = verdicts.get(&mutant.name).map_or("untried", String::as_str);
        for (of, count) in &mut counts {
            if *of == "all" || *of == mutant.house() {
                count.add(word);
            }
        }
        if ["missed", "timeout", "untried"].contains(&word) {
            let _ = writeln!(lines, "{word} {}", mutant.name);
        }
    }
    let counts: String = counts.iter().map(|(of, count)| count.line(of)).collect();
    format!("commit {commit}\n{counts}{lines}")
}

impl Report {
    /// In the directory of the command.
    pub fn at(home: &Path) -> Self {
        Report { results: home.join("results.txt"), explained: home.join("explained.txt") }
    }

    /// Keeps the results.
    pub fn write(&self, text: &str) -> Result<(), Words> {
        Ok(fs::write(&self.results, text)?)
    }

    /// The counts, and what is missed and not explained; what is explained and not missed, too.
    pub fn sum(&self) -> Result<String, Words> {
        let results = fs::read_to_string(&self.results).map_err(|_| "there are no results yet")?;
        let explained = fs::read_to_string(&self.explained).unwrap_or_default();
        Ok(sum(&results, &explained))
    }
}

/// One line explains one mutant: a second of the same name needs a second line.
fn sum(results: &str, explained: &str) -> String {
    let mut open: HashMap<&str, usize> = HashMap::new();
    let named = explained.lines().filter_map(|line| line.split_once(" — "));
    for (name, _) in named {
        *open.entry(name).or_default() += 1;
    }
    let (mut text, mut unexplained, mut excused) = (String::new(), Vec::new(), 0);
    for line in results.lines() {
        let Some(name) = line.strip_prefix("missed ") else {
            if !line.starts_with("timeout ") && !line.starts_with("untried ") {
                let _ = writeln!(text, "{line}");
            }
            continue;
        };
        match open.get_mut(lasting(name).as_str()).filter(|left| **left > 0) {
            Some(left) => (*left, excused) = (*left - 1, excused + 1),
            None => unexplained.push(name),
        }
    }
    let _ = writeln!(
        text,
        "missed and explained: {excused}; missed and not explained: {}",
        unexplained.len()
    );
    for name in unexplained {
        let _ = writeln!(text, "  {name}");
    }
    let mut stale: Vec<&str> =
        open.into_iter().filter(|(_, left)| *left > 0).map(|(name, _)| name).collect();
    stale.sort_unstable();
    for name in stale {
        let _ = writeln!(text, "explained and not missed: {name}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_explains_one_mutant() {
        let results =
            "commit 1\nmissed a/b.rs:1:2: replace x::y\nmissed a/b.rs:3:4: replace x::y\ntimeout c";
        let said = sum(results, "# why\na/b.rs: replace x::y — it is the same\nz — gone\n");
        assert_eq!(
            said,
            "commit 1\nmissed and explained: 1; missed and not explained: 1\n  a/b.rs:3:4: replace x::y\n\
             explained and not missed: z\n"
        );
    }
}
