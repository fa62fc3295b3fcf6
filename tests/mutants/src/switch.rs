//! The switch: written into each instrumented crate. It asks the environment once which mutant is chosen
//! (`MUTANT`), or notes in a file which ones a test reaches (`MUTANT_REACH`).
use std::fs::File;
use std::io::Write as _;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};

const UNREAD: u32 = u32::MAX;
const NOTING: u32 = u32::MAX - 1;

static CHOSEN: AtomicU32 = AtomicU32::new(UNREAD);
static REACHED: [AtomicBool; 32_768] = [const { AtomicBool::new(false) }; 32_768];
static NOTES: OnceLock<File> = OnceLock::new();

/// Whether this mutant is the chosen one. They count from 1.
#[inline(always)]
pub(crate) fn __mutant(number: u32) -> bool {
    let chosen = CHOSEN.load(Relaxed);
    if chosen < NOTING { chosen == number } else { rarely(number, chosen) }
}

#[cold]
#[inline(never)]
fn rarely(number: u32, chosen: u32) -> bool {
    if chosen == UNREAD {
        let notes = std::env::var_os("MUTANT_REACH");
        let named = std::env::var("MUTANT").ok().and_then(|text| text.parse().ok());
        CHOSEN.store(if notes.is_some() { NOTING } else { named.unwrap_or(0) }, Relaxed);
        return __mutant(number);
    }
    if !REACHED[number as usize].swap(true, Relaxed) {
        let notes = NOTES.get_or_init(|| {
            let path = std::env::var_os("MUTANT_REACH").unwrap_or_default();
            File::options().create(true).append(true).open(path).expect("the notes open")
        });
        let mut notes = notes;
        notes.write_all(format!("{number}\n").as_bytes()).expect("the notes are written");
    }
    false
}

/// What a function gives that says `impl Iterator`: both its own and a mutant's are of one type.
pub(crate) enum Either<A, B> {
    Changed(A),
    Original(B),
}

impl<T, A: Iterator<Item = T>, B: Iterator<Item = T>> Iterator for Either<A, B> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        match self {
            Either::Changed(one) => one.next(),
            Either::Original(one) => one.next(),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        match self {
            Either::Changed(one) => one.size_hint(),
            Either::Original(one) => one.size_hint(),
        }
    }
}
