//! The one build. What does not compile is taken out and the rest is tried again, until it does.
//!
//! A mutant whose own words the compiler refuses would be refused alone too: it is unviable. One that fails
//! only because of what was written around it is left to cargo-mutants.
use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::ops::Range;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::instrument::instrument;
use crate::list::Mutant;
use crate::place::{Notes, Place, SUITES, write_if_new};
use crate::text::Written;
use crate::{Words, say};

const CRATES: [&str; 2] = ["core", "ledger"];
const SWITCH: &str = include_str!("switch.rs");
const IN_LIB: &str = "\nmod mutant_switch;\npub(crate) use mutant_switch::__mutant;\n";

/// Why a mutant is not in the build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Out {
    /// It does not compile.
    Unviable,
    /// It cannot stand beside the others.
    Alone,
}

/// A test binary.
#[derive(Clone, Debug)]
pub struct Binary {
    /// The name of its target.
    pub name: String,
    /// The file.
    pub path: PathBuf,
    /// The directory in which its tests are run.
    pub home: PathBuf,
}

/// The mutants of the list, and which of them are not in the build.
pub struct Compiler<'a> {
    place: &'a Place,
    mutants: &'a [Mutant],
    /// By number.
    pub out: HashMap<u32, Out>,
    notes: Notes,
}

impl<'a> Compiler<'a> {
    /// With what is known from before.
    pub fn new(place: &'a Place, mutants: &'a [Mutant]) -> Self {
        let notes = Notes::at(place.known("out"));
        let known = notes.by_name();
        let why = |mutant: &Mutant| match known.get(&mutant.name)?.first()?.as_str() {
            "unviable" => Some((mutant.number, Out::Unviable)),
            _ => Some((mutant.number, Out::Alone)),
        };
        Compiler { place, mutants, out: mutants.iter().filter_map(why).collect(), notes }
    }

    /// Builds, taking out what does not compile.
    pub fn build(&mut self) -> Result<Vec<Binary>, Words> {
        loop {
            let written = self.write()?;
            let (checked, _) = self.cargo(&[
                "check",
                "--keep-going",
                "-p",
                "sublet-core",
                "-p",
                "sublet-ledger",
                "--lib",
            ])?;
            if self.take_out(&checked, &written)? {
                continue;
            }
            let suites = SUITES.map(|suite| format!("--test={suite}"));
            let mut arguments =
                vec!["test", "--no-run", "-p", "sublet-core", "-p", "sublet-ledger"];
            arguments.extend(["-p", "sublet-tests", "--lib"]);
            arguments.extend(suites.iter().map(String::as_str));
            let (built, whole) = self.cargo(&arguments)?;
            if self.take_out(&built, &written)? {
                continue;
            }
            if !whole {
                return Err("the build fails, and no mutant is named".into());
            }
            return Ok(built.iter().filter_map(binary).collect());
        }
    }

    /// Writes all that are not out, by file.
    fn write(&mut self) -> Result<HashMap<String, Written>, Words> {
        let mut files: HashMap<&str, Vec<&Mutant>> = HashMap::new();
        for mutant in self.mutants {
            let of_file = files.entry(&mutant.file).or_default();
            if !self.out.contains_key(&mutant.number) {
                of_file.push(mutant);
            }
        }
        for house in CRATES {
            write_if_new(&self.place.tree().join(house).join("src/mutant_switch.rs"), SWITCH)?;
            let lib = format!("{house}/src/lib.rs");
            if !files.contains_key(lib.as_str()) {
                let text = fs::read_to_string(self.place.plain().join(&lib))? + IN_LIB;
                write_if_new(&self.place.tree().join(&lib), &text)?;
            }
        }
        let mut written = HashMap::new();
        let mut left_out = Vec::new();
        for (file, mutants) in files {
            let text = fs::read_to_string(self.place.plain().join(file))?;
            let (mut one, left) =
                instrument(&text, &mutants).map_err(|e| format!("{file}: {e}"))?;
            if file.ends_with("src/lib.rs") {
                one.text += IN_LIB;
            }
            write_if_new(&self.place.tree().join(file), &one.text)?;
            written.insert(file.to_owned(), one);
            left_out.extend(left);
        }
        for number in left_out {
            self.leave(number, Out::Alone, "no place")?;
        }
        Ok(written)
    }

    fn leave(&mut self, number: u32, why: Out, said: &str) -> Result<(), Words> {
        let word = if why == Out::Unviable { "unviable" } else { "alone" };
        self.out.insert(number, why);
        self.notes.add(&[&self.mutants[number as usize - 1].name, word, said])
    }

    fn cargo(&self, arguments: &[&str]) -> Result<(Vec<Value>, bool), Words> {
        let mut command = Command::new("cargo");
        command.args(arguments).arg("--message-format=json");
        command.current_dir(self.place.tree()).env("CARGO_TARGET_DIR", self.place.build());
        command.env("CARGO_PROFILE_DEV_OPT_LEVEL", "1");
        let output = command.stderr(Stdio::inherit()).output()?;
        let lines = output.stdout.split(|byte| *byte == b'\n');
        let messages = lines.filter_map(|line| serde_json::from_slice(line).ok());
        Ok((messages.collect(), output.status.success()))
    }

    /// Takes out whatever an error is about; says whether there was any.
    fn take_out(
        &mut self,
        messages: &[Value],
        written: &HashMap<String, Written>,
    ) -> Result<bool, Words> {
        let mut found = BTreeSet::new();
        for message in messages {
            let error = &message["message"];
            if error["level"] != "error" || error["spans"].as_array().is_none_or(Vec::is_empty) {
                continue;
            }
            let blamed = blame(error, written);
            if blamed.is_empty() {
                return Err(
                    format!("no mutant is to blame for this:\n{}", error["rendered"]).into()
                );
            }
            let said = error["message"].as_str().unwrap_or_default().replace(['\n', '\t'], " ");
            found.extend(
                blamed.into_iter().map(|(number, unviable)| (number, !unviable, said.clone())),
            );
        }
        let before = self.out.len();
        for (number, alone, said) in &found {
            if !self.out.contains_key(number) {
                self.leave(*number, if *alone { Out::Alone } else { Out::Unviable }, said)?;
            }
        }
        let taken = self.out.len() - before;
        if taken > 0 {
            say(&format!("{taken} mutants do not compile, {} in all", self.out.len()));
        }
        Ok(taken > 0)
    }
}

/// The mutants that an error is about, and whether it is about their own words.
fn blame(error: &Value, written: &HashMap<String, Written>) -> Vec<(u32, bool)> {
    let spans = error["spans"].as_array().map_or(&[][..], Vec::as_slice);
    let (first, others): (Vec<&Value>, Vec<&Value>) =
        spans.iter().partition(|span| span["is_primary"] == true);
    let in_words = |spans: &[&Value]| -> Vec<u32> {
        let places = spans.iter().filter_map(|span| locate(span, written));
        places.flat_map(|(file, range)| words_at(file, &range)).collect()
    };
    let own = in_words(&first);
    if !own.is_empty() {
        return own.into_iter().map(|number| (number, true)).collect();
    }
    let named = in_words(&others);
    if !named.is_empty() {
        return named.into_iter().map(|number| (number, false)).collect();
    }
    let around = first.iter().filter_map(|span| locate(span, written));
    let around = around.flat_map(|(file, range)| site_around(file, &range));
    around.map(|number| (number, false)).collect()
}

/// The place in an instrumented file, looking out of macros.
fn locate<'w>(
    span: &Value,
    written: &'w HashMap<String, Written>,
) -> Option<(&'w Written, Range<usize>)> {
    let file = span["file_name"].as_str().and_then(|name| written.get(name));
    let Some(file) = file else {
        let outer = &span["expansion"]["span"];
        return if outer.is_object() { locate(outer, written) } else { None };
    };
    let offset = |name: &str| span[name].as_u64().map(|offset| offset as usize);
    Some((file, offset("byte_start")?..offset("byte_end")?))
}

fn within(inner: &Range<usize>, outer: &Range<usize>) -> bool {
    outer.start <= inner.start && inner.end <= outer.end
}

fn words_at(file: &Written, range: &Range<usize>) -> Vec<u32> {
    let words = file.words.iter().filter(|(words, _)| within(range, words));
    words.map(|(_, number)| *number).collect()
}

/// The mutants of the smallest site that holds the range.
fn site_around(file: &Written, range: &Range<usize>) -> Vec<u32> {
    let sites = file.sites.iter().filter(|(site, _)| within(range, site));
    sites.min_by_key(|(site, _)| site.len()).map(|(_, mutants)| mutants.clone()).unwrap_or_default()
}

fn binary(message: &Value) -> Option<Binary> {
    let path = PathBuf::from(message["executable"].as_str()?);
    if message["profile"]["test"] != true {
        return None;
    }
    let manifest = PathBuf::from(message["manifest_path"].as_str()?);
    let name = message["target"]["name"].as_str()?.to_owned();
    Some(Binary { name, path, home: manifest.parent()?.to_owned() })
}
