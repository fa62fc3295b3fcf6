//! Tells the story of the demo as it happens, and counts what came of each step.

use serde_json::{Value, json};

use super::actor::Answer;

/// What came of one step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(super) name: &'static str,
    pub(super) expected: &'static str,
    pub(super) actual: String,
    code: String,
    detail: String,
}

/// Tells the story as it happens, and keeps the outcomes.
pub(crate) struct Teller {
    pub(super) aloud: bool,
    pub(super) outcomes: Vec<Outcome>,
}

impl Teller {
    /// A heading.
    pub(super) fn chapter(&self, text: &str) {
        if self.aloud {
            crate::print::line!("\n{text}");
        }
    }

    /// A line that is no outcome.
    pub(super) fn aside(&self, text: &str) {
        if self.aloud {
            crate::print::line!("     {text}");
        }
    }

    /// One step: what was expected, what came.
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
