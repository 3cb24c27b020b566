//! Fingerprints: which objects of which apps, without their names.
//!
//! In: apps and objects. Out: a small set that tells whether an object is in it, the same on any machine.
//! Never: stands for a number alone: what is approved by it is approved by content.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::{AppKey, Digest, Digester, ObjectKey};

/// Eight bytes of an object's digest each: whoever wants to pass one object off as another has 2^64 names to try.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fingerprints(BTreeSet<u64>);

/// Bytes of one.
const BYTES: usize = size_of::<u64>();

fn fingerprint(app: &AppKey, key: &ObjectKey) -> u64 {
    let mut digester = Digester::new("nave.fingerprint.v1");
    let words = [app.catalog.as_str(), app.name(), &key.group, &key.kind, &key.namespace, &key.name];
    words.iter().for_each(|word| digester.add(word.as_bytes()));
    let [a, b, c, d, e, f, g, h, ..] = digester.finish().0;
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}

impl Fingerprints {
    /// Most objects of one set: 32 KiB, of which an assignment has room for some.
    pub const MOST: usize = 4096;

    /// Those of these objects, each with the app that has it.
    pub fn of<'a>(objects: impl IntoIterator<Item = (&'a AppKey, &'a ObjectKey)>) -> Self {
        Self(objects.into_iter().map(|(app, key)| fingerprint(app, key)).collect())
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether every one of them is in another set.
    pub fn is_subset(&self, other: &Self) -> bool {
        self.0.is_subset(&other.0)
    }

    /// The digest of the set.
    pub fn digest(&self) -> Digest {
        Digester::new("nave.fingerprints.v1").field(&self.to_bytes()).finish()
    }

    /// As they travel: in their order.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.iter().flat_map(|print| print.to_be_bytes()).collect()
    }

    /// From the bytes that travel; `None` where they are not whole, or more than [`Fingerprints::MOST`].
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (prints, rest) = bytes.as_chunks::<BYTES>();
        let few = rest.is_empty() && prints.len() <= Self::MOST;
        few.then(|| Self(prints.iter().map(|print| u64::from_be_bytes(*print)).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_is_of_apps_and_objects_in_any_order_and_travels_as_it_is() {
        let app = |name: &str| name.parse::<AppKey>().expect("valid");
        let key = |name: &str| ObjectKey {
            group: String::new(),
            kind: "ConfigMap".into(),
            namespace: "shop".into(),
            name: name.into(),
        };
        let of = |objects: &[(&str, &str)]| {
            let objects: Vec<_> = objects.iter().map(|(a, k)| (app(a), key(k))).collect();
            Fingerprints::of(objects.iter().map(|(app, key)| (app, key)))
        };
        let both = of(&[("web", "a"), ("web", "b")]);
        let rows = [
            (of(&[("web", "b"), ("web", "a"), ("web", "a")]), true, true),
            (of(&[("web", "a")]), false, true),
            (of(&[]), false, true),
            (of(&[("web", "a"), ("web", "c")]), false, false),
            (of(&[("old", "a"), ("web", "b")]), false, false),
        ];
        for (other, same, subset) in rows {
            assert_eq!((other == both, other.digest() == both.digest()), (same, same), "{other:?}");
            assert_eq!(other.is_subset(&both), subset, "{other:?}");
            assert_eq!(Fingerprints::from_bytes(&other.to_bytes()), Some(other));
        }
        assert_eq!(Fingerprints::from_bytes(&[1; 12]), None);
        assert_eq!(Fingerprints::from_bytes(&[1; BYTES * (Fingerprints::MOST + 1)]), None);
    }
}
