//! Reports of a history: Markdown, one page of HTML, CSV, and lines of JSON for a SIEM (`ocsf`).
//! They are derived; the evidence is the records in the bundle beside them.

use std::fmt::Write as _;

use sublet_client::audit::history::History;
use sublet_client::audit::questions::{Query, UseAnswer};
use sublet_client::audit::replay::Report;
use sublet_core::base::text::base64url;

use super::ocsf;
use crate::cli_error::CliError;
use crate::print;

/// Returns what a tool reported of a use beside its decision, as lines of a tree; empty when it reported
/// nothing more.
pub(crate) fn tool_lines(used: &UseAnswer) -> Vec<String> {
    let taken = used.capabilities.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let taken = Some(taken).filter(|taken| !taken.is_empty());
    let detail = [
        used.outcome.as_ref().map(|outcome| format!("outcome {}", outcome.escape_debug())),
        taken.map(|taken| format!("admitted by capability {taken} of each block")),
        used.answer.as_ref().map(|answer| format!("SHA-256 of the answer {answer}")),
    ];
    detail
        .into_iter()
        .flatten()
        .map(|detail| format!("   reported by the tool: {detail}"))
        .collect()
}

/// Returns every report with its file name.
pub(crate) fn views(history: &History) -> Result<Vec<(String, Vec<u8>)>, CliError> {
    let uses = history.uses_of(&Query::default());
    Ok(vec![
        ("report.md".to_owned(), markdown(history, &uses).into_bytes()),
        ("report.html".to_owned(), html(history, &uses).into_bytes()),
        ("uses.csv".to_owned(), csv(&uses).into_bytes()),
        ("events.jsonl".to_owned(), ocsf::events(history, &uses)?.into_bytes()),
    ])
}

const DERIVED: &str = "This report is derived from the records of this bundle and is not evidence itself. `sublet audit verify` checks the records.";

fn markdown(history: &History, uses: &[UseAnswer]) -> String {
    let head = &history.head;
    let mut text = format!(
        "# Ledger of {}\n\n{DERIVED}\n\n{} records, root `{}`.\n",
        head.origin,
        head.size,
        base64url(head.root)
    );
    for report in history.delegations.values() {
        let principal = report.on_behalf_of.as_deref().unwrap_or("(not shown)");
        let _ = write!(
            text,
            "\n## On behalf of {principal}\n\nDelegation `{}`.\n\n",
            report.delegation
        );
        for hop in &report.hops {
            let indent = "  ".repeat(hop.position as usize);
            let _ = writeln!(text, "{indent}- {} (record {})", hop.holder, hop.index);
            for change in &hop.narrowing {
                let _ = writeln!(text, "{indent}  - {change}");
            }
        }
    }
    text += "\n## Uses\n\n| record | at | who | on behalf of | tool | action | verdict | decision replayed |\n|---|---|---|---|---|---|---|---|\n";
    for used in uses {
        let cells = cells(used);
        let cells = cells.map(|cell| cell.replace('|', "\\|").replace('\n', " "));
        let _ = writeln!(text, "| {} |", cells.join(" | "));
    }
    text += "\n## Revocations\n\n";
    for revoked in history.revoked() {
        let at = print::utc_ms(revoked.at_ms);
        let _ = writeln!(
            text,
            "- record {} at {at}: {} by {} ({}); {} uses allowed after it, before the tool received it",
            revoked.record,
            revoked.what,
            revoked.by,
            revoked.reason,
            revoked.stale_uses.len()
        );
    }
    text
}

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:60rem;padding:0 1rem;color:#111}
h2{margin-top:2rem}table{border-collapse:collapse;width:100%;font-size:13px}td,th{border-bottom:1px solid #ccc;padding:.3rem .5rem;text-align:left;vertical-align:top;overflow-wrap:anywhere}
ul.tree,ul.tree ul{list-style:none;margin:0;padding-left:1.4rem}ul.tree li{border-left:2px solid #888;padding:.15rem 0 .15rem .7rem;overflow-wrap:anywhere}
.less{color:#555;font-size:13px}.no{color:#a00}code{font-size:12px}@media print{body{margin:0;max-width:none}h2{break-after:avoid}tr{break-inside:avoid}}";

/// One page that fetches nothing.
fn html(history: &History, uses: &[UseAnswer]) -> String {
    let head = &history.head;
    let mut page = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>{origin}</title><style>{STYLE}</style><h1>Ledger of {origin}</h1><p>{derived}</p><p>{size} records, root <code>{root}</code>.</p>",
        origin = escape(&head.origin),
        derived = escape(&DERIVED.replace('`', "")),
        size = head.size,
        root = base64url(head.root),
    );
    for report in history.delegations.values() {
        let principal = report.on_behalf_of.as_deref().unwrap_or("(not shown)");
        let _ = write!(page, "<h2>On behalf of {}</h2><ul class=\"tree\">", escape(principal));
        tree(report, None, &mut page);
        page += "</ul>";
    }
    page += "<h2>Uses</h2><table><tr><th>record<th>at<th>who<th>tool<th>action<th>arguments<th>verdict<th>decision replayed</tr>";
    for used in uses {
        let class = if used.verdict == "allowed" { "" } else { " class=\"no\"" };
        let _ = write!(
            page,
            "<tr{class}><td>{}<td>{}<td>{}<td>{}<td>{}<td><code>{}</code><td>{}<td>{}</tr>",
            used.record,
            print::utc_ms(used.decided_at_ms),
            escape(used.by.as_deref().unwrap_or_default()),
            escape(&used.audience),
            escape(&used.action),
            escape(used.arguments.as_deref().unwrap_or_default()),
            escape(&used.verdict),
            used.decided_again,
        );
    }
    page += "</table></html>\n";
    page
}

/// Writes the hops below `parent`, each with the hops below it. A parent is recorded before its child, and a
/// chain has at most 64 hops, so the recursion ends.
fn tree(report: &Report, parent: Option<sublet_core::base::id::HopId>, page: &mut String) {
    for hop in report.hops.iter().filter(|hop| hop.parent == parent) {
        let class = if hop.revoked.is_some() { " class=\"no\"" } else { "" };
        let _ =
            write!(page, "<li{class}>{} <code>record {}</code>", escape(&hop.holder), hop.index);
        for change in &hop.narrowing {
            let _ = write!(page, "<div class=\"less\">{}</div>", escape(change));
        }
        page.push_str("<ul>");
        tree(report, Some(hop.hop), page);
        page.push_str("</ul></li>");
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Returns the cells of one use: record, time, holder, principal, tool, action, verdict, replayed decision.
pub(crate) fn cells(used: &UseAnswer) -> [String; 8] {
    [
        used.record.to_string(),
        print::utc_ms(used.decided_at_ms),
        used.by.clone().unwrap_or_default(),
        used.on_behalf_of.clone().unwrap_or_default(),
        used.audience.clone(),
        used.action.clone(),
        used.verdict.clone(),
        used.decided_again.to_owned(),
    ]
}

/// One line for each use (RFC 4180).
fn csv(uses: &[UseAnswer]) -> String {
    let mut text = "record,decided_at,recorded_at,by,on_behalf_of,tool,action,arguments,verdict,decided_again,delegation\r\n".to_owned();
    for used in uses {
        let cells = [
            used.record.to_string(),
            print::utc_ms(used.decided_at_ms),
            print::utc_ms(used.recorded_at_ms),
            used.by.clone().unwrap_or_default(),
            used.on_behalf_of.clone().unwrap_or_default(),
            used.audience.clone(),
            used.action.clone(),
            used.arguments.clone().unwrap_or_default(),
            used.verdict.clone(),
            used.decided_again.to_owned(),
            used.delegation.clone(),
        ];
        text += &cells.map(|cell| cell_of(&cell)).join(",");
        text += "\r\n";
    }
    text
}

/// Quotes a cell. A text that a spreadsheet would read as a formula gets an apostrophe in front.
fn cell_of(text: &str) -> String {
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let guard = if formula { "'" } else { "" };
    format!("\"{guard}{}\"", text.replace('"', "\"\""))
}
