//! Medians: of samples in a run, and of runs.

use std::hint::black_box;
use std::time::Instant;

/// Runs, interleaved over all that is measured.
pub(crate) const RUNS: usize = 5;

/// Samples in a run.
pub(crate) const SAMPLES: usize = 200;

/// The median time of one call over these inputs, in microseconds.
pub(crate) fn each<I, O>(inputs: &[I], mut work: impl FnMut(&I) -> O) -> f64 {
    let time = |input| {
        let start = Instant::now();
        black_box(work(black_box(input)));
        start.elapsed().as_secs_f64() * 1e6
    };
    median(inputs.iter().map(time).collect())
}

/// The same of work that is done over and over, `times` in each sample.
pub(crate) fn many<O>(times: usize, mut work: impl FnMut() -> O) -> f64 {
    let sample = |()| {
        let start = Instant::now();
        for _ in 0..times {
            black_box(work());
        }
        start.elapsed().as_secs_f64() * 1e6 / times as f64
    };
    median(std::iter::repeat_n((), SAMPLES).map(sample).collect())
}

/// The middle of some numbers.
pub(crate) fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers.get(numbers.len() / 2).copied().unwrap_or(f64::NAN)
}
