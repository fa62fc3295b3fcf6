//! Who a caller is: whom its calls are charged to, and how records name it.

use sublet_core::base::sign::Signer as _;
use sublet_core::decide::caller::{Account, Caller};
use sublet_core::state::rows::session::Login;
use sublet_tests::{Fleet, House, NOW, agent, append, key, to_helper};

use crate::READ;

#[test]
fn a_caller_is_charged_recorded_and_dated_by_what_it_has_shown() {
    let fleet = Fleet::new();
    let root = fleet.root("planner", READ);
    let helper = append(&root, &to_helper("scout", READ), "planner").unwrap();
    let new = key("new");
    let signature = new.sign(b"enrol").unwrap();
    let newcomer = Caller::new_key(new.public_key().clone(), b"enrol", &signature).unwrap();
    let login = Login { issuer: "https://i".into(), subject: "7".into(), sid: None };
    let planner = || Some(Account::Agent(agent("planner")));
    for (caller, account, by, hop, proven_at) in [
        (House::admin(), Some(Account::Admin), Some("admin"), None, Some(NOW)),
        (House::agent(&fleet, "planner"), planner(), Some("planner"), None, Some(NOW)),
        (
            House::caller(&root, &key("planner")),
            planner(),
            Some("planner"),
            Some(root.id()),
            Some(NOW),
        ),
        (
            House::caller(&helper, &key("scout")),
            planner(),
            Some("scout"),
            Some(helper.id()),
            Some(NOW),
        ),
        (newcomer, None, Some("new"), None, None),
        (Caller::user(login), None, None, None, None),
    ] {
        let thumbprint = by.map(|name| key(name).public_key().thumbprint());
        assert_eq!(caller.account(), account, "{caller}");
        assert_eq!((caller.key(), caller.proven_at()), (thumbprint, proven_at), "{caller}");
        let actor = caller.actor();
        assert_eq!((actor.name, actor.key, actor.hop), (caller.to_string(), thumbprint, hop));
    }
}

#[test]
fn an_account_is_named_as_its_agent_is() {
    assert_eq!(Account::Admin.to_string(), "admin");
    let planner = Account::Agent(agent("planner")).to_string();
    assert_eq!(planner, "spiffe://acme.example/agent/planner");
}
