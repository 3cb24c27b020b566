//! `hub audit`: who did what, when and why.
//!
//! In: the log, page by page. Out: its last lines; all of them for another system; or whether every line of it is as it was
//! written, checked here.
//! Never: takes the hub's word for the log being whole.

use anyhow::Context as _;
use clap::{Args, Subcommand};
use nave_proto::v1;
use serde::{Deserialize, Serialize};

use super::Outcome;
use super::client::{Client, Hub, document, request};
use super::output::{Document, Format, Style, View, print, time};
use super::status::count;
use super::table::Table;
use crate::operator::views::AuditView;
use crate::state::records::{AnchorRecord, AuditRecord};
use crate::state::trim::tells_of;
use crate::state::{Tail, verify_chain};

/// How often a log is read that is trimmed meanwhile: the hub does so once a minute, or when something was written.
const ATTEMPTS: usize = 5;
/// Lines that are asked for at once: as many as the hub gives.
const PAGE: u32 = 1000;

/// Its arguments.
#[derive(Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:\n  hub audit --limit 10\n  hub audit verify\n  hub audit export --after 812 >> audit.jsonl"
)]
pub struct Arguments {
    /// How many of the last lines
    #[arg(long, value_name = "NUMBER", default_value_t = 50)]
    limit: u64,
    #[command(flatten)]
    format: Format,
    #[command(subcommand)]
    order: Option<Order>,
}

#[derive(Subcommand)]
enum Order {
    /// Check that no line was changed, moved or left out
    #[command(after_help = "Example: hub audit verify")]
    Verify {
        #[command(flatten)]
        format: Format,
    },
    /// Print the log as JSON lines, oldest first
    #[command(after_help = "Example: hub audit export --after 812 >> audit.jsonl")]
    Export {
        /// Only lines after this one
        #[arg(long, value_name = "LINE", default_value_t = 0)]
        after: u64,
    },
}

/// What verifying found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct VerifyView {
    /// Lines that are as they were written.
    lines: u64,
    /// The hash of the last of them.
    hash: nave_placement::Digest,
    /// The first line that is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    bad: Option<u64>,
    /// Where the log begins, if not with its first line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    anchor: Option<AnchorRecord>,
    /// No line of the log tells of that.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    untold: bool,
}

/// Prints or verifies the log.
pub async fn run(arguments: &Arguments, hub: &Hub) -> anyhow::Result<Outcome> {
    let mut client = hub.connect().await?;
    let AuditView { last, anchor, .. } = page(&mut client, 0, 1).await?;
    let first = first(anchor.as_ref());
    match &arguments.order {
        Some(Order::Verify { format }) => {
            let verdict = verified(&mut client).await?;
            Document::of(&verdict)?.print::<VerifyView>(format.output)?;
            let is_whole = verdict.bad.is_none() && !verdict.untold;
            return Ok(if is_whole { Outcome::Done } else { Outcome::Failed });
        }
        Some(Order::Export { after }) => {
            let mut from = first.max(*after);
            if from > *after {
                eprintln!("lines {} to {first} are no longer kept", after + 1);
            }
            while from < last {
                // A page at a time: a log may be long.
                let to = last.min(from.saturating_add(u64::from(PAGE)));
                let mut text = String::new();
                for line in lines(&mut client, from, to).await? {
                    text += &serde_json::to_string(&line)?;
                    text.push('\n');
                }
                print(&text)?;
                from = to;
            }
            return Ok(Outcome::Done);
        }
        None => {}
    }
    let lines = lines(&mut client, last.saturating_sub(arguments.limit).max(first), last).await?;
    Document::of(&AuditView { lines, last, anchor })?.print::<AuditView>(arguments.format.output)?;
    Ok(Outcome::Done)
}

async fn page(client: &mut Client, after: u64, limit: u32) -> anyhow::Result<AuditView> {
    document(client.audit_list(request(v1::AuditListRequest { after, limit })).await)?.view()
}

/// The last line that is no longer kept.
fn first(anchor: Option<&AnchorRecord>) -> u64 {
    anchor.map_or(0, |anchor| anchor.sequence)
}

/// What verifying the log finds. What is trimmed while it is read is not missing: it is read once more from where it begins then.
async fn verified(client: &mut Client) -> anyhow::Result<VerifyView> {
    let AuditView { mut last, mut anchor, .. } = page(client, 0, 1).await?;
    for _ in 0..ATTEMPTS {
        let lines = lines(client, first(anchor.as_ref()), last).await?;
        let verdict = verify(&lines, last, anchor.clone());
        let now = page(client, 0, 1).await?;
        if (verdict.bad.is_none() && !verdict.untold) || now.anchor == anchor {
            return Ok(verdict);
        }
        (last, anchor) = (now.last, now.anchor);
    }
    anyhow::bail!(
        "the log is trimmed faster than it can be read; `audit` in the hub's configuration says how much of it is kept"
    )
}

/// The lines after one up to another. A line that the hub leaves out is missing here too.
async fn lines(client: &mut Client, after: u64, last: u64) -> anyhow::Result<Vec<AuditRecord>> {
    let mut lines = Vec::new();
    let mut from = after;
    while from < last {
        let wanted = u32::try_from(last - from).unwrap_or(u32::MAX).min(PAGE);
        lines.extend(page(client, from, wanted).await.context("the log cannot be read")?.lines);
        from += u64::from(wanted);
    }
    Ok(lines)
}

fn verify(lines: &[AuditRecord], last: u64, anchor: Option<AnchorRecord>) -> VerifyView {
    let start = anchor.as_ref().map_or_else(Tail::default, |anchor| Tail {
        sequence: anchor.sequence,
        hash: anchor.hash,
        ..Tail::default()
    });
    let (good, bad) = match verify_chain(lines, start) {
        Ok(tail) => (lines.len(), (tail.sequence < last).then_some(tail.sequence + 1)),
        // This many lines before it are good.
        Err(bad) => {
            let good = bad.saturating_sub(start.sequence + 1);
            (usize::try_from(good).unwrap_or(0).min(lines.len()), Some(bad))
        }
    };
    let hash = lines[..good].last().map_or(start.hash, |line| line.hash);
    // The log vouches for where it begins, or anybody could let it begin later.
    let is_told = |anchor: &AnchorRecord| lines[..good].iter().any(|line| tells_of(line, anchor));
    let untold = anchor.as_ref().is_some_and(|anchor| !is_told(anchor));
    VerifyView { lines: good as u64, hash, bad, anchor, untold }
}

impl View for VerifyView {
    fn text(&self, _: Style) -> String {
        let lines = count(usize::try_from(self.lines).unwrap_or(usize::MAX), "line", "lines");
        let mut text = match self.bad {
            None => format!("{lines}, all as they were written; the last hash is {}\n", self.hash),
            Some(bad) => format!(
                "line {bad} is missing, changed or out of order; {lines} before it are as they were written\n"
            ),
        };
        if let Some(AnchorRecord { sequence, hash, at_ms, rule, .. }) = &self.anchor {
            let (at, rule) = (time(*at_ms), format!("{rule:?}").to_lowercase());
            text += &format!(
                "lines 1 to {sequence} are no longer kept: trimmed by {rule} at {at}; the hash of the last is {hash}\n"
            );
            if self.untold {
                text += "no line that is as it was written tells of that: the beginning of the log was taken away by other means\n";
            }
        }
        text
    }

    fn names(&self) -> Vec<String> {
        vec![self.hash.to_string()]
    }
}

impl View for AuditView {
    fn text(&self, style: Style) -> String {
        let mut table = Table::new(["LINE", "WHEN", "WHO", "WHAT", "SUBJECT", "WHY"]);
        for line in &self.lines {
            let details = line.details.iter().map(|(name, value)| format!("{name}={value}"));
            let why = Some(line.why.clone()).filter(|why| !why.is_empty()).into_iter().chain(details);
            table.row([
                line.sequence.to_string().into(),
                time(line.at_ms).into(),
                line.who.clone().into(),
                line.what.clone().into(),
                line.subject.clone().into(),
                style.message(&why.collect::<Vec<_>>().join(" ")).into(),
            ]);
        }
        table.to_string()
    }

    fn names(&self) -> Vec<String> {
        self.lines.iter().map(|line| line.sequence.to_string()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_that_lacks_its_end_is_not_whole() {
        assert_eq!(verify(&[], 0, None).bad, None);
        let lacking = verify(&[], 3, None);
        assert_eq!((lacking.lines, lacking.bad), (0, Some(1)));
    }
    #[test]
    fn a_beginning_that_no_line_tells_of_was_taken_away() {
        let hash = nave_placement::Digest::of(b"x");
        let rule = crate::state::records::TrimRule::Age;
        let anchor = AnchorRecord { sequence: 7, hash, at_ms: 1, rule, bytes: 1 };
        let found = verify(&[], 7, Some(anchor));
        assert_eq!((found.lines, found.bad, found.untold), (0, None, true));
        assert!(found.text(Style::default()).contains("was taken away by other means"));
    }
}
