//! Index: what a Helm repository has of one chart.
//!
//! In: its `index.yaml`, of many megabytes where it has thousands of charts. Out: the versions of one of them.
//! Never: keeps what is said of others, but for their names; runs away over what nobody would write.

use std::fmt;

use nave_placement::Digest;
use serde::Deserialize;
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, Visitor};

/// Most names of other charts that are kept, for a hint.
const MOST_NAMES: usize = 10_000;
/// Most parts of a text: an index of 64 MiB has some 20 bytes for each.
const MOST_PARTS: usize = 4_000_000;

/// A version of a chart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// Its version.
    pub version: String,
    /// Where its archive is; the first one counts.
    pub urls: Vec<String>,
    /// Of its archive.
    pub digest: Option<String>,
}

/// What is said of a chart.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// Its versions; nothing where there is no such chart.
    pub entries: Option<Vec<Entry>>,
    /// The names of others.
    pub others: Vec<String>,
}

impl Entry {
    /// The digest, where one is named; some write down how it was made.
    pub fn digest(&self) -> Result<Option<Digest>, String> {
        let named = self.digest.as_deref().unwrap_or_default().trim();
        let named = named.strip_prefix("sha256:").unwrap_or(named);
        match named {
            "" => Ok(None),
            named => named.to_ascii_lowercase().parse().map(Some).map_err(|_| {
                format!("the digest {named:?} of version {} is no SHA-256 in hex", self.version)
            }),
        }
    }
}

/// Reads a text for one chart.
pub(super) fn read(text: &[u8], chart: &str) -> Result<Found, String> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_events: MOST_PARTS,
            max_nodes: MOST_PARTS,
            max_documents: 1,
        },
        with_snippet: false,
    };
    let read = serde_saphyr::with_deserializer_from_slice_with_options(text, options, |deserializer| {
        Top { chart }.deserialize(deserializer)
    });
    let found = read.map_err(|error| error.to_string())?;
    found.ok_or_else(|| "it has no `entries`".to_owned())
}

/// The whole text.
struct Top<'a> {
    chart: &'a str,
}

impl<'de> DeserializeSeed<'de> for Top<'_> {
    type Value = Option<Found>;
    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Top<'_> {
    type Value = Option<Found>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an index of charts")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(key) = map.next_key::<String>()? {
            match &*key {
                "entries" => found = Some(map.next_value_seed(Entries { chart: self.chart })?),
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(found)
    }
}

/// `entries`: the charts by name.
struct Entries<'a> {
    chart: &'a str,
}

impl<'de> DeserializeSeed<'de> for Entries<'_> {
    type Value = Found;
    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Entries<'_> {
    type Value = Found;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("charts by name")
    }

    fn visit_unit<E>(self) -> Result<Found, E> {
        Ok(Found::default())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Found, A::Error> {
        let mut found = Found::default();
        while let Some(name) = map.next_key::<String>()? {
            if name == self.chart {
                let written: Option<Vec<Option<Written>>> = map.next_value()?;
                let written = written.unwrap_or_default().into_iter().flatten();
                found.entries = Some(written.filter_map(Written::entry).collect());
                continue;
            }
            map.next_value::<IgnoredAny>()?;
            if found.others.len() < MOST_NAMES {
                found.others.push(name);
            }
        }
        Ok(found)
    }
}

#[derive(Deserialize)]
struct Written {
    version: Option<String>,
    urls: Option<Vec<String>>,
    digest: Option<String>,
}

impl Written {
    /// One without a version is none, as Helm has it.
    fn entry(self) -> Option<Entry> {
        let Self { version, urls, digest } = self;
        Some(Entry { version: version?, urls: urls.unwrap_or_default(), digest })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INDEX: &str = "\
apiVersion: v1
entries:
  api:
  - {version: 1.0.0, urls: [api-1.0.0.tgz]}
  web:
  - apiVersion: v2
    created: \"2026-01-02T03:04:05.6Z\"
    annotations: {a: b}
    dependencies: [{name: x, version: 1.x, repository: ''}]
    digest: sha256:0000000000000000000000000000000000000000000000000000000000000001
    name: web
    urls: [https://h/web-1.10.tgz, b]
    version: 1.10
  -
  - {version: 1.0.0+x, digest: zz}
  - {name: web}
  gone:
generated: \"2026-01-02T03:04:05.6Z\"
";

    #[test]
    fn the_versions_of_one_chart_are_read_and_of_others_their_names() {
        let found = read(INDEX.as_bytes(), "web").expect("it is an index");
        assert_eq!(found.others, ["api", "gone"]);
        let [first, second] = &found.entries.expect("it is there")[..] else { panic!("two versions") };
        assert_eq!((&*first.version, &*first.urls[0]), ("1.10", "https://h/web-1.10.tgz"));
        let digest = first.digest().expect("it is one").expect("it is named").to_string();
        assert!(digest.starts_with("00") && digest.ends_with("01"), "{digest}");
        assert_eq!((&*second.version, second.urls.len()), ("1.0.0+x", 0));
        assert!(second.digest().expect_err("it is none").contains("no SHA-256"));
        assert_eq!(read(INDEX.as_bytes(), "gone").expect("it is an index").entries, Some(Vec::new()));
        assert_eq!(read(INDEX.as_bytes(), "absent").expect("it is an index").entries, None);
        assert_eq!(read(b"{\"entries\": {}}", "web"), Ok(Found::default()));
    }

    #[test]
    fn what_is_no_index_is_told_and_costs_little() {
        let bomb = format!("entries:\n  web: &a [{}]\n", "{version: x},".repeat(MOST_PARTS / 3));
        let rows: [(&[u8], &str); 6] = [
            (b"apiVersion: v1\n", "no `entries`"),
            (b"<html><body>Not found</body></html>", ""),
            (b"entries: [1, 2]\n", "charts by name"),
            (b"entries: {web: 1}\n", ""),
            (b"\xff\xfe\xff", ""),
            (bomb.as_bytes(), ""),
        ];
        for (text, expected) in rows {
            let told = read(text, "web").expect_err("it is no index");
            assert!(told.contains(expected), "{told}");
        }
    }
}
