//! Answers that were given, stored so that a repeated request gets the same answer. SPEC 5.9;
//! docs/decisions/0003.
//!
//! Owns: the rows, how they are found and counted, how many one caller and all callers may have.
//! Does not own: which operations store answers (`decide::Operation::KEEPS`), for how long (the
//! pipeline).
//!
//! Invariants: an answer is found by the key that proved the request, so nobody gets another
//! caller's; it is counted by account, so helpers, whose keys cost nothing, use only their agent's
//! share; each agent has one stored answer that gave it an identity, for which there is always
//! room.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::base::id::{AgentId, UnixMillis};
use crate::base::key::Thumbprint;
use crate::decide::caller::Account;

/// The most answers of one account: seven requests a second for ten minutes. At about 1 KiB each 4
/// MiB.
pub const PER_ACCOUNT_MAX: usize = 4_096;

/// The most answers of all accounts together, about 128 MiB.
pub const TOTAL_MAX: usize = 131_072;

/// How many answers an account may have however many the others have, so an agent that asks rarely
/// always has room.
pub const PER_ACCOUNT_MIN: usize = 16;

/// Identifies an answer: the key that proved the request, the method, and the caller's idempotency
/// key.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct AnswerKey {
    /// The thumbprint of the key that proved the request.
    pub caller: Thumbprint,
    /// The full path of the method.
    pub method: String,
    /// The idempotency key.
    pub key: [u8; 16],
}

/// An answer that was given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GivenAnswer {
    /// Its identification.
    pub name: AnswerKey,
    /// The account that it is counted for.
    pub account: Account,
    /// The agent that it gave an identity to, whose only such answer it is; `None` for any other
    /// answer.
    pub identity_of: Option<AgentId>,
    /// SHA-256 over the request without its idempotency key.
    pub request: [u8; 32],
    /// The answer; `None` when it contained a secret that is shown once.
    pub answer: Option<serde_bytes::ByteBuf>,
    /// Until when it is stored. An answer that gave an identity is stored until the next one.
    pub expires_at: UnixMillis,
}

/// The stored answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answers {
    given: HashMap<AnswerKey, GivenAnswer>,
    counted: HashMap<Account, usize>,
    identities: HashMap<AgentId, AnswerKey>,
}

impl Answers {
    /// Returns the answer with this identification; `None` when there is none.
    pub fn get(&self, name: &AnswerKey) -> Option<&GivenAnswer> {
        self.given.get(name)
    }

    /// Returns the answer that gave this agent its last identity; `None` when there is none.
    pub fn of_identity(&self, agent: &AgentId) -> Option<&GivenAnswer> {
        self.identities.get(agent).and_then(|name| self.given.get(name))
    }

    /// Returns whether one more answer of this account may be stored.
    pub fn has_room(&self, account: &Account) -> bool {
        let own = self.of(account);
        let shared = self.given.len().saturating_sub(self.identities.len()) < TOTAL_MAX;
        own < PER_ACCOUNT_MIN || (own < PER_ACCOUNT_MAX && shared)
    }

    /// Returns how many answers are counted for an account.
    pub fn of(&self, account: &Account) -> usize {
        self.counted.get(account).copied().unwrap_or(0)
    }

    /// Returns how many answers are stored, including those that gave identities.
    pub fn len(&self) -> usize {
        self.given.len()
    }

    /// Returns whether no answer is stored.
    pub fn is_empty(&self) -> bool {
        self.given.is_empty()
    }

    /// Returns the identifications of answers that expired before `before`.
    pub fn expired(&self, before: UnixMillis) -> impl Iterator<Item = &AnswerKey> {
        let over = move |row: &&GivenAnswer| row.identity_of.is_none() && row.expires_at < before;
        self.given.values().filter(over).map(|row| &row.name)
    }

    /// Stores an answer. One that gave an identity replaces the agent's previous one.
    pub fn put(&mut self, row: GivenAnswer) {
        self.forget(&row.name);
        match &row.identity_of {
            Some(agent) => {
                let last = self.identities.insert(agent.clone(), row.name.clone());
                if let Some(last) = last.filter(|last| *last != row.name) {
                    self.given.remove(&last);
                }
            }
            None => *self.counted.entry(row.account.clone()).or_default() += 1,
        }
        self.given.insert(row.name.clone(), row);
    }

    /// Removes an answer.
    pub fn forget(&mut self, name: &AnswerKey) {
        let Some(row) = self.given.remove(name) else { return };
        if let Some(agent) = row.identity_of {
            self.identities.remove(&agent);
            return;
        }
        let left = self.of(&row.account).saturating_sub(1);
        match left {
            0 => drop(self.counted.remove(&row.account)),
            left => drop(self.counted.insert(row.account, left)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(number: u32) -> AnswerKey {
        let mut key = [0; 16];
        key[..4].copy_from_slice(&number.to_be_bytes());
        AnswerKey { caller: Thumbprint([1; 32]), method: "/m".into(), key }
    }

    fn agent(number: usize) -> AgentId {
        format!("spiffe://acme.example/agent/a{number}").parse().unwrap()
    }

    fn of(account: Account, number: u32) -> GivenAnswer {
        GivenAnswer {
            name: name(number),
            account,
            identity_of: None,
            request: [2; 32],
            answer: None,
            expires_at: UnixMillis(1_000),
        }
    }

    #[test]
    fn one_account_fills_its_own_room_and_no_other() {
        let (mut answers, one, two) =
            (Answers::default(), Account::Agent(agent(1)), Account::Agent(agent(2)));
        for number in 0..PER_ACCOUNT_MAX as u32 {
            assert!(answers.has_room(&one), "{number}");
            answers.put(of(one.clone(), number));
        }
        assert!(!answers.has_room(&one) && answers.has_room(&two));
        assert!(answers.has_room(&Account::Admin));
        let over: Vec<AnswerKey> = answers.expired(UnixMillis(1_001)).cloned().collect();
        over.iter().for_each(|name| answers.forget(name));
        assert!(answers.is_empty() && answers.of(&one) == 0 && answers.has_room(&one));
    }

    #[test]
    fn all_accounts_together_leave_each_its_least() {
        let mut answers = Answers::default();
        let mut number = 0;
        for account in 0..TOTAL_MAX / PER_ACCOUNT_MAX {
            for _ in 0..PER_ACCOUNT_MAX {
                answers.put(of(Account::Agent(agent(account)), number));
                number += 1;
            }
        }
        let late = Account::Agent(agent(usize::MAX));
        for _ in 0..PER_ACCOUNT_MIN {
            assert!(answers.has_room(&late));
            answers.put(of(late.clone(), number));
            number += 1;
        }
        assert!(!answers.has_room(&late));
    }

    #[test]
    fn the_last_place_of_all_is_the_last() {
        let mut answers = Answers::default();
        let mut number = 0u32;
        // Some that have more than their least, and fill all but one place together.
        for account in 0..TOTAL_MAX / PER_ACCOUNT_MAX {
            let left = TOTAL_MAX - 1 - answers.len();
            for _ in 0..PER_ACCOUNT_MAX.min(left) {
                answers.put(of(Account::Agent(agent(account)), number));
                number += 1;
            }
        }
        let busy = Account::Agent(agent(TOTAL_MAX / PER_ACCOUNT_MAX - 1));
        assert!(answers.of(&busy) > PER_ACCOUNT_MIN && answers.has_room(&busy));
        answers.put(of(Account::Agent(agent(usize::MAX)), number));
        assert_eq!(answers.len(), TOTAL_MAX);
        assert!(!answers.has_room(&busy));
    }

    // SPEC 5.9.1.
    #[test]
    fn an_agent_has_one_answer_that_gave_it_an_identity_and_it_takes_nobodys_room() {
        let mut answers = Answers::default();
        for number in 0..100 {
            let given = of(Account::Agent(agent(1)), number);
            let expires_at = UnixMillis(i64::MAX);
            answers.put(GivenAnswer { identity_of: Some(agent(1)), expires_at, ..given });
        }
        assert_eq!((answers.len(), answers.of(&Account::Agent(agent(1)))), (1, 0));
        assert!(answers.get(&name(98)).is_none() && answers.get(&name(99)).is_some());
        assert_eq!(answers.of_identity(&agent(1)).map(|row| &row.name), Some(&name(99)));
        assert_eq!(answers.of_identity(&agent(2)), None);
        assert_eq!(answers.expired(UnixMillis(i64::MAX)).count(), 0);
    }

    #[test]
    fn an_answer_that_is_put_twice_is_counted_once() {
        let mut answers = Answers::default();
        answers.put(of(Account::Admin, 1));
        answers.put(of(Account::Admin, 1));
        assert_eq!((answers.len(), answers.of(&Account::Admin)), (1, 1));
    }

    #[test]
    fn an_answer_is_over_after_its_time_and_one_that_gave_an_identity_never() {
        let mut answers = Answers::default();
        answers.put(of(Account::Admin, 1));
        answers.put(GivenAnswer { identity_of: Some(agent(1)), ..of(Account::Admin, 2) });
        assert!(!answers.is_empty());
        assert_eq!(
            answers.expired(UnixMillis(1_000)).count(),
            0,
            "it is over at 1,000, not before"
        );
        let over: Vec<&AnswerKey> = answers.expired(UnixMillis(1_001)).collect();
        assert_eq!(over, [&name(1)]);
    }
}
