//! The keys of an issuer: a JWK set (RFC 7517) from a file or by HTTPS, kept for a while.
//!
//! Owns: fetching, keeping, when to fetch again. Does not own: which key a token needs (`jwt`).
//!
//! Invariants: fetched keys are accepted for at most a day. An unknown key makes the broker fetch again,
//! but not more often than the back-off permits, so junk tokens cannot make it fetch. What is fetched is
//! bounded, and comes only from where the configuration says.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jsonwebtoken::jwk::Jwk;
use reqwest::{Client, redirect};
use serde::Deserialize;
use sublet_core::base::id::UnixMillis;
use tokio::sync::watch;

/// The largest key set, or description of an OpenID provider, in bytes.
const BYTES_MAX: usize = 256 * 1024;

/// The most keys of one set.
const KEYS_MAX: usize = 256;

/// How long an issuer may take to answer.
const ANSWER_DEADLINE: Duration = Duration::from_secs(5);

/// Keys that are older than this are fetched again, in milliseconds.
const FRESH_MS: i64 = 5 * 60 * 1000;

/// How long keys are accepted while their issuer does not answer, in milliseconds.
const KEPT_MS: i64 = 24 * 3600 * 1000;

/// The shortest time between two fetches, in milliseconds. It doubles for each failure, up to [`FRESH_MS`].
const BACK_OFF_MS: i64 = 10 * 1000;

/// Where keys come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A file. It is read as often as a URL would be fetched.
    File(PathBuf),
    /// A URL.
    Url(String),
    /// The issuer URL of an OpenID provider, whose description names the URL of the keys (OpenID Connect
    /// Discovery 1.0).
    Discovery(String),
}

/// The keys of one issuer.
pub struct Keys(Arc<Inner>);

struct Inner {
    source: Source,
    client: Client,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    keys: Vec<Jwk>,
    fetched_at: Option<UnixMillis>,
    tried_at: Option<UnixMillis>,
    failures: u32,
    /// The error of the last failed fetch.
    trouble: String,
    /// Closed when the running fetch ends; `None` if there was none.
    asking: Option<watch::Receiver<()>>,
}

/// Why there is no key.
#[derive(Debug, PartialEq, Eq)]
pub enum NoKey {
    /// The issuer has no key with this name; or the token names none, and the issuer has several.
    Unknown,
    /// The issuer's keys cannot be fetched. The text is for the log.
    Unavailable(String),
}

impl Keys {
    /// Keys from this source. An error if HTTPS does not work here.
    pub fn new(source: Source) -> Result<Self, String> {
        let client = Client::builder().timeout(ANSWER_DEADLINE).redirect(redirect::Policy::none());
        let client = client.build().map_err(|error| error.to_string())?;
        Ok(Keys(Arc::new(Inner { source, client, kept: Mutex::default() })))
    }

    /// Returns the key with this name; without a name, the issuer's only key. Waits for a fetch if one
    /// is needed.
    pub async fn find(&self, kid: Option<&str>, now: UnixMillis) -> Result<Jwk, NoKey> {
        if let Some(mut asking) = self.ask(kid, now) {
            // The channel closes when the fetch ends, with or without success.
            let _ = asking.changed().await;
        }
        let kept = self.0.kept();
        if !kept.are_believed(now) {
            return Err(NoKey::Unavailable(kept.trouble.clone()));
        }
        pick(&kept.keys, kid).cloned().ok_or(NoKey::Unknown)
    }

    /// Returns the fetch to wait for; `None` if none is needed or permitted. It joins a running fetch or
    /// starts one. A fetch runs on when its callers stop waiting.
    fn ask(&self, kid: Option<&str>, now: UnixMillis) -> Option<watch::Receiver<()>> {
        let mut kept = self.0.kept();
        let stale = kept.fetched_at.is_none_or(|at| now.since(at) >= FRESH_MS);
        if !stale && pick(&kept.keys, kid).is_some() {
            return None;
        }
        let going_on = kept.asking.clone().filter(|asking| asking.has_changed().is_ok());
        if going_on.is_some() || !kept.may_try(now) {
            return going_on;
        }
        kept.tried_at = Some(now);
        let (over, asking) = watch::channel(());
        kept.asking = Some(asking.clone());
        let inner = self.0.clone();
        tokio::spawn(async move {
            let fetched = inner.fetch().await;
            inner.take(fetched, now);
            drop(over);
        });
        Some(asking)
    }
}

impl Inner {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        // It changes in one step, so it is whole even after a panic.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, fetched: Result<Vec<Jwk>, String>, now: UnixMillis) {
        let mut kept = self.kept();
        match fetched {
            Ok(keys) => {
                kept.keys = keys;
                kept.fetched_at = Some(now);
                kept.failures = 0;
            }
            Err(detail) => {
                kept.failures = kept.failures.saturating_add(1);
                tracing::warn!(source = ?self.source, detail, "the keys of an issuer");
                kept.trouble = detail;
            }
        }
    }

    async fn fetch(&self) -> Result<Vec<Jwk>, String> {
        let text = match &self.source {
            Source::File(path) => tokio::fs::read(path)
                .await
                .map_err(|error| format!("{}: {error}", path.display()))?,
            Source::Url(url) => self.get(url).await?,
            Source::Discovery(issuer) => {
                let at =
                    format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
                let said: Provider = serde_json::from_slice(&self.get(&at).await?)
                    .map_err(|error| format!("{at}: {error}"))?;
                if said.issuer != *issuer {
                    return Err(format!("{at} is of another issuer, {:?}", said.issuer));
                }
                check_url(&said.jwks_uri)?;
                self.get(&said.jwks_uri).await?
            }
        };
        read(&text)
    }

    async fn get(&self, url: &str) -> Result<Vec<u8>, String> {
        let answer = self.client.get(url).send().await.map_err(|error| error.to_string())?;
        if !answer.status().is_success() {
            return Err(format!("{url} answers {}", answer.status()));
        }
        let (mut answer, mut body) = (answer, Vec::new());
        while let Some(chunk) = answer.chunk().await.map_err(|error| error.to_string())? {
            body.extend_from_slice(&chunk);
            if body.len() > BYTES_MAX {
                return Err(format!("{url} answers with over {BYTES_MAX} bytes"));
            }
        }
        Ok(body)
    }
}

impl Kept {
    fn may_try(&self, now: UnixMillis) -> bool {
        let doubled = BACK_OFF_MS.saturating_mul(1 << self.failures.min(8));
        self.tried_at.is_none_or(|at| now.since(at) >= doubled.min(FRESH_MS) || now.since(at) < 0)
    }

    fn are_believed(&self, now: UnixMillis) -> bool {
        self.fetched_at.is_some_and(|at| (0..KEPT_MS).contains(&now.since(at)))
    }
}

fn pick<'a>(keys: &'a [Jwk], kid: Option<&str>) -> Option<&'a Jwk> {
    match (kid, keys) {
        (Some(kid), keys) => {
            let mut named = keys.iter().filter(|key| key.common.key_id.as_deref() == Some(kid));
            // Two keys with one name count as none. The broker does not try which of them signed.
            named.next().filter(|_| named.next().is_none())
        }
        (None, [one]) => Some(one),
        (None, _) => None,
    }
}

/// Returns the keys of a set that are understood; others are skipped. An error if the set is too large
/// or no JSON.
fn read(text: &[u8]) -> Result<Vec<Jwk>, String> {
    if text.len() > BYTES_MAX {
        return Err(format!("a key set of over {BYTES_MAX} bytes"));
    }
    let set: Set = serde_json::from_slice(text).map_err(|error| format!("no key set: {error}"))?;
    if set.keys.len() > KEYS_MAX {
        return Err(format!("a key set of over {KEYS_MAX} keys"));
    }
    Ok(set.keys.into_iter().filter_map(|key| serde_json::from_value(key).ok()).collect())
}

/// Refuses a URL that is neither HTTPS nor on this machine.
pub(super) fn check_url(url: &str) -> Result<(), String> {
    let parsed = reqwest::Url::parse(url).map_err(|error| format!("{url:?}: {error}"))?;
    let local = match parsed.host_str() {
        Some("localhost") => true,
        Some(host) => {
            host.trim_matches(['[', ']']).parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
        }
        None => false,
    };
    if parsed.scheme() == "https" || (parsed.scheme() == "http" && local) {
        return Ok(());
    }
    Err(format!("{url:?} is neither https nor of this machine"))
}

#[derive(Deserialize)]
struct Set {
    keys: Vec<serde_json::Value>,
}

#[derive(Deserialize)]
struct Provider {
    issuer: String,
    jwks_uri: String,
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;
    use std::sync::Mutex as Lock;

    use super::*;

    /// The key name that the issuer answers with, and how often it was asked.
    type Issuer = Arc<Lock<(Option<&'static str>, usize)>>;

    /// An issuer on loopback that has a key with this name, or is out of order.
    fn issuer() -> (Issuer, Keys) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/keys", listener.local_addr().unwrap());
        let issuer: Issuer = Arc::new(Lock::new((Some("one"), 0)));
        let shared = issuer.clone();
        std::thread::spawn(move || {
            for socket in listener.incoming() {
                let (mut socket, mut request, mut byte) = (socket.unwrap(), Vec::new(), [0; 1]);
                while !request.ends_with(b"\r\n\r\n") && socket.read(&mut byte).unwrap() == 1 {
                    request.extend(byte);
                }
                let mut now = shared.lock().unwrap();
                now.1 += 1;
                let (status, body) = match now.0 {
                    Some(kid) => ("200 OK", set(kid)),
                    None => ("503 Service Unavailable", String::new()),
                };
                let head = format!("HTTP/1.1 {status}\r\nConnection: close\r\n");
                let answer = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
                let _ = socket.write_all(answer.as_bytes());
            }
        });
        (issuer, Keys::new(Source::Url(url)).unwrap())
    }

    fn set(kid: &str) -> String {
        let x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
        format!(r#"{{"keys":[{{"kty":"OKP","crv":"Ed25519","kid":"{kid}","x":"{x}"}}]}}"#)
    }

    const BEGIN: UnixMillis = UnixMillis(1_800_000_000_000);
    const SECOND: i64 = 1_000;
    const MINUTE: i64 = 60 * SECOND;

    async fn has(keys: &Keys, kid: &str, after_ms: i64) -> Result<(), NoKey> {
        keys.find(Some(kid), BEGIN.plus_ms(after_ms)).await.map(drop)
    }

    #[tokio::test]
    async fn keys_that_change_are_asked_for_and_noise_asks_no_more() {
        let (issuer, keys) = issuer();
        let asked = || issuer.lock().unwrap().1;
        assert_eq!(has(&keys, "one", 0).await, Ok(()));
        assert_eq!(has(&keys, "one", 4 * MINUTE).await, Ok(()));
        assert_eq!(asked(), 1, "they are kept");
        issuer.lock().unwrap().0 = Some("two");
        assert_eq!(
            has(&keys, "two", 4 * MINUTE).await,
            Ok(()),
            "a key that is not known is asked for"
        );
        assert_eq!(has(&keys, "one", 4 * MINUTE + SECOND).await, Err(NoKey::Unknown), "and gone");
        for after in 0..9 {
            assert_eq!(has(&keys, "noise", 4 * MINUTE + after * SECOND).await, Err(NoKey::Unknown));
        }
        assert_eq!(asked(), 2, "not again within ten seconds");
        assert_eq!(has(&keys, "noise", 4 * MINUTE + 10 * SECOND).await, Err(NoKey::Unknown));
        assert_eq!(asked(), 3);
        assert_eq!(has(&keys, "two", 10 * MINUTE).await, Ok(()));
        assert_eq!(asked(), 4, "older than five minutes");
    }

    #[expect(clippy::await_holding_lock, reason = "it is the issuer's thread that waits for it")]
    #[tokio::test]
    async fn whoever_hangs_up_takes_no_answer_along_and_holds_nobody_up() {
        let (issuer, keys) = issuer();
        // The issuer does not answer while this lock is held.
        let slow = issuer.lock().unwrap();
        let hurried = Duration::from_millis(20);
        let gone = tokio::time::timeout(hurried, has(&keys, "noise", 0)).await;
        assert!(gone.is_err(), "nobody is there any more who asked");
        drop(slow);
        assert_eq!(has(&keys, "one", 0).await, Ok(()));
        let slow = issuer.lock().unwrap();
        let noise = has(&keys, "noise", 20 * SECOND);
        let known = has(&keys, "one", 20 * SECOND);
        tokio::pin!(noise);
        tokio::select! {
            biased;
            _ = &mut noise => panic!("the issuer has not answered"),
            known = known => assert_eq!(known, Ok(()), "what is known waits for nothing"),
        }
        drop(slow);
        assert_eq!(noise.await, Err(NoKey::Unknown));
        assert_eq!(issuer.lock().unwrap().1, 2);
    }

    #[tokio::test]
    async fn an_issuer_that_is_away_is_believed_for_a_day_and_asked_ever_less() {
        let (issuer, keys) = issuer();
        assert_eq!(has(&keys, "one", 0).await, Ok(()));
        issuer.lock().unwrap().0 = None;
        let mut asked = Vec::new();
        for second in (5 * 60)..(25 * 60) {
            assert_eq!(has(&keys, "one", second * SECOND).await, Ok(()));
            if issuer.lock().unwrap().1 > asked.len() + 1 {
                asked.push(second);
            }
        }
        let between: Vec<i64> = asked.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert_eq!(between, [20, 40, 80, 160, 300, 300]);
        let day = 24 * 60 * MINUTE;
        assert_eq!(has(&keys, "one", day - SECOND).await, Ok(()));
        assert!(matches!(has(&keys, "one", day).await, Err(NoKey::Unavailable(_))));
        // A broker that never had keys says so, and does not fetch for each token.
        let (issuer, keys) = super::tests::issuer();
        issuer.lock().unwrap().0 = None;
        for _ in 0..3 {
            assert!(matches!(has(&keys, "one", 0).await, Err(NoKey::Unavailable(_))));
        }
        assert_eq!(issuer.lock().unwrap().1, 1);
    }
}
