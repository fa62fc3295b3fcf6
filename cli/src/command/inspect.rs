//! `sublet inspect`: a token as a tree for a person.

use std::path::PathBuf;

use serde_json::{Value, json};
use sublet_client::audit::chain::narrowing;
use sublet_client::files;
use sublet_core::biscuit::block::{Block, Role};
use sublet_core::capability::Capability;
use sublet_core::capability::effective::effective;
use sublet_core::evidence::receipt::Receipt;
use sublet_core::refusal::Malformed;
use sublet_core::token::narrow;
use sublet_core::token::verify::{Coverage, VerifiedToken};
use sublet_core::token::{Presentation, UnverifiedToken};

use crate::cli_error::CliError;
use crate::context::Context;
use crate::print;

/// Show a token: holders, principal, expiry, and what each hop narrowed
///
/// With a trust bundle, signatures and receipt are verified; without one, the content is shown unverified. The
/// broker is not asked, so a revocation is not shown.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// File with the token
    file: PathBuf,
}

/// The result of verifying the token.
enum Authenticity {
    Verified(Box<VerifiedToken>),
    Refused(String),
    NotAsked,
}

pub(crate) fn run(args: Args, context: &Context) -> Result<(), CliError> {
    let presentation =
        Presentation::from_text(&files::read_text(&args.file)?).map_err(Malformed::from)?;
    let token = presentation.open().map_err(Malformed::from)?;
    let authenticity = match &context.trust {
        None => Authenticity::NotAsked,
        Some(_) => match VerifiedToken::verify(token.clone(), &context.trust()?.current()) {
            Ok(verified) => Authenticity::Verified(Box::new(verified)),
            Err(refusal) => Authenticity::Refused(refusal.to_string()),
        },
    };
    let receipt = receipt(&presentation, &authenticity, context)?;
    if context.json() {
        print::json(&value(&token, &authenticity, &receipt)?);
    } else {
        tree(&token, &authenticity, &receipt);
    }
    Ok(())
}

/// Returns the receipt in words, and the position of the last hop that it covers.
fn receipt(
    presentation: &Presentation,
    authenticity: &Authenticity,
    context: &Context,
) -> Result<(String, Option<u32>), CliError> {
    let Some(receipt) = &presentation.receipt else {
        return Ok(("no receipt".to_owned(), None));
    };
    let receipt = Receipt::decode(receipt).map_err(Malformed::Receipt)?;
    let (position, until) = (receipt.claims.position, print::utc_ms(receipt.claims.fresh_until.0));
    let detail = format!("hops 0–{position}; revocation status good until {until}");
    let Authenticity::Verified(token) = authenticity else {
        return Ok((format!("{detail} (not verified)"), Some(position)));
    };
    match Coverage::verify(receipt, token, &context.trust()?.current()) {
        Ok(_) => Ok((detail, Some(position))),
        Err(refusal) => Ok((format!("the receipt is not valid: {refusal}"), None)),
    }
}

fn tree(token: &UnverifiedToken, authenticity: &Authenticity, receipt: &(String, Option<u32>)) {
    let first = token.blocks().first().map(|signed| signed.block());
    match first.map(|block| &block.role) {
        Some(Role::Grant { origin, on_behalf_of }) => crate::print::line!(
            "delegation on behalf of {on_behalf_of}, issued by {}",
            origin.issuer
        ),
        Some(Role::Identity { origin }) => {
            crate::print::line!("identity token, issued by {}", origin.issuer)
        }
        _ => {}
    }
    match authenticity {
        Authenticity::Verified(token) => {
            crate::print::line!("signatures: valid; delegation {}", token.delegation())
        }
        Authenticity::Refused(detail) => crate::print::line!("signatures: NOT VALID: {detail}"),
        Authenticity::NotAsked => {
            crate::print::line!("signatures: not verified (set SUBLET_TRUST or --trust)")
        }
    }
    crate::print::line!("recorded by the broker: {}", receipt.0);
    let mut parent: Option<&Block> = None;
    for (position, signed) in token.blocks().iter().enumerate() {
        let block = signed.block();
        let indent = "   ".repeat(position);
        let branch = if position == 0 { "" } else { "└─ " };
        let indent_branch = indent.get(3..).unwrap_or_default();
        crate::print::line!("{indent_branch}{branch}{}", who(block));
        if let Authenticity::Verified(token) = authenticity {
            crate::print::line!(
                "{indent}   hop {position}  {}",
                token.id_at(position).map(|id| id.to_string()).unwrap_or_default()
            );
        }
        crate::print::line!(
            "{indent}   valid until {}, hops ≤ {}, offline hops ≤ {}",
            print::utc(block.not_after),
            block.hops_max,
            block.offline_hops_max
        );
        for line in scope(block) {
            crate::print::line!("{indent}   may {line}");
        }
        if parent.is_some_and(|parent| narrow::check(parent, block, position - 1).is_err()) {
            crate::print::line!(
                "{indent}   WARNING: wider than the hop before it; a call is permitted only if every hop permits it"
            );
        }
        for line in parent.map(|parent| narrowing(parent, block)).unwrap_or_default() {
            crate::print::line!("{indent}   {line}");
        }
        parent = Some(block);
    }
    print_effective(token);
}

/// Prints what the last holder may do: what every hop permits.
fn print_effective(token: &UnverifiedToken) {
    let left = effective(token.blocks().iter().map(|signed| signed.block()));
    for capability in &left.may {
        crate::print::line!("in effect: may {capability}");
    }
    for capability in &left.may_hand_out {
        crate::print::line!("in effect: may delegate but not use {capability}");
    }
    if left.incomplete {
        crate::print::line!(
            "in effect: perhaps more, which cannot be written as single capabilities; check a call with sublet can-i"
        );
    } else if left.may.is_empty() && left.may_hand_out.is_empty() {
        crate::print::line!("in effect: nothing");
    }
}

fn who(block: &Block) -> String {
    match &block.helper {
        None => block.agent.to_string(),
        Some(helper) => format!("{}#{helper} (helper)", block.agent),
    }
}

fn scope(block: &Block) -> Vec<String> {
    block.scope.iter().flat_map(|scope| scope.capabilities()).map(ToString::to_string).collect()
}

fn capabilities(all: &[Capability]) -> Vec<Value> {
    all.iter().filter_map(|one| serde_json::from_slice(&one.to_json()).ok()).collect()
}

fn value(
    token: &UnverifiedToken,
    authenticity: &Authenticity,
    receipt: &(String, Option<u32>),
) -> Result<Value, CliError> {
    let ids = |position: usize| match authenticity {
        Authenticity::Verified(token) => token.id_at(position).map(|id| id.to_string()),
        _ => None,
    };
    let left = effective(token.blocks().iter().map(|signed| signed.block()));
    let mut hops = Vec::new();
    for (position, signed) in token.blocks().iter().enumerate() {
        let block = signed.block();
        let scope = block.scope.as_ref().map(|scope| capabilities(scope.capabilities()));
        hops.push(json!({
            "hop": ids(position),
            "position": position,
            "agent": block.agent.to_string(),
            "helper": block.helper.as_ref().map(ToString::to_string),
            "key": signed.next_key().thumbprint().to_string(),
            "not_after": print::utc(block.not_after),
            "hops_max": block.hops_max,
            "offline_hops_max": block.offline_hops_max,
            "scope": scope.unwrap_or_default(),
        }));
    }
    let principal = token.blocks().first().and_then(|signed| match &signed.block().role {
        Role::Grant { on_behalf_of, .. } => Some(on_behalf_of.to_string()),
        _ => None,
    });
    let (verified, detail) = match authenticity {
        Authenticity::Verified(_) => (Some(true), None),
        Authenticity::Refused(detail) => (Some(false), Some(detail)),
        Authenticity::NotAsked => (None, None),
    };
    Ok(json!({
        "on_behalf_of": principal,
        "verified": verified,
        "says": detail,
        "receipt": {"says": receipt.0, "covers": receipt.1},
        "hops": hops,
        "effective": {
            "may": capabilities(&left.may),
            "may_hand_out": capabilities(&left.may_hand_out),
            "incomplete": left.incomplete,
        },
    }))
}
