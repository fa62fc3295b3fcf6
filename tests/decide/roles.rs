//! The matrix of roles: which caller may do which operation on which row, as the shipped decision says.
//! docs/FORMATS, "Who may call what", says the same in words.
//!
//! `SUBLET_GOLDEN=write` renews tests/golden/roles.txt; the operations that no row walks stand at its end.

use std::any::type_name;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use sublet_core::base::id::HopId;
use sublet_core::base::sign::Signer as _;
use sublet_core::decide::caller::Caller;
use sublet_core::decide::{
    ApplyProfile, CreateAgent, CreateJoinToken, CreateLegalHold, Credential, Delegate, EndSessions,
    Ending, Enroll, Erase, GetAgent, GetAgentKey, GetInclusionProof, GetProfile, GetStatus,
    GrantSession, Inspect, ListAgents, ListDelegations, ListJoinTokens, ListProfiles, ListSessions,
    Operation, PageOf, Prune, ReadCheckpoint, ReadLedger, ReadRetention, RecordHop,
    RemoveLegalHold, Renew, Replay, ReportUses, ReportVerifierState, RestorePrincipal, ResumeAgent,
    Revoke, RevokeAgentKey, RevokeFormerKeys, RevokeJoinToken, RotateBrokerKey, RotateKey,
    SuspendAgent, Target, WatchFeed, join_token_hash,
};
use sublet_core::state::rows::session::{LoggedOut, Login, SessionId};
use sublet_core::token::UnverifiedToken;
use sublet_core::token::verify::{TaintedIdentity, VerifiedToken};
use sublet_core::trust::bundle::KeyUse;
use sublet_core::trust::rotation::KeyStep;
use sublet_tests::{Fleet, House, NOW, agent, append, key, key_id, to_agent, to_helper};

use crate::{READ, created, issue, profile, staffed};

const ALICE: &str = "user:alice@acme.example";
const BOB: &str = "user:bob@acme.example";

/// A broker in which something of everything exists, and who calls it.
struct Scene {
    house: House,
    /// The same after the root of identities was tainted.
    tainted: House,
    /// Each with the name of its column.
    callers: Vec<(&'static str, Caller)>,
    /// The planner's delegation: for itself, handed to its helper scout, and to the writer.
    root: VerifiedToken,
    helper: VerifiedToken,
    writer: VerifiedToken,
    /// A hop of the planner to itself and one of the helper, both made offline.
    offline: VerifiedToken,
    below_helper: VerifiedToken,
    /// The reader's delegation.
    another: VerifiedToken,
    join: (String, String),
    session: SessionId,
}

fn newcomer() -> Caller {
    let signature = key("new").sign(b"x").unwrap();
    Caller::new_key(key("new").public_key().clone(), b"x", &signature).unwrap()
}

fn login() -> Login {
    Login { issuer: "https://i".into(), subject: "7".into(), sid: None }
}

/// Issues to a caller; the chain as its holder verifies it.
fn issued(fleet: &Fleet, house: &mut House, to: &Caller) -> VerifiedToken {
    fleet.verify(&house.ask(to, &issue()).unwrap().token).unwrap()
}

/// The broker before anything of it is tainted, with its tokens.
fn scene() -> Scene {
    let (fleet, mut house, planner) = staffed();
    let admin = House::admin();
    for name in ["reader", "writer", "sleeper"] {
        house.enroll(name, key(name).public_key().clone());
    }
    let identity = house.ask(&planner, &Renew).unwrap().to_vec();
    let planner = House::caller(&fleet.verify(&identity).unwrap(), &key("planner"));
    let [reader, writer, sleeper] =
        ["reader", "writer", "sleeper"].map(|name| House::agent(&fleet, name));
    let root = issued(&fleet, &mut house, &planner);
    let another = issued(&fleet, &mut house, &reader);
    let helper = append(&root, &to_helper("scout", READ), "planner").unwrap();
    let to_writer = append(&root, &to_agent("writer", READ), "planner").unwrap();
    for chain in [&helper, &to_writer] {
        house.delegate(&planner, chain).unwrap();
    }
    let offline = append(&root, &to_helper("second", READ), "planner").unwrap();
    let below_helper = append(&helper, &to_helper("third", READ), "scout").unwrap();
    let suspend = SuspendAgent { agent: agent("sleeper"), reason: "away".into() };
    house.ask(&admin, &suspend).unwrap();
    let join = created(&mut house, "late");
    let grant = GrantSession {
        agent: agent("planner"),
        principal: ALICE.parse().unwrap(),
        ttl_seconds: 60,
        reason: "on call".into(),
    };
    let session = house.ask(&admin, &grant).unwrap().id;
    let hold =
        CreateLegalHold { name: "case".into(), from: 0, to: Some(1), reason: "a case".into() };
    house.ask(&admin, &hold).unwrap();
    // A principal comes back no earlier than after the moment in which it was revoked.
    house.now = NOW.plus_ms(-10_000);
    let bob = Target::Principal(BOB.parse().unwrap());
    house.ask(&admin, &Revoke { target: bob, reason: "left".into(), chain: None }).unwrap();
    house.now = NOW;
    let callers = vec![
        ("nobody", newcomer()),
        ("user", Caller::user(login())),
        ("agent", planner),
        ("its holder", House::caller(&root, &key("planner"))),
        ("its helper", House::caller(&helper, &key("scout"))),
        ("delegate", writer),
        ("delegate, holder", House::caller(&to_writer, &key("writer"))),
        ("another agent", reader),
        ("another holder", House::caller(&another, &key("reader"))),
        ("suspended agent", sleeper),
        ("admin", admin),
    ];
    let mut scene = Scene {
        tainted: House::new(&fleet),
        house,
        callers,
        root,
        helper,
        writer: to_writer,
        offline,
        below_helper,
        another,
        join: (join.id, join.join_token),
        session,
    };
    scene.taint(&identity);
    scene
}

impl Scene {
    /// The planner with an identity of which the root was tainted, and a broker that tainted it.
    fn taint(&mut self, identity: &[u8]) {
        let (fleet, mut house, planner) = staffed();
        assert_eq!(house.ask(&planner, &Renew).unwrap().to_vec(), identity, "the same broker");
        let step = KeyStep::Taint { key: key_id(KeyUse::Identity) };
        house.rotate_broker_key(&House::admin(), step).unwrap();
        let token = UnverifiedToken::decode(identity).unwrap();
        let tainted = TaintedIdentity::verify(token, house.state.trust().bundle()).unwrap();
        self.callers.push(("tainted identity", House::tainted(tainted, &key("planner"))));
        self.tainted = house;
        drop(fleet);
    }
}

/// What each caller is told of each operation.
struct Matrix<'s> {
    scene: &'s Scene,
    rows: Vec<Vec<String>>,
    walked: BTreeSet<String>,
}

impl Matrix<'_> {
    /// Walks one operation on one row of the state.
    fn walk<O: Operation>(&mut self, row: &str, operation: O) {
        self.told(row, &operation, |_| "yes".to_owned());
    }

    /// The same, with what of the answer tells callers apart.
    fn told<O: Operation>(
        &mut self,
        row: &str,
        operation: &O,
        yes: impl Fn(&O::Granted) -> String,
    ) {
        let name = type_name::<O>().rsplit("::").next().unwrap().to_owned();
        let mut line = vec![name.clone(), row.to_owned()];
        for (column, caller) in &self.scene.callers {
            let tainted = *column == "tainted identity";
            let house = if tainted { &self.scene.tainted } else { &self.scene.house };
            let told = house.decided(caller, operation).outcome;
            line.push(told.map_or_else(|deny| deny.code().to_owned(), |granted| yes(&granted)));
        }
        self.walked.insert(name);
        self.rows.push(line);
    }

    /// What an agent does by itself, and with a delegation.
    fn authority(&mut self) {
        let scene = self.scene;
        let credential = Credential::JoinToken {
            id: scene.join.0.clone(),
            hash: join_token_hash(&scene.join.1),
        };
        self.walk("a join token", Enroll { credential, agent: None });
        self.walk("the own", Renew);
        self.walk("the own", RotateKey { new_key: key("next").public_key().clone() });
        self.walk("the own", RevokeFormerKeys { reason: "lost".into() });
        self.walk("alice", issue());
        let token = |token: &VerifiedToken| token.clone().into();
        self.walk("a hop of the agent", Delegate { token: token(&scene.offline) });
        self.walk("a hop of the helper", Delegate { token: token(&scene.below_helper) });
        self.walk("a hop of the agent", RecordHop { token: token(&scene.offline) });
        self.walk("a hop of the helper", RecordHop { token: token(&scene.below_helper) });
        for (row, target) in [
            ("the agent's delegation", Target::Delegation(scene.root.delegation())),
            ("the hop to the helper", Target::Hop(scene.helper.id())),
            ("the hop to the delegate", Target::Hop(scene.writer.id())),
            ("the other's delegation", Target::Delegation(scene.another.delegation())),
            ("what is not known", Target::Hop(HopId([9; 32]))),
            ("the agent", Target::Agent(agent("planner"))),
            ("the agent's key", Target::Key(key("planner").public_key().thumbprint())),
            ("alice", Target::Principal(ALICE.parse().unwrap())),
        ] {
            self.walk(row, Revoke { target, reason: "done".into(), chain: None });
        }
        let alice = || ALICE.parse().unwrap();
        for (row, principal) in [("alice", alice()), ("bob, revoked", BOB.parse().unwrap())] {
            self.walk(row, RestorePrincipal { principal, reason: "back".into() });
        }
        let word = LoggedOut { login: login(), issued_at: NOW, own: true };
        let other = Login { subject: "8".into(), ..login() };
        let others = LoggedOut { login: other, ..word.clone() };
        for (row, which) in [
            ("a session", Ending::Session(scene.session)),
            ("those of alice", Ending::Principal(alice())),
            ("the user's login", Ending::Login(word)),
            ("another's login", Ending::Login(others)),
        ] {
            self.walk(row, EndSessions { which, reason: "left".into() });
        }
    }

    /// What is read.
    fn reads(&mut self) {
        fn first<K>() -> PageOf<K> {
            PageOf { after: None, size: 0 }
        }
        let scene = self.scene;
        self.walk("the agent", GetAgentKey { agent: agent("planner") });
        self.walk("the agent", GetAgent { agent: agent("planner") });
        self.walk("default", GetProfile { name: "default".into() });
        self.walk("", GetStatus);
        for (row, token) in [
            ("the helper's chain", &scene.helper),
            ("the delegate's chain", &scene.writer),
            ("the other's chain", &scene.another),
        ] {
            self.walk(row, Replay { delegation: token.delegation() });
            self.walk(row, Inspect { token: token.clone().into() });
            self.walk(row, GetInclusionProof { token: token.clone().into() });
        }
        let rows = |count: usize| format!("{count} rows");
        self.told("", &ListDelegations(first()), |page| rows(page.rows.len()));
        self.walk("", ListAgents(first()));
        self.walk("", ListProfiles(first()));
        self.walk("", ListJoinTokens(first()));
        self.walk("", ListSessions(first()));
        self.walk("leaves", ReadLedger { from: 0, payloads: false });
        self.walk("payloads", ReadLedger { from: 0, payloads: true });
        self.walk("", ReadCheckpoint);
        self.walk("", WatchFeed);
        self.walk("", ReadRetention);
        self.walk("", ReportUses { uses: Vec::new() });
        self.walk("", ReportVerifierState { revocations: (1, 0).into(), head: None });
    }

    /// What an operator does.
    fn admin(&mut self) {
        let why = || "why".to_owned();
        let create =
            CreateAgent { agent: agent("x"), profile: "default".into(), join_ttl_seconds: 60 };
        self.walk("a new one", create);
        self.walk("the agent", CreateJoinToken { agent: agent("planner"), ttl_seconds: 60 });
        self.walk("a join token", RevokeJoinToken { id: self.scene.join.0.clone() });
        self.walk("a new one", ApplyProfile { profile: profile("more") });
        self.walk("the agent", SuspendAgent { agent: agent("planner"), reason: why() });
        self.walk("the suspended", ResumeAgent { agent: agent("sleeper") });
        self.walk("the agent", RevokeAgentKey { agent: agent("planner"), reason: why() });
        let grant = GrantSession {
            agent: agent("planner"),
            principal: ALICE.parse().unwrap(),
            ttl_seconds: 60,
            reason: why(),
        };
        self.walk("alice", grant);
        let step = RotateBrokerKey { step: KeyStep::Reissue, reason: why(), made: None };
        self.walk("the bundle", step);
        self.walk("a record", Erase { index: 2, reason: why() });
        self.walk("a record under a hold", Erase { index: 0, reason: why() });
        self.walk("records", Prune { below: 256 });
        let hold = CreateLegalHold { name: "next".into(), from: 0, to: None, reason: why() };
        self.walk("a new one", hold);
        self.walk("a hold", RemoveLegalHold { name: "case".into(), reason: why() });
    }

    /// The table, its columns under each other.
    fn table(&self) -> String {
        let heads = ["operation", "on"].map(str::to_owned).into_iter();
        let names = self.scene.callers.iter().map(|(name, _)| (*name).to_owned());
        let lines: Vec<Vec<String>> =
            std::iter::once(heads.chain(names).collect()).chain(self.rows.clone()).collect();
        let width = |at: usize| lines.iter().map(|line| line[at].chars().count()).max().unwrap();
        let widths: Vec<usize> = (0..lines[0].len()).map(width).collect();
        let mut text = String::new();
        for line in &lines {
            let cells = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
            let cells: Vec<String> = cells.collect();
            writeln!(text, "{}", cells.join("  ").trim_end()).unwrap();
        }
        text
    }
}

/// The types that implement `Operation`, as the sources of core say.
fn operations() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../core/src"), &mut found);
    assert!(found.len() > 30, "{found:?}");
    found
}

fn collect(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let file = syn::parse_file(&std::fs::read_to_string(&path).unwrap()).unwrap();
            found.extend(file.items.iter().filter_map(implements));
        }
    }
}

/// What an item implements `Operation` for.
fn implements(item: &syn::Item) -> Option<String> {
    let syn::Item::Impl(item) = item else { return None };
    let (_, path, _) = item.trait_.as_ref()?;
    let syn::Type::Path(of) = &*item.self_ty else { return None };
    let is_it = path.segments.last()?.ident == "Operation";
    is_it.then(|| of.path.segments.last().unwrap().ident.to_string())
}

#[test]
fn each_caller_may_do_what_the_matrix_says_and_nothing_else() {
    let scene = scene();
    let mut matrix = Matrix { scene: &scene, rows: Vec::new(), walked: BTreeSet::new() };
    matrix.authority();
    matrix.reads();
    matrix.admin();
    let all = operations();
    let missed: Vec<&String> = all.difference(&matrix.walked).collect();
    let mut text = matrix.table();
    writeln!(text, "\noperations that no row walks: {}", missed.len()).unwrap();
    missed.iter().for_each(|name| writeln!(text, "{name}").unwrap());
    println!(
        "{} operations, {} rows, {} callers, {} not walked",
        all.len(),
        matrix.rows.len(),
        scene.callers.len(),
        missed.len()
    );
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/roles.txt");
    if std::env::var_os("SUBLET_GOLDEN").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let agreed = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, agreed, "{}: SUBLET_GOLDEN=write renews it", path.display());
}

#[test]
fn an_operation_that_no_row_walks_is_missed() {
    let item = syn::parse_str("impl super::Operation for Fly { type Granted = (); }").unwrap();
    assert_eq!(implements(&item).as_deref(), Some("Fly"));
    let item = syn::parse_str("impl Display for Fly {}").unwrap();
    assert_eq!(implements(&item), None);
    assert!(!operations().contains("Fly") && operations().contains("Issue"));
}
