//! Which refusals get a record of their own. SPEC 8.3.
//!
//! Owns: which refusal is recorded by itself, and the count of the others. Does not own: the text of a
//! refusal, which caller is valid (`core::decide`), the recording (`pipeline`).
//!
//! Invariants: for a known caller the first refusal of each method and code in a minute is recorded, and
//! ten refusals a second. For strangers the same holds, and at most fifty a second for all of them
//! together. Refusals that are not recorded are counted, and the count is recorded within a minute.
//! Known callers are counted separately while fewer than `CALLERS_MAX` are refused in the same minute.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sublet_core::base::bytes::sha256;
use sublet_core::base::id::UnixMillis;
use sublet_core::evidence::record::{COUNTED_KINDS_MAX, CountedRefusals, RefusalCount};

use crate::admission::Account;

/// The refusals of one caller that are recorded in one second: 50 KB at 5 KB each.
const RECORDED_A_SECOND: u32 = 10;

/// The interval at which counted refusals are recorded.
pub(crate) const COUNTED_EVERY: Duration = Duration::from_secs(60);

/// The callers that are counted separately in one minute, at about 1 KiB each. The others are counted as
/// one. Agents are bounded by what the operator creates, and addresses are not.
const CALLERS_MAX: usize = 65_536;

const SECOND_MS: i64 = 1000;
const MINUTE_MS: i64 = 60 * SECOND_MS;

/// The account that a refusal is charged to. `None` for an unknown caller without an address, which came
/// by the admin's socket or through a proxy.
pub(crate) type Charged = Option<Account>;

/// The refusals of all strangers together that are recorded in one second.
const STRANGERS_A_SECOND: u32 = 50;

/// The refusals of the current minute, by account.
#[derive(Debug, Default)]
pub struct Refusals(Mutex<Windows>);

#[derive(Debug, Default)]
struct Windows {
    by: HashMap<Charged, Window>,
    /// The current second, and the number of strangers' refusals recorded in it.
    strangers: (i64, u32),
}

#[derive(Debug, Default)]
struct Window {
    minute: i64,
    /// The methods and codes that were recorded in this minute.
    seen: HashSet<(&'static str, &'static str)>,
    second: i64,
    recorded: u32,
    counted: Option<Counted>,
}

#[derive(Debug)]
struct Counted {
    from: UnixMillis,
    to: UnixMillis,
    counts: BTreeMap<(&'static str, &'static str), u64>,
    first: [u8; 32],
    last: [u8; 32],
}

impl Refusals {
    /// Returns whether a refusal is to be recorded by itself. If not, it is counted here.
    pub(crate) fn is_recorded(
        &self,
        charged: Charged,
        (method, code): (&'static str, &'static str),
        asked: &str,
        now: UnixMillis,
    ) -> bool {
        let mut windows = self.lock();
        let known = matches!(charged, Some(Account::Caller(_)));
        let crowded = !known && !windows.admits_a_stranger(now);
        let full = windows.by.len() >= CALLERS_MAX && !windows.by.contains_key(&charged);
        let charged = if full || crowded { None } else { charged };
        let window = windows.by.entry(charged).or_default();
        let recorded = !crowded && window.takes((method, code), now);
        if !recorded {
            window.count((method, code), sha256(asked.as_bytes()), now);
        }
        recorded
    }

    /// Takes out the counts, to be recorded. Drops callers that were not refused in the current minute.
    pub(crate) fn take(&self, now: UnixMillis) -> Vec<(Charged, CountedRefusals)> {
        let minute = now.0.div_euclid(MINUTE_MS);
        let mut windows = self.lock();
        let counted = windows.by.iter_mut().filter_map(|(charged, window)| {
            window.counted.take().map(|counted| (charged.clone(), counted.summary()))
        });
        let counted = counted.collect();
        windows.by.retain(|_, window| window.minute >= minute);
        counted
    }

    fn lock(&self) -> MutexGuard<'_, Windows> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Windows {
    /// Returns whether one more refusal of a stranger may be recorded in this second.
    fn admits_a_stranger(&mut self, now: UnixMillis) -> bool {
        let second = now.0.div_euclid(SECOND_MS);
        if self.strangers.0 != second {
            self.strangers = (second, 0);
        }
        self.strangers.1 = self.strangers.1.saturating_add(1);
        self.strangers.1 <= STRANGERS_A_SECOND
    }
}

impl Window {
    fn takes(&mut self, kind: (&'static str, &'static str), now: UnixMillis) -> bool {
        let (minute, second) = (now.0.div_euclid(MINUTE_MS), now.0.div_euclid(SECOND_MS));
        if self.minute != minute {
            self.minute = minute;
            self.seen.clear();
        }
        if self.second != second {
            self.second = second;
            self.recorded = 0;
        }
        let first = self.seen.insert(kind);
        let takes = first || self.recorded < RECORDED_A_SECOND;
        if takes {
            self.recorded = self.recorded.saturating_add(1);
        }
        takes
    }

    fn count(&mut self, kind: (&'static str, &'static str), asked: [u8; 32], now: UnixMillis) {
        let counted = self.counted.get_or_insert_with(|| Counted {
            from: now,
            to: now,
            counts: BTreeMap::new(),
            first: asked,
            last: asked,
        });
        (counted.to, counted.last) = (now, asked);
        let known = counted.counts.contains_key(&kind);
        let room = counted.counts.len() < COUNTED_KINDS_MAX - 1;
        let line = if known || room { kind } else { ("", "") };
        let count = counted.counts.entry(line).or_default();
        *count = count.saturating_add(1);
    }
}

impl Counted {
    fn summary(self) -> CountedRefusals {
        let line = |((method, code), count): ((&str, &str), u64)| RefusalCount {
            method: method.to_owned(),
            code: code.to_owned(),
            count,
        };
        CountedRefusals {
            from: self.from,
            to: self.to,
            counts: self.counts.into_iter().map(line).collect(),
            first: self.first,
            last: self.last,
        }
    }
}

#[cfg(test)]
mod tests {
    use sublet_core::decide::caller;

    use super::*;

    const NOW: UnixMillis = UnixMillis(1_800_000_000_000);
    const KIND: (&str, &str) = ("/m", "code");

    fn agent(name: &str) -> Charged {
        let id = format!("spiffe://acme.example/{name}").parse().unwrap();
        Some(Account::Caller(caller::Account::Agent(id)))
    }

    fn recorded(refusals: &Refusals, name: &str, count: u32, at: UnixMillis) -> usize {
        (0..count).filter(|_| refusals.is_recorded(agent(name), KIND, "x", at)).count()
    }

    // SPEC 8.3.2.
    #[test]
    fn ten_a_second_are_recorded_and_the_rest_is_one_summary() {
        let refusals = Refusals::default();
        assert_eq!(recorded(&refusals, "one", 4_000, NOW), 10);
        assert_eq!(recorded(&refusals, "two", 5, NOW), 5, "no other is charged");
        assert_eq!(recorded(&refusals, "one", 4_000, NOW.plus_ms(1_000)), 10);
        let taken = refusals.take(NOW.plus_ms(2_000));
        let [(who, counted)] = taken.as_slice() else { panic!("{taken:?}") };
        assert_eq!((who, counted.counts[0].count), (&agent("one"), 7_980));
        assert_eq!((counted.from, counted.to), (NOW, NOW.plus_ms(1_000)));
        assert_eq!(refusals.take(NOW.plus_ms(3_000)), []);
    }

    // SPEC 8.3.2.
    #[test]
    fn the_first_of_each_method_and_code_in_a_minute_is_recorded_whatever_came_before() {
        let refusals = Refusals::default();
        assert_eq!(recorded(&refusals, "one", 4_000, NOW), 10);
        assert!(refusals.is_recorded(agent("one"), ("/m", "another"), "x", NOW));
        assert!(refusals.is_recorded(agent("one"), ("/other", "code"), "x", NOW));
        assert!(!refusals.is_recorded(agent("one"), ("/other", "code"), "x", NOW));
        let minute = NOW.plus_ms(MINUTE_MS);
        assert!(refusals.is_recorded(agent("one"), ("/other", "code"), "x", minute));
    }

    #[test]
    fn a_summary_says_what_was_asked_first_and_last_and_has_so_many_lines() {
        let refusals = Refusals::default();
        recorded(&refusals, "one", 10, NOW);
        let codes: Vec<&'static str> =
            (0..100).map(|n| &*Box::leak(format!("code_{n}").into_boxed_str())).collect();
        for (asked, code) in codes.iter().enumerate() {
            refusals.is_recorded(agent("one"), ("/m", code), "first time", NOW);
            assert!(!refusals.is_recorded(agent("one"), ("/m", code), &asked.to_string(), NOW));
        }
        let taken = refusals.take(NOW);
        let counted = &taken[0].1;
        assert_eq!(counted.counts.len(), COUNTED_KINDS_MAX);
        assert_eq!(counted.counts.iter().map(|line| line.count).sum::<u64>(), 100);
        assert_eq!((counted.first, counted.last), (sha256(b"0"), sha256(b"99")));
    }

    #[test]
    fn strangers_of_many_addresses_are_recorded_by_the_fifty() {
        let refusals = Refusals::default();
        let stranger = |n: u32| {
            let address = std::net::IpAddr::from(n.to_be_bytes());
            Some(Account::Network(crate::admission::Network::of(address)))
        };
        let recorded =
            |at| (0..1_000).filter(|n| refusals.is_recorded(stranger(*n), KIND, "x", at)).count();
        assert_eq!(recorded(NOW), 50);
        assert_eq!(self::recorded(&refusals, "one", 5, NOW), 5, "an agent is no stranger");
        let counted: u64 =
            refusals.take(NOW).iter().flat_map(|(_, c)| &c.counts).map(|line| line.count).sum();
        assert_eq!(counted, 950);
    }

    #[test]
    fn who_is_refused_no_more_is_forgotten() {
        let refusals = Refusals::default();
        recorded(&refusals, "one", 20, NOW);
        refusals.take(NOW.plus_ms(MINUTE_MS));
        assert!(refusals.lock().by.is_empty());
    }
}
