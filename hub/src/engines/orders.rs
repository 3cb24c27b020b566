//! Orders: how each engine is called.
//!
//! In: an engine's arguments, its program. Out: files that stand beside the source's, and words of a command.
//! Never: uses a shell, or a word that a name of the repository could make an option of.

use std::ffi::OsString;
use std::sync::Arc;

use nave_placement::render::{Contents, Engine, Kustomization};
use serde_json::json;

use super::binaries::Binary;
use super::scratch::{SOURCE, Scratch};

/// The values that go over those of all files.
const VALUES: &str = "values.json";
/// What charts are rendered for that ask nothing, or that no cluster answers: the oldest version that is still common.
pub const ASSUMED: &str = "1.31.0";
/// As many API versions are in one word of a command, which holds at most 128 KiB.
const APIS_IN_A_WORD: usize = 200;

/// Files that are not the source's.
pub(super) fn own(engine: &Engine) -> Contents {
    let file = |name: &str, text: String| Contents::from([(name.into(), Arc::from(text.into_bytes()))]);
    match engine {
        Engine::Helm(chart) => file(VALUES, chart.values_document()),
        Engine::Kustomize(kustomization) if !kustomization.components.is_empty() => {
            file("kustomization.yaml", around(kustomization))
        }
        Engine::Kustomize(_) | Engine::Manifests => Contents::new(),
    }
}

/// A kustomization that puts components on another one.
fn around(kustomization: &Kustomization) -> String {
    let up = |path: &Arc<str>| format!("../{SOURCE}/{path}");
    json!({
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [up(&kustomization.directory)],
        "components": kustomization.components.iter().map(up).collect::<Vec<_>>(),
    })
    .to_string()
}

/// The words behind the program. Paths are absolute, so that none begins like an option.
pub(super) fn arguments(engine: &Engine, binary: &Binary, scratch: &Scratch) -> Vec<OsString> {
    let path = |relative: &str| scratch.source().join(relative).into_os_string();
    match engine {
        Engine::Manifests => Vec::new(),
        Engine::Kustomize(kustomization) => {
            let directory = match kustomization.components.is_empty() {
                true => path(&kustomization.directory),
                false => scratch.own().into(),
            };
            vec![if binary.is_kubectl { "kustomize" } else { "build" }.into(), directory]
        }
        Engine::Helm(chart) => {
            let mut words: Vec<OsString> =
                vec!["template".into(), (&chart.release).into(), path(&chart.directory)];
            let told = chart.capabilities.as_ref();
            let version = told.and_then(|told| told.version.as_deref()).unwrap_or(ASSUMED);
            let flags = ["--include-crds", "--skip-tests", "--kube-version", version, "--namespace"];
            words.extend(flags.map(Into::into));
            words.push((&chart.namespace).into());
            let apis: Vec<&str> =
                told.and_then(|told| told.apis.as_ref()).into_iter().flatten().map(|api| &**api).collect();
            for apis in apis.chunks(APIS_IN_A_WORD) {
                words.extend(["--api-versions".into(), apis.join(",").into()]);
            }
            let files = chart.values_files.iter().map(|file| path(file));
            words.extend(
                files
                    .chain([scratch.own().join(VALUES).into_os_string()])
                    .flat_map(|file| ["--values".into(), file]),
            );
            words
        }
    }
}
