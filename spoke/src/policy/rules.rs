//! Rules: whether a pattern is about a word, and which images an object runs.
//!
//! In: patterns, objects. Out: yes or no, names of images. Never: guesses: what an image's short name stands for is what
//! every container runtime makes of it.

use nave_placement::pattern::matches;
use serde_json::Value;

/// Whether an image is from the registry, or the repository, that a pattern names. One without `/` is about the host.
pub(super) fn is_from(image: &str, pattern: &str) -> bool {
    let repository = repository(image);
    let host = repository.split('/').next().unwrap_or_default();
    if pattern.contains('/') { matches(pattern, &repository) } else { matches(pattern, host) }
}

/// Host and path of an image, without tag and digest.
fn repository(image: &str) -> String {
    let name = image.split('@').next().unwrap_or_default();
    // A colon after the last slash begins the tag; one before it, a port.
    let tag = name.rfind(':').filter(|colon| name.rfind('/').is_none_or(|slash| *colon > slash));
    let name = &name[..tag.unwrap_or(name.len())];
    match name.split_once('/') {
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => name.to_owned(),
        Some(_) => format!("docker.io/{name}"),
        None => format!("docker.io/library/{name}"),
    }
}

/// The images of every container in an object, wherever a pod template stands in it; custom resources have them too.
pub(super) fn images(object: &Value) -> Vec<String> {
    let mut found = Vec::new();
    // Depth is bounded: the bundle was read with a limit.
    let mut open = vec![object];
    while let Some(value) = open.pop() {
        match value {
            Value::Object(fields) => {
                for (name, field) in fields {
                    let holds =
                        matches!(name.as_str(), "containers" | "initContainers" | "ephemeralContainers");
                    if let (true, Some(containers)) = (holds, field.as_array()) {
                        let image = |container: &Value| container.get("image")?.as_str().map(str::to_owned);
                        found.extend(containers.iter().filter_map(image));
                    }
                    open.push(field);
                }
            }
            Value::Array(items) => open.extend(items),
            _ => {}
        }
    }
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names_of_images_are_what_runtimes_make_of_them() {
        let rows = [
            ("nginx", "docker.io/library/nginx"),
            ("nginx:1.27", "docker.io/library/nginx"),
            ("acme/web@sha256:00", "docker.io/acme/web"),
            ("ghcr.io/acme/web:6.1", "ghcr.io/acme/web"),
            ("localhost/web", "localhost/web"),
            ("registry.acme.com:5000/a/b:1@sha256:00", "registry.acme.com:5000/a/b"),
        ];
        for (image, expected) in rows {
            assert_eq!(repository(image), expected, "{image}");
        }
        let rows = [
            ("ghcr.io/acme/web:1", "ghcr.io", true),
            ("ghcr.io.evil.com/acme/web:1", "ghcr.io", false),
            ("ghcr.io/acme/web:1", "ghcr.io/acme/*", true),
            ("ghcr.io/other/web:1", "ghcr.io/acme/*", false),
            ("nginx", "docker.io", true),
        ];
        for (image, pattern, expected) in rows {
            assert_eq!(is_from(image, pattern), expected, "{image} {pattern}");
        }
    }

    #[test]
    fn images_are_found_wherever_a_pod_template_stands() {
        let pod = serde_json::json!({"initContainers": [{"image": "b"}], "containers": [{"image": "a"}, {"name": "x"}]});
        let job = serde_json::json!({"spec": {"jobTemplate": {"spec": {"template": {"spec": pod}}}}});
        assert_eq!(images(&job), ["a", "b"]);
        assert_eq!(images(&serde_json::json!({"spec": pod})), ["a", "b"]);
        assert!(images(&serde_json::json!({"data": {"image": "a"}})).is_empty());
    }
}
