//! Prints the steps of the demo and keeps their outcomes.

use serde_json::{Value, json};

use super::actor::Answer;

/// The outcome of one step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(super) name: &'static str,
    pub(super) expected: &'static str,
    pub(super) actual: String,
    code: String,
    detail: String,
}

/// Prints the steps as they happen, and keeps the outcomes.
pub(crate) struct Teller {
    pub(super) aloud: bool,
    pub(super) outcomes: Vec<Outcome>,
}

impl Teller {
    /// Prints a heading.
    pub(super) fn chapter(&self, text: &str) {
        if self.aloud {
            crate::print::line!("\n{text}");
        }
    }

    /// Prints a line that is not an outcome.
    pub(super) fn aside(&self, text: &str) {
        if self.aloud {
            crate::print::line!("     {text}");
        }
    }

    /// Keeps and prints the outcome of one step.
    pub(super) fn step(&mut self, name: &'static str, expected: &'static str, answer: &Answer) {
        let outcome = Outcome {
            name,
            expected,
            actual: answer.actual.clone(),
            code: answer.code.clone(),
            detail: answer.detail.clone(),
        };
        if self.aloud {
            let mark = if outcome.actual == expected { "✓" } else { "✗ UNEXPECTED" };
            let code = if outcome.code.is_empty() {
                String::new()
            } else {
                format!(" [{}]", outcome.code)
            };
            crate::print::line!("  {mark} {name}: {}{code}", outcome.actual);
            if !outcome.detail.is_empty() {
                crate::print::line!("     {}", outcome.detail);
            }
        }
        self.outcomes.push(outcome);
    }

    pub(super) fn ok(&self) -> bool {
        !self.outcomes.is_empty()
            && self.outcomes.iter().all(|outcome| outcome.actual == outcome.expected)
    }

    pub(super) fn value(&self) -> Value {
        let outcome = |o: &Outcome| json!({"name": o.name, "expected": o.expected, "actual": o.actual, "code": o.code, "says": o.detail});
        json!({"ok": self.ok(), "outcomes": self.outcomes.iter().map(outcome).collect::<Vec<_>>()})
    }
}
