//! Known: what of the configuration's catalogs was known when a hub started last.
//!
//! In: the documents of the configuration, the record of the start before. Out: a record, and the line of the audit log that says
//! which of them came, went or changed.
//! Never: decides by them: what they say is decided as what a commit says.

use std::collections::BTreeMap;

use nave_placement::Digest;

use crate::deciding::core::json;
use crate::deciding::revision::Configured;
use crate::state::records::{ConfiguredRecord, key};
use crate::state::{Audit, CommitError, Ledger, Step};
use crate::store::Batch;

/// Tells the audit log where the configuration has other catalogs than at the start before.
///
/// # Errors
/// When the store cannot be written.
pub async fn tell(ledger: &Ledger, configured: Option<&Configured>) -> Result<(), CommitError> {
    let held = ledger.state().configured.clone();
    let catalogs = configured.map(documents).unwrap_or_default();
    let known = match &held {
        Some(held) => held.catalogs.clone(),
        // A hub from before there was a record took these, and said nothing.
        None => {
            let heads = &ledger.state().heads;
            let is_taken = |name: &str| heads.keys().any(|head| head.as_str() == name);
            catalogs.iter().filter(|(name, _)| is_taken(name)).map(|(n, d)| (n.clone(), *d)).collect()
        }
    };
    let details = changes(&known, &catalogs);
    if details.is_empty() && (held.is_some() || catalogs.is_empty()) {
        return Ok(());
    }
    let audit = Audit {
        who: "hub".to_owned(),
        what: "Configured",
        subject: "catalogs".to_owned(),
        why: configured.map(|of| of.file.to_string()).unwrap_or_default(),
        details,
        ..Audit::default()
    };
    let batch = Batch::new()
        .require_same(key::CONFIGURED, held.map(|held| held.version))
        .put(key::CONFIGURED, json(&ConfiguredRecord { catalogs }));
    let audits: &[Audit] = if audit.details.is_empty() { &[] } else { &[audit] };
    match ledger.commit_audited(Step::HeadTaken, batch, audits).await {
        // Another hub that starts told it.
        Err(error) if error.is_conflict() => Ok(()),
        told => told.map(drop),
    }
}

/// The catalogs by name, each by the digest of its document: one a line, wherever that stands.
fn documents(configured: &Configured) -> BTreeMap<String, Digest> {
    let text = String::from_utf8_lossy(&configured.text);
    let documents = text.lines().filter_map(|line| line.strip_prefix("--- "));
    let named = |document: &str| {
        let value: serde_json::Value = serde_json::from_str(document).ok()?;
        Some((value["metadata"]["name"].as_str()?.to_owned(), Digest::of(document.as_bytes())))
    };
    documents.filter_map(named).collect()
}

/// Which came, went or changed.
fn changes(known: &BTreeMap<String, Digest>, now: &BTreeMap<String, Digest>) -> BTreeMap<String, String> {
    let names = |of: &BTreeMap<String, Digest>, is: &dyn Fn(&String, &Digest) -> bool| {
        let names = of.iter().filter(|(name, digest)| is(name, digest)).map(|(name, _)| name.as_str());
        names.collect::<Vec<_>>().join(",")
    };
    let came = names(now, &|name, _| !known.contains_key(name));
    let went = names(known, &|name, _| !now.contains_key(name));
    let changed = names(now, &|name, digest| known.get(name).is_some_and(|before| before != digest));
    let all = [("came", came), ("went", went), ("changed", changed)];
    all.into_iter()
        .filter(|(_, names)| !names.is_empty())
        .map(|(how, names)| (how.to_owned(), names))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_went_or_changed_is_said_and_where_it_stands_is_no_change() {
        let of = |catalogs: &[(&str, &str)], before: &str| {
            let document = |(name, url): &(&str, &str)| {
                format!("--- {{\"metadata\":{{\"name\":\"{name}\"}},\"spec\":\"{url}\"}}\n")
            };
            let text = before.to_owned() + &catalogs.iter().map(document).collect::<String>();
            documents(&Configured { file: "/etc/hub.yaml".into(), text: text.into_bytes().into() })
        };
        let known = of(&[("a", "1"), ("b", "1"), ("c", "1")], "");
        let now = of(&[("b", "1"), ("c", "2"), ("d", "1"), ("e", "1")], "\n\n");
        let said = |known, now| {
            let said = changes(known, now).into_iter();
            said.map(|(how, names)| format!("{how} {names}")).collect::<Vec<_>>()
        };
        assert_eq!(said(&known, &now), ["came d,e", "changed c", "went a"]);
        assert!(said(&known, &known).is_empty());
        assert_eq!(said(&known, &BTreeMap::new()), ["went a,b,c"]);
    }
}
