//! Facts as text.
//!
//! In: what a cluster says of itself. Out: lines for people. Never: shows unknown as absent, or the other way round.

use std::collections::BTreeMap;

use nave_placement::fleet::{Fact, Resources};

use super::super::output::{Style, time};
use super::super::table::one_line;
use crate::operator::views::FactsView;

/// Words of a list that a line has room for.
const WORDS: usize = 12;

/// `Unknown` is not `Absent`, also for people: a question mark, and nothing.
pub(super) fn fact<T>(fact: &Fact<T>, text: impl FnOnce(&T) -> String) -> String {
    match fact {
        Fact::Unknown => "?".to_owned(),
        Fact::Absent => String::new(),
        Fact::Present(value) => text(value),
    }
}

/// `KEY=VALUE,…`.
pub(super) fn pairs(pairs: &BTreeMap<String, String>) -> String {
    pairs.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",")
}

/// Lines with their names; empty ones are absent.
pub(super) fn lines(facts: &FactsView, style: Style) -> Vec<(&'static str, String)> {
    let words = |words: &mut dyn Iterator<Item = &String>| {
        let all: Vec<&str> = words.map(String::as_str).collect();
        let shown = if style.is_wide { all.len() } else { all.len().min(WORDS) };
        let more = all.len() - shown;
        let text = all[..shown].join(", ");
        if more == 0 { text } else { format!("{text}, and {more} more; `-o wide` shows them") }
    };
    let map = |known: &Option<Fact<BTreeMap<String, String>>>| {
        known.as_ref().map_or_else(String::new, |known| fact(known, pairs))
    };
    let apis = facts.apis.as_ref().map_or_else(String::new, |apis| {
        fact(apis, |kinds| match style.is_wide {
            true => words(&mut kinds.iter()),
            false => format!("{} kinds; `-o wide` lists them", kinds.len()),
        })
    });
    let free = facts.free_ms.map_or_else(String::new, |at| {
        fact(&facts.free, |free| format!("{}, as of {}", amounts(free), time(at)))
    });
    let stale = match facts.stale {
        true => "what follows was said too long ago: rules take it for unknown".to_owned(),
        false => String::new(),
    };
    let lines = vec![
        ("Facts", stale),
        ("Kubernetes", fact(&facts.kubernetes, |k| k.version.clone())),
        ("Nodes", fact(&facts.nodes, ToString::to_string)),
        ("Architectures", fact(&facts.architectures, |a| words(&mut a.iter()))),
        ("Provider", fact(&facts.provider, Clone::clone)),
        ("Region", fact(&facts.region, Clone::clone)),
        ("Zones", fact(&facts.zones, |zones| words(&mut zones.iter()))),
        ("Capacity", fact(&facts.capacity, amounts)),
        ("Free", free),
        ("APIs", apis),
        ("Properties", map(&facts.properties)),
        ("Custom", map(&facts.custom)),
    ];
    // What a cluster says of itself reaches a terminal: as text, whatever is in it.
    lines.into_iter().map(|(name, text)| (name, one_line(&text))).collect()
}

/// `cpu 1.5, memory 7.8Gi, nvidia.com/gpu 2`.
fn amounts(resources: &Resources) -> String {
    let Resources { cpu_millis, memory, other } = resources;
    let cpu = match cpu_millis % 1000 {
        0 => format!("{}", cpu_millis / 1000),
        _ => format!("{cpu_millis}m"),
    };
    let mut text = format!("cpu {cpu}, memory {}", bytes(*memory));
    // Bytes are worth their unit; what is counted is not.
    for (name, amount) in other {
        let is_bytes = name.ends_with("storage") || name.starts_with("hugepages-");
        let amount = if is_bytes { bytes(*amount) } else { amount.to_string() };
        text.push_str(&format!(", {name} {amount}"));
    }
    text
}

/// With the largest binary unit of which there is one, and a digit behind the point.
fn bytes(amount: u64) -> String {
    let units = [("Ti", 40), ("Gi", 30), ("Mi", 20), ("Ki", 10)];
    match units.into_iter().find(|(_, shift)| amount >> shift > 0) {
        None => amount.to_string(),
        Some((unit, shift)) => {
            let tenths = (u128::from(amount) * 10) >> shift;
            match tenths % 10 {
                0 => format!("{}{unit}", tenths / 10),
                tenth => format!("{}.{tenth}{unit}", tenths / 10),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_short_and_never_more_than_there_is() {
        let rows = [
            (Resources::default(), "cpu 0, memory 0"),
            (
                Resources { cpu_millis: 1_500, memory: (8 << 30) - 1, other: BTreeMap::new() },
                "cpu 1500m, memory 7.9Gi",
            ),
            (
                Resources {
                    cpu_millis: 4_000,
                    memory: 8 << 30,
                    other: [("ephemeral-storage", 3 << 19), ("nvidia.com/gpu", 2)]
                        .map(|(name, amount)| (name.to_owned(), amount))
                        .into(),
                },
                "cpu 4, memory 8Gi, ephemeral-storage 1.5Mi, nvidia.com/gpu 2",
            ),
        ];
        for (resources, expected) in rows {
            assert_eq!(amounts(&resources), expected);
        }
    }

    #[test]
    fn unknown_is_a_question_mark_and_absent_is_nothing() {
        let facts = FactsView {
            region: Fact::Absent,
            zones: Fact::Present(["a".to_owned()].into()),
            ..FactsView::default()
        };
        let lines: BTreeMap<_, _> = lines(&facts, Style::default()).into_iter().collect();
        let seen = ["Provider", "Region", "Zones", "Free", "Facts"].map(|name| lines[name].as_str());
        assert_eq!(seen, ["?", "", "a", "", ""]);
    }

    #[test]
    fn what_is_free_is_told_with_its_time() {
        let free = Resources { cpu_millis: 4_000, memory: 8 << 30, ..Resources::default() };
        let facts =
            FactsView { free: Fact::Present(free), free_ms: Some(1_700_000_000_999), ..FactsView::default() };
        let lines: BTreeMap<_, _> = lines(&facts, Style::default()).into_iter().collect();
        assert_eq!(lines["Free"], "cpu 4, memory 8Gi, as of 2023-11-14T22:13:20Z");
    }
}
