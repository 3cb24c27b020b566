//! Facts to messages and back.
//!
//! In: what a spoke says of its cluster. Out: the same; what is unknown is left out, what is absent is there without a value.
//! Never: takes more of a peer than the hub's store has room for: a fact that is too large is unknown.

use std::collections::{BTreeMap, BTreeSet};

use nave_placement::fleet::{Fact, Facts, KubernetesVersion, Resources};

use crate::limits::FACT;
use crate::v1;
use crate::v1::facts::{Amounts, Kubernetes, Map, Number, Set, Table, Text, Texts};

/// Facts; what is unknown is left out.
pub fn facts_to_proto(facts: &Facts) -> v1::Facts {
    let kubernetes = |k: &KubernetesVersion| v1::KubernetesVersion {
        version: k.version.clone(),
        major: k.major,
        minor: k.minor,
    };
    v1::Facts {
        kubernetes: wire(&facts.kubernetes, |k| Kubernetes { present: k.map(kubernetes) }),
        nodes: wire(&facts.nodes, |n| Number { present: n.copied().map(u64::from) }),
        recipient: wire(&facts.recipient, text),
        architectures: wire(&facts.architectures, set),
        capacity: wire(&facts.capacity, |c| Amounts { present: c.map(resources_to_proto) }),
        provider: wire(&facts.provider, text),
        region: wire(&facts.region, text),
        zones: wire(&facts.zones, set),
        apis: wire(&facts.apis, set),
        properties: wire(&facts.properties, map),
        custom: wire(&facts.custom, map),
    }
}

/// Facts.
pub fn facts_from_proto(facts: v1::Facts) -> Facts {
    let kubernetes =
        |k: v1::KubernetesVersion| KubernetesVersion { version: k.version, major: k.major, minor: k.minor };
    Facts {
        kubernetes: fact(facts.kubernetes.map(|k| k.present.map(kubernetes))),
        nodes: fact(facts.nodes.map(|n| n.present.map(|n| u32::try_from(n).unwrap_or(u32::MAX)))),
        recipient: text_fact(facts.recipient),
        architectures: set_fact(facts.architectures),
        capacity: match facts.capacity.map(|c| c.present.map(resources_from_proto)) {
            Some(Some(None)) => Fact::Unknown,
            amounts => fact(amounts.map(Option::flatten)),
        },
        provider: text_fact(facts.provider),
        region: text_fact(facts.region),
        zones: set_fact(facts.zones),
        apis: set_fact(facts.apis),
        properties: map_fact(facts.properties),
        custom: map_fact(facts.custom),
    }
}

/// What is free; `None` is not known.
pub fn free_to_proto(free: Option<&Resources>) -> v1::Free {
    v1::Free { amounts: free.map(resources_to_proto) }
}

/// What is free.
pub fn free_from_proto(free: v1::Free) -> Option<Resources> {
    free.amounts.and_then(resources_from_proto)
}

fn resources_to_proto(r: &Resources) -> v1::Resources {
    v1::Resources { cpu_millis: r.cpu_millis, memory: r.memory, other: r.other.clone() }
}

/// `None` where it names more than a hub keeps.
fn resources_from_proto(r: v1::Resources) -> Option<Resources> {
    let small = r.other.keys().map(|name| name.len() + size_of::<u64>()).sum::<usize>() <= FACT;
    small.then_some(Resources { cpu_millis: r.cpu_millis, memory: r.memory, other: r.other })
}

fn wire<T, W>(fact: &Fact<T>, message: impl FnOnce(Option<&T>) -> W) -> Option<W> {
    match fact {
        Fact::Unknown => None,
        Fact::Absent => Some(message(None)),
        Fact::Present(value) => Some(message(Some(value))),
    }
}

fn fact<T>(wire: Option<Option<T>>) -> Fact<T> {
    match wire {
        None => Fact::Unknown,
        Some(None) => Fact::Absent,
        Some(Some(value)) => Fact::Present(value),
    }
}

fn text(value: Option<&String>) -> Text {
    Text { present: value.cloned() }
}

fn set(items: Option<&BTreeSet<String>>) -> Set {
    Set { present: items.map(|items| Texts { items: items.iter().cloned().collect() }) }
}

fn map(items: Option<&BTreeMap<String, String>>) -> Map {
    Map { present: items.map(|items| Table { items: items.clone() }) }
}

fn text_fact(wire: Option<Text>) -> Fact<String> {
    fact(wire.filter(|t| t.present.as_ref().is_none_or(|text| text.len() <= FACT)).map(|t| t.present))
}

fn set_fact(wire: Option<Set>) -> Fact<BTreeSet<String>> {
    let small = |set: &Set| set.present.as_ref().is_none_or(|s| fits_fact(s.items.iter().map(String::len)));
    fact(wire.filter(small).map(|set| set.present.map(|s| s.items.into_iter().collect())))
}

fn map_fact(wire: Option<Map>) -> Fact<BTreeMap<String, String>> {
    let small = |m: &Map| {
        m.present.as_ref().is_none_or(|t| fits_fact(t.items.iter().map(|(k, v)| k.len() + v.len())))
    };
    fact(wire.filter(small).map(|m| m.present.map(|t| t.items)))
}

/// Whether texts of these lengths, with what JSON puts around each, are no more than a hub keeps of one fact.
pub fn fits_fact(lengths: impl Iterator<Item = usize>) -> bool {
    lengths.map(|length| length + 4).sum::<usize>() <= FACT
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Facts {
        let names = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<BTreeSet<String>>();
        let other = BTreeMap::from([("nvidia.com/gpu".to_owned(), 8)]);
        Facts {
            kubernetes: Fact::Present(KubernetesVersion { version: "v1.31.2".into(), major: 1, minor: 31 }),
            nodes: Fact::Present(3),
            architectures: Fact::Present(names(&["amd64", "arm64"])),
            capacity: Fact::Present(Resources { cpu_millis: 1_500, memory: 1 << 34, other }),
            provider: Fact::Absent,
            region: Fact::Present("eu-1".to_owned()),
            zones: Fact::Present(BTreeSet::new()),
            apis: Fact::Present(names(&["v1/Pod", "apps/v1/Deployment"])),
            properties: Fact::Absent,
            custom: Fact::Present(BTreeMap::from([("store".to_owned(), "0417".to_owned())])),
            recipient: Fact::Unknown,
        }
    }

    #[test]
    fn facts_come_over_as_they_were_said() {
        for facts in [all(), Facts::default()] {
            assert_eq!(facts_from_proto(facts_to_proto(&facts)), facts);
        }
        let free = Resources { cpu_millis: 20, memory: 0, other: BTreeMap::new() };
        assert_eq!(free_from_proto(free_to_proto(Some(&free))), Some(free));
        assert_eq!(free_from_proto(free_to_proto(None)), None);
    }

    #[test]
    fn a_fact_that_is_too_large_is_unknown_and_the_others_stay() {
        let large = BTreeMap::from([("a".to_owned(), "b".repeat(FACT))]);
        let said = Facts { custom: Fact::Present(large), ..all() };
        assert_eq!(facts_from_proto(facts_to_proto(&said)), Facts { custom: Fact::Unknown, ..all() });
    }
}
