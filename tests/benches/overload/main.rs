//! A broker that is asked for more than it can do. docs/BENCHMARKS, "Overload"; RELIABILITY, "Overload".
//!
//! The broker runs on core 0, this process on core 1. Twenty agents ask for hops to be recorded, each on a
//! connection of its own, with requests that were signed beforehand. First in a closed loop: the peak. Then at
//! three and at ten times that peak, without waiting for answers; meanwhile an honest agent has two calls in
//! flight, the admin revokes and health is asked for, forty times a second each.
//!
//! `cargo bench -p sublet --bench overload`; SUBLET_OVERLOAD_RUNS (5) and SUBLET_OVERLOAD_SECONDS (4, of each
//! part) may be set.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a benchmark"
)]

mod fleet;
mod load;
#[path = "../../e2e/stage.rs"]
#[allow(dead_code, reason = "a part of it is for other tests")]
mod stage;

use std::collections::BTreeMap;
use std::time::Duration;

use fleet::{AGENTS, Fleet};
use rustix::thread::{CpuSet, sched_setaffinity};

/// Requests in flight of each agent while the peak is measured: 100 in all.
const PEAK_IN_FLIGHT: usize = 5;

/// More than the broker has been seen to do on one core, for what is signed before its peak is known.
const PEAK_GUESS: usize = 5_000;

fn pin(core: usize) {
    let mut set = CpuSet::new();
    set.set(core);
    sched_setaffinity(None, &set).unwrap();
}

fn number(name: &str, default: usize) -> usize {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn main() {
    let (runs, seconds) = (number("SUBLET_OVERLOAD_RUNS", 5), number("SUBLET_OVERLOAD_SECONDS", 4));
    let mut figures: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for round in 1..=runs {
        eprintln!("run {round} of {runs}");
        for (name, value) in run(Duration::from_secs(seconds as u64)) {
            figures.entry(name).or_default().push(value);
        }
    }
    println!("{:<44} {:>10}   each run", "figure", "median");
    for (name, mut values) in figures {
        let each: Vec<String> = values.iter().map(|value| format!("{value:.1}")).collect();
        values.sort_by(f64::total_cmp);
        println!("{name:<44} {:>10.1}   {}", values[values.len() / 2], each.join(" "));
    }
}

/// One broker, its peak and two overloads.
fn run(time: Duration) -> Vec<(String, f64)> {
    pin(0);
    let stage = stage::Stage::set();
    pin(1);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let mut fleet = Fleet::enrolled(&stage).await;
        let mut figures = Vec::new();
        let seconds = time.as_secs_f64();

        let requests = fleet.prepare(PEAK_GUESS * time.as_secs() as usize / AGENTS).await;
        let before = Process::now(&stage);
        let peak = load::closed(&stage.endpoint, requests, PEAK_IN_FLIGHT, time).await;
        let used = Process::now(&stage).since(&before);
        let peak_rate = peak.good as f64 / seconds;
        let cost = used / peak.good.max(1) as f64;
        figures.push(("0 peak, hops a second".to_owned(), peak_rate));
        figures.push(("0 processor time of a hop, us".to_owned(), cost * 1e6));
        figures.push(("0 memory at the peak, MiB".to_owned(), Process::now(&stage).memory));

        let alone = fleet.honest(PEAK_GUESS * time.as_secs() as usize).await;
        let demand = load::honest(&stage.endpoint, alone, time).await.good as f64 / seconds;
        figures.push(("0 honest agent alone, hops a second".to_owned(), demand));
        let fair = demand.min(peak_rate / (AGENTS + 1) as f64);

        for times in [3, 10] {
            let of = |name: &str| format!("{times} times: {name}");
            let rate = peak_rate * f64::from(times);
            let requests = fleet.prepare((rate * seconds) as usize / AGENTS).await;
            let honest = fleet.honest((demand * seconds) as usize + 1_000).await;
            let before = Process::now(&stage);
            let flooded =
                load::flooded(&fleet, &stage.endpoint, requests, honest, rate, time).await;
            let after = Process::now(&stage);
            let (flood, honest) = (&flooded.flood, &flooded.honest);
            let good = (flood.good + honest.good) as f64;
            figures.extend([
                (of("offered, of the peak"), flood.offered as f64 / seconds / peak_rate),
                (of("goodput, % of the peak"), good / seconds / peak_rate * 100.0),
                (of("refused a second"), flood.refused as f64 / seconds),
                (of("not sent, as streams were full, a second"), flood.blocked as f64 / seconds),
                (of("failed otherwise"), flood.failed as f64),
                (
                    of("honest agent, % of its fair part"),
                    honest.good as f64 / seconds / fair * 100.0,
                ),
                (of("honest agent refused, a second"), honest.refused as f64 / seconds),
                (of("revoke p99, ms"), percentile(&flooded.revoke, 99)),
                (of("health p99, ms"), percentile(&flooded.health, 99)),
                (of("memory, MiB"), after.memory),
            ]);
            let beside = after.since(&before) - good * cost;
            let shed = beside / flood.refused.max(1) as f64 * 1e6;
            figures.push((of("processor time of a refused call, us"), shed));
        }
        figures
    })
}

/// The value that so many percent do not exceed, in milliseconds; that of the slowest of few.
fn percentile(sorted: &[Duration], percent: usize) -> f64 {
    let at = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
    sorted.get(at).map_or(f64::NAN, |time| time.as_secs_f64() * 1_000.0)
}

/// What the broker's process has used.
struct Process {
    seconds: f64,
    memory: f64,
}

impl Process {
    fn now(stage: &stage::Stage) -> Self {
        let read =
            |file: &str| std::fs::read_to_string(format!("/proc/{}/{file}", stage.pid())).unwrap();
        let stat = read("stat");
        // Behind the name: state is field 3, utime 14, stime 15, in ticks of 10 ms.
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        let ticks: f64 = [fields[11], fields[12]].iter().map(|f| f.parse::<f64>().unwrap()).sum();
        let status = read("status");
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        let kib: f64 = peak.split_whitespace().next().unwrap().parse().unwrap();
        Process { seconds: ticks / 100.0, memory: kib / 1024.0 }
    }

    fn since(&self, before: &Self) -> f64 {
        self.seconds - before.seconds
    }
}
