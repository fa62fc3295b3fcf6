//! The check that a hop is narrower than its parent. SPEC 3.5, 4.4: P1 and P2 at the time of
//! delegation. Verification checks every block again.

use crate::biscuit::block::Block;
use crate::capability::Step;
use crate::refusal::Deny;

/// Checks block `hop + 1` against block `hop` of one chain: scope, end and number of hops.
pub fn check(parent: &Block, child: &Block, hop: usize) -> Result<(), Deny> {
    let next = u32::try_from(hop).unwrap_or(u32::MAX).saturating_add(1);
    if next > parent.hops_max {
        return Err(Deny::NoHopsLeft { hop, allowed: parent.hops_max, next });
    }
    if child.hops_max > parent.hops_max {
        return Err(Deny::HopsExceed { asked: child.hops_max, held: parent.hops_max, hop });
    }
    if child.offline_hops_max > parent.offline_hops_max {
        return Err(Deny::UnrecordedExceed {
            asked: child.offline_hops_max,
            held: parent.offline_hops_max,
            hop,
        });
    }
    if child.not_after > parent.not_after {
        return Err(Deny::OutlivesParent { asked: child.not_after, held: parent.not_after, hop });
    }
    match (&parent.scope, &child.scope) {
        (Some(held), Some(asked)) => {
            let step = Step { hop: next, to_another: child.agent != parent.agent };
            held.covers_after(asked, step).map_err(|exceeds| Deny::ScopeExceeds { exceeds, hop })
        }
        _ => Err(Deny::Forbidden("an identity token cannot be delegated")),
    }
}
