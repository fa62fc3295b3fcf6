//! Medians: of samples in a run, and of runs.

use std::hint::black_box;
use std::time::Instant;

/// Runs, interleaved over all that is measured.
pub(crate) const RUNS: usize = 5;

/// Samples in a run.
pub(crate) const SAMPLES: usize = 200;

/// Samples of one lane before the next has its turn: enough to be warm, few against drift.
const TURN: usize = 20;

/// One of several works that are measured beside each other. It is given the sample's number.
pub(crate) type Lane<'a> = Box<dyn FnMut(usize) + 'a>;

/// The median time of each lane's samples, in microseconds; the lanes take turns.
pub(crate) fn beside<const N: usize>(mut lanes: [Lane<'_>; N]) -> [f64; N] {
    let mut times = [const { Vec::new() }; N];
    for turn in (0..SAMPLES).step_by(TURN) {
        for (lane, times) in lanes.iter_mut().zip(&mut times) {
            for sample in turn..(turn + TURN).min(SAMPLES) {
                let start = Instant::now();
                lane(black_box(sample));
                times.push(start.elapsed().as_secs_f64() * 1e6);
            }
        }
    }
    times.map(median)
}

/// The median time of short work, done `times` in each sample, in microseconds.
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
