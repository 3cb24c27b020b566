//! Images: which ones the manifests hold that clusters were told.
//!
//! In: entries, their bundles, what is asked for. Out: an [`ImagesView`].
//! Never: counts an image that only the catalog has and nobody was told; fills a bundle in whose images name no value.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;
use std::sync::Arc;

use nave_placement::assign::{EncodedEntry, Entry};
use nave_placement::render::resolve;
use nave_placement::{AppKey, ClusterName, Digest};
use nave_proto::v1;
use serde_json::Value;

use super::render::Assumed;
use super::service::{Answer, OperatorService, argument, document};
use super::views::{ImageRow, ImagesView};
use crate::store::bundles::Bundles;

/// Problems of one answer.
const PROBLEMS: usize = 20;
/// Where containers stand in a pod's specification, of whatever kind that is a part.
const CONTAINERS: [&str; 3] = ["containers", "initContainers", "ephemeralContainers"];

/// `IMAGE[:TAG|@DIGEST]`, as operators ask for images.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pattern {
    /// The last parts of the name; none: any.
    name: Vec<String>,
    tag: Option<String>,
    /// Begins so.
    digest: Option<String>,
}

impl FromStr for Pattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        let (name, tag, digest) = parts(text);
        let wrong = || format!("{text:?} is no image; write NAME, NAME:TAG or NAME@sha256:…");
        if name.split('/').any(str::is_empty) || tag == Some("") || digest.is_some_and(|d| !d.contains(':')) {
            return Err(wrong());
        }
        // What names its registry is spelled out; all else is the end of a name.
        let name = if name.starts_with("docker.io/") { full(name) } else { name.to_owned() };
        Ok(Self {
            name: name.split('/').map(str::to_owned).collect(),
            tag: tag.map(str::to_owned),
            digest: digest.map(str::to_owned),
        })
    }
}

impl Pattern {
    /// Whether an image is meant; `digest` is what a cluster says of its content, or empty.
    pub fn matches(&self, image: &str, digest: &str) -> bool {
        let (name, tag, own_digest) = parts(image);
        let name = full(name);
        let name: Vec<&str> = name.split('/').collect();
        let is_named = name.len() >= self.name.len()
            && name[name.len() - self.name.len()..].iter().zip(&self.name).all(|(a, b)| a == b);
        let implied = if own_digest.is_none() { "latest" } else { "" };
        let has_tag = self.tag.as_ref().is_none_or(|wanted| wanted == tag.unwrap_or(implied));
        let has_digest = self.digest.as_ref().is_none_or(|wanted| {
            own_digest.is_some_and(|own| own.starts_with(wanted.as_str()))
                || digest.starts_with(wanted.as_str())
        });
        is_named && has_tag && has_digest
    }
}

/// Name, tag and digest of an image.
fn parts(image: &str) -> (&str, Option<&str>, Option<&str>) {
    let (rest, digest) = image.split_once('@').map_or((image, None), |(rest, digest)| (rest, Some(digest)));
    let from = rest.rfind('/').map_or(0, |at| at + 1);
    match rest[from..].find(':') {
        Some(at) => (&rest[..from + at], Some(&rest[from + at + 1..]), digest),
        None => (rest, None, digest),
    }
}

/// A name with its registry, as container runtimes read it.
fn full(name: &str) -> String {
    let (first, rest) = name.split_once('/').unwrap_or(("", name));
    let is_registry = first.contains(['.', ':']) || first == "localhost";
    match (is_registry, first) {
        (true, "docker.io") if !rest.contains('/') => format!("docker.io/library/{rest}"),
        (true, _) => name.to_owned(),
        (false, "") => format!("docker.io/library/{name}"),
        (false, _) => format!("docker.io/{name}"),
    }
}

/// Every image in an object.
fn images(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                if let (true, Value::Array(containers)) = (CONTAINERS.contains(&name.as_str()), field) {
                    let named = containers.iter().filter_map(|c| c.get("image").and_then(Value::as_str));
                    found.extend(named.map(str::to_owned));
                }
                images(field, found);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| images(item, found)),
        _ => {}
    }
}

/// Entries that are the same to the last byte, and where.
type Told = BTreeMap<(AppKey, Digest), (EncodedEntry, BTreeSet<ClusterName>)>;

/// Reads bundles, each once.
struct Reader {
    bundles: Arc<Bundles>,
    unfilled: BTreeMap<Digest, Result<BTreeSet<String>, String>>,
}

impl Reader {
    fn of(&mut self, entry: &EncodedEntry) -> Result<BTreeSet<String>, String> {
        let entry = nave_proto::decode_entry(&entry.bytes).map_err(|error| error.to_string())?;
        let bare = || {
            let mut bare = entry.clone();
            bare.options.substitute = false;
            read(&self.bundles, &bare)
        };
        let unfilled = self.unfilled.entry(entry.bundle).or_insert_with(bare).clone()?;
        let has_values = entry.options.substitute && unfilled.iter().any(|image| image.contains("${"));
        if has_values { read(&self.bundles, &entry) } else { Ok(unfilled) }
    }
}

fn read(bundles: &Bundles, entry: &Entry) -> Result<BTreeSet<String>, String> {
    let bytes = bundles.get_uncompressed(entry.bundle).map_err(|error| error.to_string())?;
    let bytes = bytes.ok_or_else(|| format!("bundle {} is not at hand", entry.bundle.short()))?;
    let objects = resolve(&bytes, entry, &Assumed).map_err(|error| error.to_string())?;
    let mut found = BTreeSet::new();
    objects.iter().for_each(|object| images(&object.object, &mut found));
    Ok(found)
}

fn wanted(told: Told, pattern: &Pattern, bundles: Arc<Bundles>) -> ImagesView {
    let mut reader = Reader { bundles, unfilled: BTreeMap::new() };
    let mut rows: BTreeMap<String, ImageRow> = BTreeMap::new();
    let mut problems = BTreeSet::new();
    for ((app, _), (entry, clusters)) in told {
        let images = match reader.of(&entry) {
            Ok(images) => images,
            Err(problem) => {
                problems.insert(format!("app {app}: {problem}"));
                continue;
            }
        };
        for image in images.into_iter().filter(|image| pattern.matches(image, "")) {
            let row = rows.entry(image.clone()).or_insert_with(|| ImageRow {
                image,
                digests: BTreeSet::new(),
                apps: BTreeSet::new(),
                namespaces: BTreeSet::new(),
                containers: 0,
                clusters: BTreeSet::new(),
            });
            row.apps.insert(app.clone());
            row.clusters.extend(clusters.iter().cloned());
        }
    }
    ImagesView {
        images: rows.into_values().collect(),
        problems: problems.into_iter().take(PROBLEMS).collect(),
    }
}

impl OperatorService {
    pub(super) async fn images_of(&self, asked: v1::ImagesRequest) -> Answer {
        let pattern: Pattern = asked.image.parse().map_err(argument)?;
        let (selection, _) = self.selection(asked.filter)?;
        let mut told = Told::new();
        self.look(|look| {
            for cluster in look.chosen(&selection) {
                for (app, entry) in &look.state.told(&cluster).assignment.entries {
                    if selection.app.as_ref().is_none_or(|wanted| wanted == app) {
                        let same = told.entry((app.clone(), entry.digest));
                        same.or_insert_with(|| (entry.clone(), BTreeSet::new())).1.insert(cluster.clone());
                    }
                }
            }
        });
        let bundles = self.rooms.bundles.clone();
        let found = tokio::task::spawn_blocking(move || wanted(told, &pattern, bundles)).await;
        document(&found.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_meant_by_the_end_of_its_name_its_tag_and_its_digest() {
        let (tagged, pinned) = ("ghcr.io/acme/podinfo:6.1", "ghcr.io/acme/podinfo:6.1@sha256:abcd");
        // (asked, image, what the cluster says, meant)
        let rows = [
            ("", tagged, "", true),
            ("podinfo", tagged, "", true),
            ("acme/podinfo", tagged, "", true),
            ("ghcr.io/acme/podinfo", tagged, "", true),
            ("info", tagged, "", false),
            ("other.io/acme/podinfo", tagged, "", false),
            ("podinfo:6.1", tagged, "", true),
            ("podinfo:6", tagged, "", false),
            ("podinfo@sha256:ab", tagged, "", false),
            ("podinfo@sha256:ab", tagged, "sha256:abcd", true),
            ("podinfo@sha256:ab", pinned, "", true),
            ("podinfo:6.1", pinned, "", true),
            ("podinfo@sha256:ac", pinned, "", false),
            ("nginx", "nginx", "", true),
            ("nginx:latest", "nginx", "", true),
            ("nginx:latest", "nginx@sha256:1", "", false),
            ("docker.io/nginx", "nginx:1", "", true),
            ("docker.io/library/nginx", "nginx:1", "", true),
            ("docker.io/acme/web", "acme/web", "", true),
            ("web:5000", "localhost:5000/web", "", false),
            ("web", "localhost:5000/web:1", "", true),
            ("localhost:5000/web:1", "localhost:5000/web:1", "", true),
        ];
        for (asked, image, digest, meant) in rows {
            let pattern: Pattern = asked.parse().expect(asked);
            assert_eq!(pattern.matches(image, digest), meant, "{asked:?} {image} {digest}");
        }
        for wrong in [":6", "a//b", "web:", "web@abc", "/web"] {
            assert!(wrong.parse::<Pattern>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn images_stand_in_pods_of_any_kind() {
        let object = serde_json::json!({"spec": {"jobTemplate": {"spec": {"template": {"spec": {
            "initContainers": [{"image": "a"}], "containers": [{"image": "b"}, {"name": "none"}]}}}},
            "image": "no container's", "containers": {"image": "neither"}}});
        let mut found = BTreeSet::new();
        images(&object, &mut found);
        assert_eq!(found.into_iter().collect::<Vec<_>>(), ["a", "b"]);
    }
}
