//! Uses as events for a SIEM: OCSF 1.9 API Activity (<https://schema.ocsf.io/1.9.0/classes/api_activity>), with
//! the profiles `ai_operation` (`delegation`, `ai_agent`) and `record_integrity` (`attestation`).
//!
//! Owns: the mapping of our terms to those of OCSF. Does not own: the history itself. What OCSF has no field
//! for is under `unmapped`. The attestation covers the event as it stands here; the evidence for its content
//! is the record that `unmapped.ledger` names.

use serde_json::{Value, json};
use sublet_client::audit::history::History;
use sublet_client::audit::questions::UseAnswer;
use sublet_core::base::bytes::sha256;
use sublet_core::base::json::Json;
use sublet_core::base::text::base64url;

use crate::cli_error::CliError;

/// API Activity, `Other`: what was called is any action of any tool.
const CLASS: u64 = 6003;
const ACTIVITY: u64 = 99;

/// SHA-256 among OCSF's fingerprints.
const SHA256: u64 = 3;

/// Returns one event for each use, one a line.
pub(crate) fn events(history: &History, uses: &[UseAnswer]) -> Result<String, CliError> {
    let mut lines = String::new();
    for used in uses {
        let mut event = event(history, used);
        let fingerprint = fingerprint(&event)?;
        if let Some(attestation) = event.get_mut("attestation").and_then(Value::as_object_mut) {
            attestation.insert("fingerprint".to_owned(), fingerprint);
        }
        lines += &event.to_string();
        lines.push('\n');
    }
    Ok(lines)
}

fn event(history: &History, used: &UseAnswer) -> Value {
    let (allowed, head) = (used.verdict == "allowed", &history.head);
    json!({
        "category_uid": 6,
        "class_uid": CLASS,
        "activity_id": ACTIVITY,
        "activity_name": used.action,
        "type_uid": CLASS * 100 + ACTIVITY,
        "time": used.decided_at_ms,
        "severity_id": if allowed { 1 } else { 3 },
        "status_id": if allowed { 1 } else { 2 },
        "status_code": used.verdict,
        "metadata": {
            "version": "1.9.0",
            "profiles": ["ai_operation", "record_integrity"],
            "product": {"name": "Sublet", "vendor_name": "Sublet"},
            "uid": format!("{}/{}", head.origin, used.record),
            "logged_time": used.recorded_at_ms,
        },
        "actor": {"user": {"name": used.on_behalf_of, "uid": used.on_behalf_of}},
        "ai_agent": {"uid": used.by, "name": used.by},
        "api": {"operation": used.action, "service": {"name": used.audience, "uid": used.audience}},
        "src_endpoint": {"uid": used.by, "name": used.by},
        "delegation": delegation(history, used),
        "attestation": {
            "uid": format!("{}/{}", head.origin, used.record),
            "authority_uid": head.origin,
            "chain_uid": head.origin,
        },
        "unmapped": {
            "arguments": used.arguments,
            "reported_by": used.reported_by,
            "holders": used.hops.iter().map(|hop| hop.holder.as_str()).collect::<Vec<_>>(),
            "stale": used.stale,
            "ledger": {
                "origin": head.origin,
                "record": used.record,
                "size": head.size,
                "root": base64url(head.root),
                "decided_again": used.decided_again,
            },
        },
    })
}

/// The hop that the call was made with, and its parent.
fn delegation(history: &History, used: &UseAnswer) -> Value {
    let last = used.hops.last();
    let parent = used.hops.iter().nth_back(1).map(|hop| hop.hop.as_str());
    let recorded = last.and_then(|hop| hop.hop.parse().ok()).and_then(|hop| history.hop(&hop));
    let scopes = recorded.and_then(|hop| hop.block.as_ref()).map(|block| {
        let capabilities = block.scope.iter().flat_map(|scope| scope.capabilities());
        capabilities.map(ToString::to_string).collect::<Vec<_>>()
    });
    let mut delegation = json!({
        "uid": last.map_or(used.delegation.as_str(), |hop| hop.hop.as_str()),
        "issuer_uid": history.head.origin,
        "audience": used.audience,
    });
    let more = [
        ("parent_uid", parent.map(Value::from)),
        ("created_time", recorded.map(|hop| Value::from(hop.recorded_at.0))),
        ("expiration_time", recorded.map(|hop| Value::from(hop.expires.saturating_mul(1000)))),
        ("scopes", scopes.map(Value::from)),
    ];
    if let Some(members) = delegation.as_object_mut() {
        let there = more.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
        members.extend(there);
    }
    delegation
}

/// SHA-256 over the event in canonical form (RFC 8785), without this fingerprint.
fn fingerprint(event: &Value) -> Result<Value, CliError> {
    let json = Json::parse(event.to_string().as_bytes());
    let json =
        json.map_err(|bad| CliError::local(format!("an event is not canonical JSON: {bad}")))?;
    let hex: String = sha256(&json.canonical()).iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(json!({"algorithm": "SHA-256", "algorithm_id": SHA256, "value": hex}))
}
