//! Where the work lies: two clones of the commit, a build, and what is known of it. Nobody's files are changed.
use std::collections::HashMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::list::lasting;
use crate::{Words, run};

/// The suites of `sublet-tests` that need no broker.
pub const SUITES: [&str; 5] = ["laws", "adversary", "biscuit_oracle", "decide", "vectors"];

/// What these suites do without, so that the broker and the client are not built.
const UNUSED: [&str; 10] = [
    "sublet-broker",
    "sublet-client",
    "sublet-ledger",
    "sled",
    "criterion",
    "rcgen",
    "jsonwebtoken",
    "tokio",
    "tempfile",
    "prost",
];
const WITH_CLIENT: [&str; 3] = ["mod jwt;", "mod federated_domain;", "mod certificate;"];

/// The directory of all that is written.
pub struct Place {
    work: PathBuf,
    /// The commit, twelve digits of it.
    pub commit: String,
}

impl Place {
    /// Clones the commit twice, unless that is done.
    pub fn prepare(top: &Path, work: PathBuf, commit: &str) -> Result<Self, Words> {
        let place = Place { work, commit: commit.to_owned() };
        fs::create_dir_all(place.known(""))?;
        for tree in [place.plain(), place.tree()] {
            clone(top, &tree, commit)?;
        }
        // A run that was killed may have left a mutant in it.
        run(Command::new("git")
            .args(["checkout", "--quiet", "--", "core", "ledger"])
            .current_dir(place.plain()))?;
        Ok(place)
    }

    /// The clone that stays as it is, but for cargo-mutants.
    pub fn plain(&self) -> PathBuf {
        self.work.join("plain")
    }

    /// The clone with all mutants in it.
    pub fn tree(&self) -> PathBuf {
        self.work.join("tree")
    }

    /// The target directory of both.
    pub fn build(&self) -> PathBuf {
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| self.work.join("build"), PathBuf::from)
    }

    /// A file of what is known about the commit.
    pub fn known(&self, name: &str) -> PathBuf {
        self.work.join("known").join(&self.commit).join(name)
    }

    /// By which test a mutant was caught at any commit, by its lasting name.
    pub fn caught_by(&self) -> HashMap<String, String> {
        let mut caught = HashMap::new();
        for commit in fs::read_dir(self.work.join("known")).into_iter().flatten().flatten() {
            for line in Notes::at(commit.path().join("verdicts")).read() {
                if let [name, word, test] = line.as_slice()
                    && word == "caught"
                {
                    caught.insert(lasting(name), test.clone());
                }
            }
        }
        caught
    }

    /// A file that is thrown away.
    pub fn scratch(&self, name: &str) -> PathBuf {
        self.work.join(name)
    }
}

fn clone(top: &Path, tree: &Path, commit: &str) -> Result<(), Words> {
    let git = |arguments: &[&str]| run(Command::new("git").args(arguments).current_dir(tree));
    if !tree.join(".git").exists() {
        run(Command::new("git")
            .args(["clone", "--quiet", "--shared", "--no-checkout"])
            .arg(top)
            .arg(tree))?;
    } else if String::from_utf8_lossy(&git(&["rev-parse", "HEAD"])?).starts_with(commit) {
        return Ok(());
    }
    git(&["checkout", "--quiet", "--force", "--detach", commit])?;
    cut_down(tree)
}

/// `sublet-tests` with the suites that need no broker, and what these need.
fn cut_down(tree: &Path) -> Result<(), Words> {
    let manifest = tree.join("tests/Cargo.toml");
    let text = fs::read_to_string(&manifest)?;
    let kept = text.split("\n\n").filter(|part| {
        let suite = part.starts_with("[[test]]");
        let wanted = SUITES.iter().any(|suite| part.contains(&format!("\"{suite}\"")));
        !part.starts_with("[[bench") && (!suite || wanted)
    });
    let kept = kept.collect::<Vec<_>>().join("\n\n");
    let used = |line: &&str| {
        let name = line.split(['.', ' ']).next().unwrap_or_default();
        !UNUSED.contains(&name)
    };
    write_if_new(&manifest, &(kept.lines().filter(used).collect::<Vec<_>>().join("\n") + "\n"))?;
    let main = tree.join("tests/adversary/main.rs");
    let text = fs::read_to_string(&main)?;
    let kept = text.lines().filter(|line| !WITH_CLIENT.contains(line));
    write_if_new(&main, &(kept.collect::<Vec<_>>().join("\n") + "\n"))
}

/// Writes a file unless it says so already: what is not written is not built again.
pub fn write_if_new(path: &Path, text: &str) -> Result<(), Words> {
    if fs::read_to_string(path).is_ok_and(|there| there == text) {
        return Ok(());
    }
    Ok(fs::write(path, text)?)
}

/// Lines of fields with tabs between, kept in a file as they come.
pub struct Notes {
    path: PathBuf,
}

impl Notes {
    /// In this file.
    pub fn at(path: PathBuf) -> Self {
        Notes { path }
    }

    /// Every line that is whole.
    pub fn read(&self) -> Vec<Vec<String>> {
        let text = fs::read_to_string(&self.path).unwrap_or_default();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let fields = |line: &str| line.split('\t').map(str::to_owned).collect();
        whole.lines().map(fields).collect()
    }

    /// By the first field.
    pub fn by_name(&self) -> HashMap<String, Vec<String>> {
        self.read().into_iter().map(|mut line| (line.remove(0), line)).collect()
    }

    /// One more.
    pub fn add(&self, fields: &[&str]) -> Result<(), Words> {
        let mut file = fs::File::options().create(true).append(true).open(&self.path)?;
        Ok(file.write_all((fields.join("\t") + "\n").as_bytes())?)
    }

    /// Forgets all.
    pub fn clear(&self) {
        let _ = fs::remove_file(&self.path);
    }
}
