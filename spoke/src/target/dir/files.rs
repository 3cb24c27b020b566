//! Files of a directory target: their names, their first line, and how they are written.
//!
//! In: keys, objects, texts. Out: names, manifests. Never: leaves half a file under a name that anybody reads.
//!
//! A name is `kind--namespace--name.yaml`, of an object without a namespace `kind--name.yaml`. It depends on the object
//! alone, so that an object that moves between apps stays one file. k3s keeps one `Addon` per file, named by what stands
//! before the first dot, and treats two files of one such name as one: so that part is unique, and a valid object name.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use nave_placement::{AppKey, Digest, ObjectKey};
use serde_json::Value;

use crate::target::builtin;

/// How the first line of our files begins. The app follows; the rest of the line is for people.
const MARK: &str = "# nave.dev/app: ";
const NOTE: &str = " (written by nave; changes here are put back)";

/// Longest readable part of a name. With separators, digest, `.yaml` and the dot of a file that is being written it
/// stays below the 253 bytes of an object's name.
const READABLE: usize = 200;

/// A file as it was found.
#[derive(Debug, PartialEq, Eq)]
pub struct Manifest {
    /// All of it.
    pub text: String,
    /// Whose it is by its first line.
    pub app: Option<AppKey>,
    /// What follows the first line, or all of it where that is not ours.
    pub body: String,
}

impl Manifest {
    /// The object in it, if it is one that can be read.
    pub fn value(&self) -> Option<Value> {
        parse(&self.body)
    }
}

/// The name of an object's file.
pub fn file_name(key: &ObjectKey) -> String {
    let own = builtin::scope(&key.group, &key.kind).is_some();
    let kind = key.kind.to_ascii_lowercase();
    let kind = if own { kind } else { format!("{kind}.{}", key.group) };
    let mut parts = vec![kind.as_str()];
    if !key.namespace.is_empty() {
        parts.push(&key.namespace);
    }
    parts.push(&key.name);
    let readable = parts.join("--");
    if own && readable.len() <= READABLE && parts.iter().all(|part| is_plain(part)) {
        return format!("{readable}.yaml");
    }
    // Three dashes stand in no plain name, so the digest makes it unique.
    let safe = |c: char| if c.is_ascii_lowercase() || c.is_ascii_digit() { c } else { '-' };
    let safe: String = readable.to_ascii_lowercase().chars().map(safe).take(READABLE).collect();
    let digest = Digest::of(format!("{key}").as_bytes()).to_string();
    format!("{}---{}.yaml", safe.trim_matches('-'), &digest[..12])
}

/// Lower-case letters and digits, parted by single dashes.
fn is_plain(part: &str) -> bool {
    part.split('-')
        .all(|word| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()))
}

/// The text of an object's file.
pub fn render(app: &AppKey, object: &Value) -> String {
    format!("{MARK}{app}{NOTE}\n{}", yaml(object))
}

/// YAML, or JSON (which is YAML too) where YAML would not be read back as the same object.
fn yaml(object: &Value) -> String {
    let text = serde_saphyr::to_string(object).ok().filter(|text| parse(text).as_ref() == Some(object));
    let mut text = text.unwrap_or_else(|| format!("{object:#}"));
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text
}

fn parse(text: &str) -> Option<Value> {
    serde_saphyr::from_str(text).ok()
}

/// What follows the mark.
pub fn body(text: &str) -> &str {
    match text.split_once('\n') {
        Some((first, body)) if marked(first).is_some() => body,
        _ => text,
    }
}

fn marked(line: &str) -> Option<AppKey> {
    line.strip_prefix(MARK)?.split_whitespace().next()?.parse().ok()
}

/// Reads a file; `None` when there is none.
pub fn read(path: &Path) -> io::Result<Option<Manifest>> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    // Text that is not UTF-8 is certainly not what we wrote.
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let app = text.lines().next().and_then(marked);
    let body = body(&text).to_owned();
    Ok(Some(Manifest { text, app, body }))
}

/// Writes a file durably: readers find the old one or the new one, also after a crash.
pub fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_string_lossy();
    // k3s and the kubelet pass over names that begin with a dot; one left behind by a crash is overwritten by the next.
    let temporary = path.with_file_name(format!(".{name}.nave"));
    let mut file = File::create(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    sync_parent(path)
}

/// Removes a file durably; one that is gone is fine.
pub fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => sync_parent(path),
    }
}

fn sync_parent(path: &Path) -> io::Result<()> {
    let parent = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    File::open(parent)?.sync_all()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn key(group: &str, kind: &str, namespace: &str, name: &str) -> ObjectKey {
        let [group, kind, namespace, name] = [group, kind, namespace, name].map(str::to_owned);
        ObjectKey { group, kind, namespace, name }
    }

    #[test]
    fn names_are_readable_and_fit_k3s() {
        for (key, expected) in [
            (key("apps", "Deployment", "default", "podinfo"), "deployment--default--podinfo.yaml"),
            (key("", "Namespace", "", "web"), "namespace--web.yaml"),
            (key("", "ConfigMap", "a", "b.c"), "configmap--a--b-c---"),
            (key("", "ConfigMap", "a", "b-c"), "configmap--a--b-c.yaml"),
            (key("", "ConfigMap", "a", "b--c"), "configmap--a--b--c---"),
            (key("rbac.authorization.k8s.io", "ClusterRole", "", "system:x"), "clusterrole--system-x---"),
            (key("example.com", "Deployment", "a", "b"), "deployment-example-com--a--b---"),
        ] {
            let name = file_name(&key);
            assert!(name.starts_with(expected), "{name} for {key}");
            let addon = name.split('.').next().expect("a first part");
            assert_eq!(format!("{addon}.yaml"), name, "what k3s names it by is all of it");
        }
        assert!(file_name(&key("", "ConfigMap", &"n".repeat(63), &"x".repeat(253))).len() < 253);
    }

    #[test]
    fn what_is_written_is_read_back_as_it_was() {
        let object = json!({"a": "yes", "b": "0644", "c": 1e3, "d": "x\n\ny  \n", "e": null, "f": ["1", 1, true], "g": {}, "h": "é: #"});
        let app: AppKey = "team-a/web".parse().expect("valid");
        let text = render(&app, &object);
        assert_eq!(text.lines().next().and_then(marked), Some(app));
        assert_eq!(parse(body(&text)), Some(object));
    }
}
