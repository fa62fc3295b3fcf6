//! Mutation testing of core and ledger: all mutants in one build, each met by the tests that reach it.
//! `tests/mutants/run` says how it is used.
#![expect(clippy::disallowed_methods, reason = "a tool of its own: it measures time")]

mod alone;
mod compile;
mod instrument;
mod list;
mod place;
mod report;
mod text;
mod trial;

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use compile::{Compiler, Out};
use list::Mutant;
use place::{Notes, Place};
use report::Report;
use trial::{Pass, Trial, Verdict};

/// Why it ends before its time.
pub type Words = Box<dyn std::error::Error + Send + Sync>;

/// As many alone are given to cargo-mutants at a time: so many are lost if it is killed.
const TOGETHER: usize = 24;

/// No verdict yet: slow tests are left.
const LEFT: &str = "left";

fn main() -> ExitCode {
    match work() {
        Ok(()) => ExitCode::SUCCESS,
        Err(words) => {
            eprintln!("{words}");
            ExitCode::FAILURE
        }
    }
}

/// One line of progress.
pub fn say(words: &str) {
    eprintln!("mutants: {words}");
}

/// Runs a command for what it prints.
pub fn run(command: &mut Command) -> Result<Vec<u8>, Words> {
    let output = command.stderr(Stdio::inherit()).output()?;
    match output.status.success() {
        true => Ok(output.stdout),
        false => Err(format!("this fails: {command:?}").into()),
    }
}

/// What the command line and the environment ask for.
struct Asked {
    top: PathBuf,
    home: PathBuf,
    work: PathBuf,
    commit: String,
    jobs: usize,
    again: bool,
    sum: bool,
    built: bool,
    check: usize,
    expressions: Vec<String>,
}

fn asked() -> Result<Asked, Words> {
    let top = run(Command::new("git").args(["rev-parse", "--show-toplevel"]))?;
    let top = PathBuf::from(String::from_utf8_lossy(&top).trim());
    let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let revision = set("COMMIT").unwrap_or_else(|| "HEAD".to_owned());
    let commit =
        run(Command::new("git").args(["rev-parse", "--short=12", &revision]).current_dir(&top))?;
    let work = set("WORK").map_or_else(|| top.join("target/mutants"), PathBuf::from);
    let mut asked = Asked {
        home: top.join("tests/mutants"),
        work: std::path::absolute(work)?,
        commit: String::from_utf8_lossy(&commit).trim().to_owned(),
        jobs: set("JOBS").map_or(Ok(2), |jobs| jobs.parse())?,
        top,
        again: false,
        sum: false,
        built: false,
        check: 0,
        expressions: Vec::new(),
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--again" => asked.again = true,
            "--sum" => asked.sum = true,
            "--built" => asked.built = true,
            "--check" => asked.check = arguments.next().ok_or("--check how many?")?.parse()?,
            _ if argument.starts_with('-') => return Err("usage: tests/mutants/run says it".into()),
            _ => asked.expressions.push(argument),
        }
    }
    Ok(asked)
}

fn work() -> Result<(), Words> {
    let asked = asked()?;
    let report = Report::at(&asked.home);
    if asked.sum {
        print!("{}", report.sum()?);
        return Ok(());
    }
    let began = Instant::now();
    let place = Place::prepare(&asked.top, asked.work, &asked.commit)?;
    let verdicts = Notes::at(place.known("verdicts"));
    if asked.again {
        ["out", "reach", "verdicts"].iter().for_each(|name| Notes::at(place.known(name)).clear());
    }
    let all = list::list(&place, &[])?;
    let wanted: HashSet<String> =
        list::list(&place, &asked.expressions)?.into_iter().map(|mutant| mutant.name).collect();
    let mut compiler = Compiler::new(&place, &all);
    let binaries = compiler.build()?;
    let out = compiler.out;
    say(&format!(
        "built after {} s, {} of {} mutants",
        began.elapsed().as_secs(),
        all.len() - out.len(),
        all.len()
    ));
    let trial = Trial::reach(&place, binaries, asked.jobs)?;
    say(&format!("reached after {} s", began.elapsed().as_secs()));
    let mutants: Vec<&Mutant> = all.iter().filter(|mutant| wanted.contains(&mutant.name)).collect();
    if asked.check > 0 {
        return check(&place, &mutants, &out, &verdicts, asked.check);
    }
    try_all(&place, &trial, &mutants, &out, &verdicts, asked.jobs)?;
    say(&format!("tried after {} s", began.elapsed().as_secs()));
    leave_alone(&place, &mutants, &out, &verdicts, asked.built)?;
    let results = report::results(&asked.commit, &mutants, &words(&verdicts));
    if asked.expressions.is_empty() {
        report.write(&results)?;
        print!("{}", report.sum()?);
    } else {
        print!("{results}");
    }
    say(&format!("done after {} s", began.elapsed().as_secs()));
    Ok(())
}

/// The word of each mutant that has one.
fn words(verdicts: &Notes) -> HashMap<String, String> {
    let first = |(name, mut fields): (String, Vec<String>)| (name, fields.swap_remove(0));
    verdicts.by_name().into_iter().map(first).collect()
}

/// The mutants in the build that have no verdict yet, each against the tests that reach it: the quick ones for
/// all of them first.
fn try_all(
    place: &Place,
    trial: &Trial,
    mutants: &[&Mutant],
    out: &HashMap<u32, Out>,
    verdicts: &Notes,
    jobs: usize,
) -> Result<(), Words> {
    // What noticed a mutant before, or the last one of the function or file, is likely to notice it now.
    let lately: Mutex<HashMap<String, String>> = Mutex::default();
    let before = place.caught_by();
    for pass in [Pass::Quick, Pass::Slow] {
        let known = words(verdicts);
        let is_open = |mutant: &&&Mutant| {
            let word = known.get(&mutant.name).map(String::as_str);
            !out.contains_key(&mutant.number)
                && (word.is_none() || (word == Some(LEFT) && pass == Pass::Slow))
        };
        let open: Vec<&Mutant> = mutants.iter().filter(is_open).copied().collect();
        say(&format!("{} mutants to be tried by the {pass:?} tests", open.len()));
        let done = AtomicUsize::new(0);
        in_parallel(jobs, &open, |worker, mutant| {
            let near = [format!("{} {}", mutant.file, mutant.function), mutant.file.clone()];
            let mut first =
                vec![before.get(&list::lasting(&mutant.name)).cloned().unwrap_or_default()];
            if let Ok(lately) = lately.lock() {
                first.extend(near.iter().filter_map(|at| lately.get(at).cloned()));
            }
            let said = place.scratch(&format!("said-{worker}"));
            let (word, what) = match trial.judge(mutant.number, pass, &first, &said)? {
                Some(Verdict::Caught(test)) => ("caught", test),
                Some(Verdict::TimedOut(test)) => ("timeout", test),
                Some(Verdict::Missed(tests)) => ("missed", format!("by {tests} tests")),
                None => (LEFT, String::new()),
            };
            if let (Ok(mut lately), "caught") = (lately.lock(), word) {
                lately.extend(near.map(|at| (at, what.clone())));
            }
            let done = done.fetch_add(1, Ordering::Relaxed) + 1;
            if done.is_multiple_of(200) {
                say(&format!("{done} tried"));
            }
            verdicts.add(&[&mutant.name, word, &what])
        })?;
    }
    Ok(())
}

/// The mutants that are not in the build: what does not compile is unviable, the others go to cargo-mutants.
fn leave_alone(
    place: &Place,
    mutants: &[&Mutant],
    out: &HashMap<u32, Out>,
    verdicts: &Notes,
    built: bool,
) -> Result<(), Words> {
    let known = words(verdicts);
    let open = mutants.iter().filter(|mutant| !known.contains_key(&mutant.name));
    let mut alone = Vec::new();
    for mutant in open {
        match out.get(&mutant.number) {
            Some(Out::Unviable) => verdicts.add(&[&mutant.name, "unviable", "the one build"])?,
            Some(Out::Alone) => alone.push(mutant.name.as_str()),
            None => {}
        }
    }
    if built {
        say(&format!("{} mutants are left to be tried alone", alone.len()));
        return Ok(());
    }
    say(&format!("{} mutants are tried alone", alone.len()));
    for names in alone.chunks(TOGETHER) {
        for (name, word) in alone::judge(place, names)? {
            verdicts.add(&[&name, &word, "alone"])?;
        }
    }
    Ok(())
}

/// Asks cargo-mutants about some that have a verdict of the one build, and tells where it says otherwise.
fn check(
    place: &Place,
    mutants: &[&Mutant],
    out: &HashMap<u32, Out>,
    verdicts: &Notes,
    many: usize,
) -> Result<(), Words> {
    let known = words(verdicts);
    let by_the_build = |mutant: &&&Mutant| {
        out.get(&mutant.number) != Some(&Out::Alone) && known.contains_key(&mutant.name)
    };
    let mut drawn: Vec<&str> =
        mutants.iter().filter(by_the_build).map(|mutant| mutant.name.as_str()).collect();
    let seed =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_nanos() as u64;
    let mixed = |at: usize| {
        (at as u64 ^ seed)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .rotate_left(29)
            .wrapping_mul(seed | 1)
    };
    let mut order: Vec<usize> = (0..drawn.len()).collect();
    order.sort_by_key(|at| mixed(*at));
    drawn = order.into_iter().take(many).map(|at| drawn[at]).collect();
    for (name, word) in alone::judge(place, &drawn)? {
        let ours = &known[&name];
        let same = if *ours == word { "same" } else { "OTHERWISE" };
        println!("{same} {ours} {word} {name}");
    }
    Ok(())
}

/// Does the work for each item, some at a time. The first that fails ends it.
pub fn in_parallel<T: Sync>(
    jobs: usize,
    items: &[T],
    work: impl Fn(usize, &T) -> Result<(), Words> + Sync,
) -> Result<(), Words> {
    let next = AtomicUsize::new(0);
    let worker = |number: usize| {
        while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
            if let Err(words) = work(number, item) {
                next.store(items.len(), Ordering::Relaxed);
                return Err(words);
            }
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..jobs).map(|number| scope.spawn(move || worker(number))).collect();
        workers.into_iter().try_for_each(|one| one.join().map_err(|_| "a worker panicked")?)
    })
}
