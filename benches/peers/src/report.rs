//! What is printed: a table, or an array of figures in JSON.

use crate::measure::median;

/// What the names do not say.
const NOTE: &str = "
Sublet and Tenuo: decoding, chain, proof of possession for this call, policy; Sublet also receipt,
revocation and replay. Both forms of biscuit: a bearer token, no possession is proven.
bytes: the token; presented: with all that is shown beside it (receipt, proof).";

/// One figure: its values in each run, and the bound that it shall keep.
pub(crate) struct Figure {
    name: String,
    unit: &'static str,
    bound: Option<f64>,
    runs: Vec<f64>,
}

/// Figures in the order in which they were first told.
#[derive(Default)]
pub(crate) struct Report(Vec<Figure>);

impl Report {
    /// One more run of a figure.
    pub(crate) fn add(&mut self, name: &str, unit: &'static str, bound: Option<f64>, value: f64) {
        match self.0.iter_mut().find(|figure| figure.name == name) {
            Some(figure) => figure.runs.push(value),
            None => {
                let runs = vec![value];
                self.0.push(Figure { name: name.to_owned(), unit, bound, runs });
            }
        }
    }

    pub(crate) fn json(&self) -> String {
        let figures = self.0.iter().map(|figure| {
            let value = (median(figure.runs.clone()) * 1000.0).round() / 1000.0;
            serde_json::json!({
                "figure": figure.name, "value": value, "unit": figure.unit, "bound": figure.bound,
            })
        });
        serde_json::Value::Array(figures.collect()).to_string()
    }

    pub(crate) fn table(&self) -> String {
        let mut lines = vec![format!("{:40} {:>10} {:6} {:>6}", "figure", "median", "", "bound")];
        for figure in &self.0 {
            let bound = figure.bound.map(|bound| bound.to_string()).unwrap_or_default();
            let value = median(figure.runs.clone());
            lines.push(format!("{:40} {value:>10.3} {:6} {bound:>6}", figure.name, figure.unit));
        }
        lines.push(NOTE.to_owned());
        lines.join("\n")
    }
}
