//! Which tests reach which mutants, and what becomes of a mutant when they are run.
use std::collections::{HashMap, HashSet};
use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::compile::Binary;
use crate::place::{Notes, Place};
use crate::{Words, in_parallel, say};

/// What a test process may take of memory, in KiB: a mutant that fills it without end must not fill the machine.
const MEMORY_KIB: &str = "6000000";
/// Of a processor, so that a busy machine makes no test late: at least so much, and so many times what the test
/// took without a mutant.
const SECONDS_AT_LEAST: u64 = 3;
const TIMES_ITS_OWN: u32 = 5;
/// By the clock a test that waits for ever gets so many times that.
const BY_THE_CLOCK: u32 = 40;
/// Random cases of each law, a quarter of what `cargo test` draws: what is caught by these is caught by those.
const LAW_CASES: &str = "64";
/// Tests that take less are quick.
const QUICK: Duration = Duration::from_millis(150);
const BATCH: usize = 40;
const FIRST: usize = 6;
const SIGKILL: i32 = 9;
const SIGXCPU: i32 = 24;

/// One test, what it took, and what it reached.
pub struct Test {
    binary: usize,
    name: String,
    took: Duration,
}

/// How a process of tests ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Passed,
    Failed,
    TimedOut,
}

/// What the tests say of a mutant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// This test noticed it.
    Caught(String),
    /// This test did not end.
    TimedOut(String),
    /// Tests reach it and none noticed; how many.
    Missed(usize),
}

/// The tests that are run, of those that reach a mutant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    /// The quick ones, many in a process: most mutants are caught by these.
    Quick,
    /// The others, one by one.
    Slow,
}

/// All tests, and for each mutant those that reach it, quickest first.
pub struct Trial {
    binaries: Vec<Binary>,
    tests: Vec<Test>,
    reached_by: HashMap<u32, Vec<usize>>,
}

impl Trial {
    /// Runs each test alone once, unless that is known.
    pub fn reach(place: &Place, binaries: Vec<Binary>, jobs: usize) -> Result<Self, Words> {
        let notes = Notes::at(place.known("reach"));
        let mut listed = Vec::new();
        for (at, binary) in binaries.iter().enumerate() {
            listed.extend(names(binary)?.into_iter().map(|name| (at, name)));
        }
        let known: HashSet<(String, String)> =
            notes.read().into_iter().map(|line| (line[0].clone(), line[1].clone())).collect();
        let new = |(at, name): &&(usize, String)| {
            !known.contains(&(binaries[*at].name.clone(), name.clone()))
        };
        let new: Vec<&(usize, String)> = listed.iter().filter(new).collect();
        say(&format!(
            "{} tests in {} binaries, {} to be run once",
            listed.len(),
            binaries.len(),
            new.len()
        ));
        in_parallel(jobs, &new, |worker, (at, name)| {
            let file = place.scratch(&format!("reached-{worker}"));
            let (took, reached) = run_once(&binaries[*at], name, &file)?;
            notes.add(&[&binaries[*at].name, name, &took.as_millis().to_string(), &reached])
        })?;
        Ok(Trial::of(&notes, binaries, &listed))
    }

    fn of(notes: &Notes, binaries: Vec<Binary>, listed: &[(usize, String)]) -> Self {
        let mut trial = Trial { binaries, tests: Vec::new(), reached_by: HashMap::new() };
        let mut lines: Vec<(u64, Vec<String>)> =
            notes.read().into_iter().map(|line| (line[2].parse().unwrap_or(0), line)).collect();
        lines.sort();
        for (took, line) in lines {
            let listed = listed
                .iter()
                .find(|(at, name)| trial.binaries[*at].name == line[0] && *name == line[1]);
            let Some((binary, name)) = listed else { continue };
            let test =
                Test { binary: *binary, name: name.clone(), took: Duration::from_millis(took) };
            for number in line[3].split(' ').filter_map(|number| number.parse().ok()) {
                trial.reached_by.entry(number).or_default().push(trial.tests.len());
            }
            trial.tests.push(test);
        }
        trial
    }

    /// Runs tests that reach the mutant until one fails; `None` if slow ones are left. Those of `first` go first,
    /// and the first of them is none of the slow.
    pub fn judge(
        &self,
        number: u32,
        pass: Pass,
        first: &[String],
        said: &Path,
    ) -> Result<Option<Verdict>, Words> {
        let Some(reached_by) = self.reached_by.get(&number) else {
            return Ok(Some(Verdict::Missed(0)));
        };
        let mut order = reached_by.clone();
        order.sort_by_key(|test| {
            first.iter().position(|one| *one == self.title(*test)).unwrap_or(usize::MAX)
        });
        let is_quick = |test: &usize| {
            self.tests[*test].took < QUICK || first.first() == Some(&self.title(*test))
        };
        let (quick, slow): (Vec<usize>, Vec<usize>) = order.into_iter().partition(is_quick);
        let steps = match pass {
            Pass::Quick => self.batches(quick),
            Pass::Slow => slow.iter().map(|test| vec![*test]).collect(),
        };
        for tests in steps {
            if let Some(verdict) = self.try_out(number, &tests, said)? {
                return Ok(Some(verdict));
            }
        }
        let left = pass == Pass::Quick && !slow.is_empty();
        Ok((!left).then_some(Verdict::Missed(reached_by.len())))
    }

    /// What is run in one process each: the first few alone, the others together.
    fn batches(&self, mut tests: Vec<usize>) -> Vec<Vec<usize>> {
        let rest = tests.split_off(tests.len().min(FIRST));
        let mut batches: Vec<Vec<usize>> = tests.into_iter().map(|test| vec![test]).collect();
        for binary in 0..self.binaries.len() {
            let of_it: Vec<usize> =
                rest.iter().copied().filter(|test| self.tests[*test].binary == binary).collect();
            batches.extend(of_it.chunks(BATCH).map(<[usize]>::to_vec));
        }
        batches
    }

    fn title(&self, test: usize) -> String {
        let test = &self.tests[test];
        format!("{}::{}", self.binaries[test.binary].name, test.name)
    }

    fn try_out(&self, number: u32, tests: &[usize], said: &Path) -> Result<Option<Verdict>, Words> {
        let took: Duration = tests.iter().map(|test| self.tests[*test].took).sum();
        let binary = &self.binaries[self.tests[tests[0]].binary];
        let names: Vec<&str> = tests.iter().map(|test| self.tests[*test].name.as_str()).collect();
        let seconds = SECONDS_AT_LEAST.max((took * TIMES_ITS_OWN).as_secs());
        let mut command = process(binary, &names, seconds);
        command.env("MUTANT", number.to_string());
        command.stdout(fs::File::create(said)?).stderr(Stdio::null());
        let end = ended(command, Duration::from_secs(seconds) * BY_THE_CLOCK)?;
        let title = || Ok::<_, Words>(format!("{}::{}", binary.name, last_named(said)?));
        Ok(match end {
            End::Passed => None,
            End::Failed => Some(Verdict::Caught(title()?)),
            End::TimedOut => Some(Verdict::TimedOut(title()?)),
        })
    }
}

/// The test that failed, or else the last that began: a crash ends the report with it.
fn last_named(said: &Path) -> Result<String, Words> {
    let said = String::from_utf8_lossy(&fs::read(said)?).into_owned();
    let tests = said.lines().filter_map(|line| line.strip_prefix("test ")?.split_once(" ... "));
    let tests: Vec<(&str, &str)> = tests.collect();
    let failed = tests.iter().find(|(_, end)| *end == "FAILED").or(tests.last());
    Ok(failed.map_or_else(String::new, |(name, _)| (*name).to_owned()))
}

/// A process that runs these tests of the binary for so many seconds of a processor. The random ones are always
/// the same, and are not made smaller.
fn process(binary: &Binary, names: &[&str], seconds: u64) -> Command {
    let mut command = Command::new("sh");
    let limits = format!("ulimit -c 0 -v {MEMORY_KIB} -t {seconds}; exec \"$@\"");
    command.arg("-c").arg(limits).arg("sh");
    command.arg(&binary.path).args(["--test-threads=1", "--exact"]).args(names);
    command.current_dir(&binary.home).stdin(Stdio::null());
    command.env("PROPTEST_DISABLE_FAILURE_PERSISTENCE", "1").env("PROPTEST_MAX_SHRINK_ITERS", "0");
    command.env("PROPTEST_RNG_SEED", "1").env("RUST_BACKTRACE", "0");
    if std::env::var_os("SUBLET_LAW_CASES").is_none() {
        command.env("SUBLET_LAW_CASES", LAW_CASES);
    }
    command
}

fn ended(mut command: Command, limit: Duration) -> Result<End, Words> {
    let began = Instant::now();
    let mut child = command.spawn()?;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(match status.signal() {
                _ if status.success() => End::Passed,
                Some(SIGXCPU | SIGKILL) => End::TimedOut,
                _ => End::Failed,
            });
        }
        if began.elapsed() > limit {
            child.kill()?;
            child.wait()?;
            return Ok(End::TimedOut);
        }
        std::thread::sleep(Duration::from_millis(1).max(began.elapsed() / 20));
    }
}

/// Runs one test without any mutant: what it took, and the numbers of the mutants that it reached.
fn run_once(binary: &Binary, name: &str, notes: &Path) -> Result<(Duration, String), Words> {
    let _ = fs::remove_file(notes);
    let said = PathBuf::from(format!("{}.out", notes.display()));
    let mut command = process(binary, &[name], 600);
    command.env("MUTANT_REACH", notes).stdout(fs::File::create(&said)?).stderr(Stdio::null());
    let began = Instant::now();
    let end = ended(command, Duration::from_secs(1_800))?;
    let said = fs::read_to_string(&said).unwrap_or_default();
    if end != End::Passed || !said.contains("1 passed") {
        return Err(format!(
            "{} {name} must pass without any mutant and does not: {end:?}\n{said}",
            binary.name
        )
        .into());
    }
    let reached = fs::read_to_string(notes).unwrap_or_default();
    Ok((began.elapsed(), reached.split_whitespace().collect::<Vec<_>>().join(" ")))
}

fn names(binary: &Binary) -> Result<Vec<String>, Words> {
    let mut command = Command::new(&binary.path);
    let listed =
        crate::run(command.args(["--list", "--format", "terse"]).current_dir(&binary.home))?;
    let listed = String::from_utf8_lossy(&listed);
    Ok(listed.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned).collect())
}
