//! Witnesses cosign the ledger's checkpoints if each one extends the checkpoint before. C2SP
//! tlog-witness; docs/SPEC section 9.11.
//!
//! Owns: asking the witnesses of the policy. Does not own: the form of a request
//! (`sublet_ledger::witness`), which witnesses are enough (`sublet_ledger::policy`), the last witnessed
//! checkpoint (`witnessed`).
//!
//! Invariants: no call waits for a witness. All witnesses are asked for one checkpoint at a time. A
//! checkpoint is published as witnessed only if it meets the policy.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use reqwest::{Client, StatusCode, header, redirect};
use sublet_ledger::policy::Policy;
use sublet_ledger::witness::{ADD_CHECKPOINT, AddCheckpoint, SIZE_TYPE};
use tokio::task::JoinSet;

use crate::broker::Log;
use crate::store::{Published, checkpoint_keys};

/// How often witnesses are asked, if there is a new checkpoint.
const EVERY: Duration = Duration::from_secs(1);

/// How long a witness may take to answer.
const ANSWER_DEADLINE: Duration = Duration::from_secs(5);

/// The longest answer of a witness that is read, in bytes.
const ANSWER_BYTES_MAX: usize = 16 * 1024;

/// Asks the witnesses of a policy to cosign every new checkpoint, for as long as the broker runs.
pub(crate) async fn run(log: Arc<Log>, policy: Policy) {
    let client = Client::builder().timeout(ANSWER_DEADLINE).redirect(redirect::Policy::none());
    let Ok(client) = client.build() else {
        tracing::error!("witnesses cannot be asked");
        return;
    };
    let mut round = Round { client, policy, known: BTreeMap::new(), shown: 0 };
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        match log.store.published() {
            Ok(published) if published.tree.size() > round.shown => {
                round.show(&log, &published).await;
            }
            Ok(_) => {}
            Err(fault) => tracing::error!(%fault, "the ledger's head cannot be read"),
        }
    }
}

struct Round {
    client: Client,
    policy: Policy,
    /// The size that each witness cosigned last, by the witness's name in the policy.
    known: BTreeMap<String, u64>,
    /// The size of the last witnessed checkpoint.
    shown: u64,
}

impl Round {
    async fn show(&mut self, log: &Arc<Log>, published: &Arc<Published>) {
        let Ok(trust) = log.trust() else { return };
        let keys = checkpoint_keys(trust.bundle());
        let mut asked = JoinSet::new();
        for (name, witness) in self.policy.witnesses() {
            let Some(url) = witness.url.as_ref() else { continue };
            let ask = Ask {
                client: self.client.clone(),
                log: log.clone(),
                published: published.clone(),
                url: format!("{}/{ADD_CHECKPOINT}", url.trim_end_matches('/')),
            };
            let (name, known) = (name.to_owned(), self.known.get(name).copied().unwrap_or(0));
            asked.spawn(async move { (name, ask.cosigned(known).await) });
        }
        let mut note = published.note.clone();
        for (name, answer) in asked.join_all().await {
            match answer {
                Ok(lines) => {
                    let with = [note.as_slice(), &lines].concat();
                    // An invalid cosignature would make the whole note invalid.
                    match self.policy.open(&with, &keys) {
                        Ok(found) if found.by.contains(&name) => {
                            self.known.insert(name, published.tree.size());
                            note = with;
                        }
                        _ => tracing::error!(witness = name, "its cosignature does not hold"),
                    }
                }
                Err(detail) => tracing::warn!(witness = name, detail, "a head was not cosigned"),
            }
        }
        let found = self.policy.open(&note, &keys);
        if !found.is_ok_and(|found| found.enough) {
            return;
        }
        match log.witnessed.keep(note) {
            Ok(()) => self.shown = published.tree.size(),
            Err(error) => tracing::error!(%error, "a witnessed head was not kept"),
        }
    }
}

/// A request to one witness for its cosignature on one checkpoint.
struct Ask {
    client: Client,
    log: Arc<Log>,
    published: Arc<Published>,
    url: String,
}

impl Ask {
    /// Returns the cosignature lines of the witness. If the witness knows another size than `known`,
    /// asks again with that size. The error is a text for the log.
    async fn cosigned(&self, known: u64) -> Result<Vec<u8>, String> {
        let mut answer = self.post(known).await;
        if let Err(Refusal::Knows(size)) = answer {
            answer = self.post(size).await;
        }
        answer.map_err(|refusal| match refusal {
            Refusal::Knows(size) => format!("it knows {size} records, now and then another number"),
            Refusal::Says(detail) => detail,
        })
    }

    async fn post(&self, old: u64) -> Result<Vec<u8>, Refusal> {
        let answer = self.client.post(&self.url).body(self.request(old)?).send().await;
        let answer = answer.map_err(|error| Refusal::Says(error.to_string()))?;
        let status = answer.status();
        let kind = answer.headers().get(header::CONTENT_TYPE);
        let says_size = kind.is_some_and(|kind| kind == SIZE_TYPE);
        let body = bounded(answer).await.map_err(Refusal::Says)?;
        match status {
            StatusCode::OK => Ok(body),
            StatusCode::CONFLICT if says_size => {
                let text = String::from_utf8_lossy(&body);
                let size = text.strip_suffix('\n').and_then(|text| text.parse().ok());
                Err(size.map_or_else(
                    || Refusal::Says("an answer that is none".to_owned()),
                    Refusal::Knows,
                ))
            }
            StatusCode::CONFLICT | StatusCode::UNPROCESSABLE_ENTITY => {
                Err(Refusal::Says("it saw another history of this ledger".to_owned()))
            }
            other => Err(Refusal::Says(format!("it answers {other}"))),
        }
    }

    fn request(&self, old: u64) -> Result<Vec<u8>, Refusal> {
        let size = self.published.tree.size();
        if old > size {
            return Err(Refusal::Says(format!(
                "it cosigned {old} records and there are {size}: this ledger was rolled back, or \
                 somebody signs another one with its key"
            )));
        }
        let proof = self.published.consistency(old, self.log.store.reader().as_ref());
        let proof = proof.ok_or_else(|| Refusal::Says("a tile is missing".to_owned()))?;
        Ok(AddCheckpoint { old, proof, note: self.published.note.clone() }.encode())
    }
}

enum Refusal {
    /// The witness knows this size instead.
    Knows(u64),
    /// A reason, as text for the log.
    Says(String),
}

async fn bounded(mut answer: reqwest::Response) -> Result<Vec<u8>, String> {
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(|error| error.to_string())? {
        body.extend_from_slice(&chunk);
        if body.len() > ANSWER_BYTES_MAX {
            return Err(format!("an answer of over {ANSWER_BYTES_MAX} bytes"));
        }
    }
    Ok(body)
}
