//! What a chart asks of the cluster that it is rendered for.
//!
//! In: the files of a chart with all that it depends on, unpacked. Out: [`Asks`]: which part of Kubernetes' version and which
//! names of API versions make a difference to what it renders.
//! Never: says less than what templates can come to ask. What cannot be told, by a name that is made up only while it is
//! rendered, counts as asking for all there is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::super::{Chart, Contents};
use super::CHART;
use super::functions::is_template;
use super::words::{Kind, Word, actions};
use crate::catalog::yaml;
use crate::{Digest, Digester};

/// Most names that a chart may ask for one by one: more count as all.
const MOST_NAMES: usize = 500;

/// What a chart asks of a cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Asks {
    /// Which part of Kubernetes' version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<Part>,
    /// Whether it has these API versions: `GROUP/VERSION` or `GROUP/VERSION/KIND`.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub apis: BTreeSet<Arc<str>>,
    /// Which API versions it has: all of them count.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub all_apis: bool,
}

/// A part of Kubernetes' version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Part {
    /// Major and minor number.
    Minor,
    /// All of it.
    Whole,
}

impl Asks {
    /// Whether every cluster gets the same.
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }

    /// The digest of a source, with what is asked; of one that asks nothing, its own.
    pub fn digest(&self, source: Digest) -> Digest {
        if self.is_nothing() {
            return source;
        }
        let asks = serde_json::to_vec(self).expect("text always serializes");
        Digester::new("nave.asks.v1").field(&source.0).field(&asks).finish()
    }

    fn add(&mut self, other: &Self) {
        self.version = self.version.max(other.version);
        self.all_apis |= other.all_apis;
        self.apis.extend(other.apis.iter().cloned());
        if self.all_apis || self.apis.len() > MOST_NAMES {
            self.all_apis = true;
            self.apis.clear();
        }
    }

    fn everything() -> Self {
        Self { version: Some(Part::Whole), all_apis: true, apis: BTreeSet::new() }
    }

    fn version(part: Part) -> Self {
        Self { version: Some(part), ..Self::default() }
    }
}

/// What a chart asks. `files` are all that Helm gets of it, by path relative to the source.
pub fn asks(chart: &Chart, files: &Contents) -> Asks {
    let directory = &*chart.directory;
    let mut parts = Parts::default();
    let (templates, others): (Vec<_>, Vec<_>) =
        files.iter().partition(|(path, _)| is_template(directory, path));
    // What Helm tells after an installation is left out.
    for (_, content) in templates.iter().filter(|(path, _)| !path.ends_with("/NOTES.txt")) {
        parts.read(&String::from_utf8_lossy(content));
    }
    // Text that becomes a template while it is rendered stands in a file or a value.
    let (mut asks, fills) = parts.reached();
    if fills {
        for (_, content) in others {
            parts.read(&String::from_utf8_lossy(content));
        }
        texts(&Value::Object(chart.values.clone()), &mut |text| parts.read(text));
        asks = parts.reached().0;
    }
    let says = if directory.is_empty() { CHART.to_owned() } else { format!("{directory}/{CHART}") };
    let says = files.get(&*says).map(|content| String::from_utf8_lossy(content)).unwrap_or_default();
    // Helm holds the chart itself to it, none of those that it depends on.
    if says.contains("kubeVersion") && holds_to_a_version(&says) {
        asks.add(&Asks::version(Part::Whole));
    }
    asks
}

/// Whether a `Chart.yaml` says which versions of Kubernetes it is for.
fn holds_to_a_version(text: &str) -> bool {
    let root = yaml::read(text).into_iter().next().and_then(|document| document.root);
    let said = root.map(|root| root.to_json()).unwrap_or_default();
    said["kubeVersion"].as_str().is_some_and(|range| !range.trim().is_empty())
}

fn texts(value: &Value, found: &mut dyn FnMut(&str)) {
    match value {
        Value::String(text) => found(text),
        Value::Array(items) => items.iter().for_each(|item| texts(item, found)),
        Value::Object(map) => map.values().for_each(|item| texts(item, found)),
        _ => {}
    }
}

/// Templates that others can call, by name; without one, what files say outside of these, which is carried out by itself.
#[derive(Default)]
struct Parts(BTreeMap<Option<String>, Section>);

#[derive(Default)]
struct Section {
    asks: Asks,
    /// Templates that it calls.
    calls: BTreeSet<String>,
    /// It calls one whose name is not written out.
    calls_any: bool,
    /// It takes a text for a template.
    fills: bool,
}

impl Parts {
    fn read(&mut self, text: &str) {
        let mut current: Option<String> = None;
        // What is to be gone on with after the end of what has begun.
        let mut open: Vec<Option<String>> = Vec::new();
        for words in actions(text) {
            let begins = match words.first().map(|word| word.kind) {
                Some(Kind::Name(name)) => name,
                _ => "",
            };
            self.0.entry(current.clone()).or_default().read(&words);
            match (begins, words.get(1).map(|word| word.kind)) {
                ("define" | "block", Some(Kind::Text(name))) => {
                    if begins == "block" {
                        self.0.entry(current.clone()).or_default().calls.insert(name.to_owned());
                    }
                    open.push(current.replace(name.to_owned()));
                }
                ("if" | "range" | "with" | "define" | "block", _) => open.push(current.clone()),
                ("end", _) => current = open.pop().unwrap_or_default(),
                _ => {}
            }
        }
    }

    /// What is asked by all that can be carried out, and whether something of it takes texts for templates.
    fn reached(&self) -> (Asks, bool) {
        let (mut asks, mut fills) = (Asks::default(), false);
        let mut reached: BTreeSet<Option<&str>> = BTreeSet::new();
        let mut next = vec![None];
        while let Some(name) = next.pop() {
            if !reached.insert(name) {
                continue;
            }
            let Some(section) = self.0.get(&name.map(str::to_owned)) else { continue };
            asks.add(&section.asks);
            fills |= section.fills;
            match section.calls_any {
                true => next.extend(self.0.keys().map(Option::as_deref)),
                false => next.extend(section.calls.iter().map(|name| Some(&**name))),
            }
        }
        (asks, fills)
    }
}

impl Section {
    /// Takes one action in.
    fn read(&mut self, words: &[Word<'_>]) {
        for (at, word) in words.iter().enumerate() {
            let rest = &words[at + 1..];
            match word.kind {
                Kind::Name("include" | "template") => match rest.first().map(|word| word.kind) {
                    Some(Kind::Text(name)) => _ = self.calls.insert(name.to_owned()),
                    _ => self.calls_any |= !is_of_a_file(rest),
                },
                Kind::Name("tpl") => self.fills = true,
                // What it is looked up by where it is not written as a field.
                Kind::Text("Capabilities") => self.asks.add(&Asks::everything()),
                Kind::Fields(_) => self.asks.add(&asked(word, rest)),
                _ => {}
            }
        }
    }
}

/// Whether a template is called by the path of its file: what files say is carried out by itself, too.
fn is_of_a_file(words: &[Word<'_>]) -> bool {
    let mut words = words.iter().filter(|word| !matches!(word.kind, Kind::Text(_)));
    let is_made = matches!(words.next().map(|word| word.kind), Some(Kind::Open))
        && matches!(words.next().map(|word| word.kind), Some(Kind::Name("print" | "printf")));
    is_made && words.next().is_some_and(|word| word.names().ends_with(&["Template", "BasePath"]))
}

/// What some fields ask, with what follows them.
fn asked(word: &Word<'_>, rest: &[Word<'_>]) -> Asks {
    let names = word.names();
    let Some(at) = names.iter().position(|name| *name == "Capabilities") else { return Asks::default() };
    // A value of that name is the chart's own.
    if names[..at].contains(&"Values") {
        return Asks::default();
    }
    let all = Asks { all_apis: true, ..Asks::default() };
    match &names[at + 1..] {
        ["KubeVersion", "Major" | "Minor"] => Asks::version(Part::Minor),
        ["KubeVersion", ..] => Asks::version(Part::Whole),
        ["APIVersions", "Has"] => match rest.first().map(|word| word.kind) {
            Some(Kind::Text(name)) if !name.contains('\\') => {
                Asks { apis: BTreeSet::from([name.into()]), ..Asks::default() }
            }
            _ => all,
        },
        ["APIVersions", ..] => all,
        ["HelmVersion", ..] => Asks::default(),
        // It is handed on: what is asked of it then is not told here.
        _ => Asks::everything(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(files: &[(&str, &str)], values: Value) -> Asks {
        let read = |(path, text): &(&str, &str)| (format!("web/{path}").into(), Arc::from(text.as_bytes()));
        let values = values.as_object().cloned().expect("a mapping");
        let chart = Chart { directory: "web".into(), values, ..Chart::default() };
        asks(&chart, &files.iter().map(read).collect())
    }

    /// As short as what is expected is written: `minor`, `whole`, names, `all`.
    fn written(asks: &Asks) -> String {
        let version = asks.version.map(|part| format!("{part:?}").to_lowercase());
        let all = asks.all_apis.then(|| "all".to_owned());
        version
            .into_iter()
            .chain(asks.apis.iter().map(|name| name.to_string()))
            .chain(all)
            .collect::<Vec<_>>()
            .join(" ")
    }

    #[test]
    fn a_template_asks_for_what_it_says() {
        // (template, what it asks)
        let rows = [
            ("a: {{ .Values.a }} .Capabilities.KubeVersion", ""),
            ("{{ .Capabilities.KubeVersion.Minor }}", "minor"),
            ("{{ $.Capabilities.KubeVersion.Major }}", "minor"),
            ("{{ .Capabilities.KubeVersion.Version }}{{ .Capabilities.KubeVersion.Minor }}", "whole"),
            ("{{ if semverCompare \">=1.30-0\" .Capabilities.KubeVersion.GitVersion }}{{ end }}", "whole"),
            ("{{ $v := .Capabilities.KubeVersion }}", "whole"),
            ("{{ .Capabilities.KubeVersion.String }}", "whole"),
            ("{{ if .Capabilities.APIVersions.Has \"policy/v1\" }}", "policy/v1"),
            (
                "{{- if and ($.Capabilities.APIVersions.Has \"a/v1\") (.Capabilities.APIVersions.Has `b/v1/X`) -}}",
                "a/v1 b/v1/X",
            ),
            ("{{ .context.Capabilities.APIVersions.Has \"a/v1\" }}", "a/v1"),
            ("{{ (f .).Capabilities.APIVersions.Has \"a/v1\" }}", "a/v1"),
            ("{{ .Capabilities.APIVersions.Has $x }}", "all"),
            ("{{ .Capabilities.APIVersions.Has (printf \"%s/v1\" .Values.group) }}", "all"),
            ("{{ .Capabilities.APIVersions.Has \"a\\x2fv1\" }}", "all"),
            ("{{ range .Capabilities.APIVersions }}{{ end }}", "all"),
            ("{{ $c := .Capabilities }}{{ $c.KubeVersion.Minor }}", "whole all"),
            ("{{ include \"x\" (dict \"c\" $.Capabilities) }}", "whole all"),
            ("{{ index . \"Capabilities\" }}", "whole all"),
            ("{{ .Capabilities.HelmVersion.Version }}", ""),
            ("{{ .Values.Capabilities.drop }}{{ $.Values.x.Capabilities }}", ""),
            ("{{/* .Capabilities.KubeVersion.Minor */}}{{ \".Capabilities\" }}", ""),
            ("{{ .Release.Name\n}}{{ .Capabilities.APIVersions.Has\n\"a/v1\" }}", "a/v1"),
        ];
        for (template, expected) in rows {
            let found = of(&[("templates/a.yaml", template)], json!({}));
            assert_eq!(written(&found), expected, "{template}");
            assert_eq!(found.is_nothing(), expected.is_empty(), "{template}");
        }
    }

    #[test]
    fn only_what_can_be_carried_out_asks() {
        let helpers = "\
{{ define \"minor\" }}{{ if .x }}{{ .Capabilities.KubeVersion.Minor }}{{ end }}{{ end }}
{{ define \"named\" }}{{ include \"minor\" . }}{{ .Capabilities.APIVersions.Has \"a/v1\" }}{{ end }}
{{ define \"all\" }}{{ range $x }}{{ else }}{{ .Capabilities.APIVersions.Has .name }}{{ end }}{{ end }}";
        // (template, what it asks)
        let rows = [
            ("x", ""),
            ("{{ include \"minor\" . }}", "minor"),
            ("{{ template \"named\" . }}", "minor a/v1"),
            ("{{ define \"own\" }}{{ include \"minor\" . }}{{ end }}", ""),
            ("{{ block \"own\" . }}{{ include \"minor\" . }}{{ end }}", "minor"),
            ("{{ if x }}{{ define \"own\" }}{{ end }}{{ end }}{{ include \"own\" . }}", ""),
            ("{{ include (printf \"%s\" .Values.name) . }}", "minor all"),
            ("{{ include $name . }}", "minor all"),
            ("{{ include (print $.Template.BasePath \"/b.yaml\") . | sha256sum }}", ""),
            ("{{ include \"all\" . }}{{ include \"named\" . }}", "minor all"),
        ];
        for (template, expected) in rows {
            let files = [
                ("charts/lib/templates/_helpers.tpl", helpers),
                ("templates/a.yaml", template),
                ("templates/b.yaml", ""),
            ];
            assert_eq!(written(&of(&files, json!({}))), expected, "{template}");
        }
        let told = [
            ("templates/NOTES.txt", "{{ .Capabilities.KubeVersion }}"),
            ("README.md", "{{ .Capabilities }}"),
        ];
        assert!(of(&told, json!({})).is_nothing());
    }

    #[test]
    fn a_text_that_becomes_a_template_asks_too() {
        let helper =
            ("templates/_h.tpl", "{{ define \"minor\" }}{{ .Capabilities.KubeVersion.Minor }}{{ end }}");
        let fills = ("templates/a.yaml", "{{ tpl .Values.text . }}");
        let values = ("values.yaml", "text: '{{ .Capabilities.KubeVersion.Version }}'");
        assert!(of(&[("templates/a.yaml", "x"), helper, values], json!({})).is_nothing());
        assert_eq!(written(&of(&[fills, helper, values], json!({}))), "whole");
        assert_eq!(
            written(&of(&[fills, helper], json!({"a": [{"b": "{{ include \"minor\" . }}"}]}))),
            "minor"
        );
    }

    #[test]
    fn a_chart_that_names_its_versions_of_kubernetes_asks_for_the_whole() {
        let chart =
            |text| of(&[("Chart.yaml", text), ("charts/x/Chart.yaml", "kubeVersion: '>=1.99'")], json!({}));
        assert_eq!(written(&chart("name: web\nkubeVersion: \">=1.25.0-0\"\n")), "whole");
        assert!(chart("name: web\n# kubeVersion: none\n").is_nothing());
        assert!(chart("name: web\nkubeVersion: ''\n").is_nothing());
    }

    #[test]
    fn who_asks_nothing_has_the_digest_of_its_source() {
        let source = Digest::of(b"source");
        assert_eq!(Asks::default().digest(source), source);
        assert_ne!(Asks::version(Part::Minor).digest(source), Asks::version(Part::Whole).digest(source));
        let many: BTreeSet<Arc<str>> = (0..=MOST_NAMES).map(|n| format!("a/v{n}").into()).collect();
        let mut asks = Asks::default();
        asks.add(&Asks { apis: many, ..Asks::default() });
        assert_eq!(written(&asks), "all");
    }
}
