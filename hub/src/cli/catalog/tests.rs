//! The catalogs that `check` has to find something wrong with.

use std::fs;
use std::path::Path;

use super::*;

const HEAD: &str = "apiVersion: nave.dev/v1alpha1\n";

fn write(root: &Path, path: &str, text: impl AsRef<[u8]>) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().expect("below the root")).expect("a directory");
    fs::write(path, text).expect("a file");
}

fn app(name: &str, source: &str) -> String {
    format!("{HEAD}kind: App\nmetadata: {{name: {name}}}\nspec:\n  source: {{path: {source}}}\n")
}

/// Where nothing is fetched.
fn elsewhere() -> Elsewhere {
    Fetching::default().open().expect("it opens nothing")
}

fn config_map(name: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, namespace: default}}\n")
}

#[tokio::test]
async fn a_good_catalog_has_no_problem() {
    let dir = tempfile::tempdir().expect("a directory");
    write(dir.path(), "fleet/web.yaml", app("web", "../manifests/web"));
    write(dir.path(), "manifests/web/a.yaml", config_map("a"));
    write(dir.path(), ".git/config.yaml", "{{");
    let view = check(dir.path().to_owned(), "./fleet/", true, &elsewhere()).await.expect("it can be read");
    assert_eq!(view.problems, []);
    assert!(view.is_good());
    assert_eq!(view.text(Style::default()), "1 object, 1 of 1 app rendered: 0 errors, 0 warnings\n");
}

#[tokio::test]
async fn a_directory_without_documents_is_an_error() {
    let dir = tempfile::tempdir().expect("a directory");
    write(dir.path(), "a.yaml", config_map("a"));
    let view = check(dir.path().to_owned(), "", true, &elsewhere()).await.expect("it can be read");
    assert!(view.empty && !view.is_good());
    assert!(check(dir.path().to_owned(), "nowhere", true, &elsewhere()).await.is_err());
}

#[tokio::test]
async fn overrides_are_tried_though_no_cluster_has_them_and_values_that_lack_are_told() {
    let dir = tempfile::tempdir().expect("a directory");
    let root = dir.path();
    write(root, "web.yaml", app("web", "src").replace("source:", "substitute: true\n  source:"));
    write(
        root,
        "src/a.yaml",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {n: \"${parameters.n}\", z: \"${labels.zone}\"}\n",
    );
    write(
        root,
        "override.yaml",
        format!(
            "{HEAD}kind: Override\nmetadata: {{name: big}}\nspec:\n  apps: {{names: [web]}}\n  clusters: {{sets: [none]}}\n  patches:\n  - {{target: {{kind: ConfigMap, name: b}}, patch: {{data: {{n: x}}}}}}\n---\n{HEAD}kind: ClusterSet\nmetadata: {{name: none}}\n"
        ),
    );
    write(
        root,
        "clusters.yaml",
        format!(
            "{HEAD}kind: Cluster\nmetadata: {{name: c-1}}\n---\n{HEAD}kind: Placement\nmetadata: {{name: p}}\nspec: {{apps: {{names: [web]}}, clusters: {{selector: {{}}}}}}\n"
        ),
    );
    let view = check(root.to_owned(), "", true, &elsewhere()).await.expect("it can be read");
    let told: Vec<String> = view.problems.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "override.yaml:8:5: error: Override/big: app web has no object that the patch targets, ConfigMap b; did you mean a?; it stays as it was where this override applies: correct the target, or remove the patch",
            "web.yaml:1:1: warning: App/web: on c-1: ${parameters.n} has no value; set it in the parameters of the Fleet, the App, the ClusterSet, an Override or the Cluster, or write ${parameters.n:-DEFAULT}. There it stays as it was",
        ],
        "a label may be an operator's, and is not asked for here"
    );
}

#[tokio::test]
async fn a_parameter_that_no_layer_sets_is_told_though_the_catalog_names_no_cluster() {
    let dir = tempfile::tempdir().expect("a directory");
    let root = dir.path();
    let filled = app("web", "src").replace("source:", "substitute: true\n  parameters: {own: 1}\n  source:");
    write(root, "web.yaml", filled);
    let text = "\"${parameters.own}${parameters.set.deep}${parameters.none}${parameters.other:-x}\"";
    let manifest = format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: a}}\ndata: {{n: {text}}}\n");
    write(root, "src/a.yaml", manifest);
    let set = format!(
        "{HEAD}kind: ClusterSet\nmetadata: {{name: s}}\nspec: {{parameters: {{set: {{deep: 1}}}}}}\n"
    );
    write(root, "set.yaml", set);
    let view = check(root.to_owned(), "", true, &elsewhere()).await.expect("it can be read");
    let told: Vec<String> = view.problems.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "web.yaml:1:1: warning: App/web: no layer of this catalog sets it: ${parameters.none} has no value; set it in the parameters of the Fleet, the App, the ClusterSet, an Override or the Cluster, or write ${parameters.none:-DEFAULT}"
        ]
    );
}

/// Every kind of bad input, each of which has to be told with its place and the rest of the catalog read.
#[tokio::test]
async fn every_bad_input_is_told_with_its_place() {
    let dir = tempfile::tempdir().expect("a directory");
    let root = dir.path();
    write(root, "good.yaml", app("good", "src/good"));
    write(root, "src/good/a.yaml", config_map("a"));
    write(root, "malformed.yaml", format!("{HEAD}kind: App\nmetadata: {{name: x\n"));
    write(
        root,
        "duplicate.yaml",
        format!("{HEAD}kind: App\nkind: App\nmetadata: {{name: d}}\nspec: {{source: {{path: src/good}}}}\n"),
    );
    write(root, "field.yaml", app("field", "src/good").replace("source", "sorce"));
    write(root, "kind.yaml", format!("{HEAD}kind: Apple\nmetadata: {{name: k}}\n"));
    write(
        root,
        "missing.yaml",
        format!(
            "{HEAD}kind: Placement\nmetadata: {{name: p}}\nspec: {{apps: {{names: [nothing]}}, clusters: {{names: [a]}}}}\n"
        ),
    );
    write(root, "outside.yaml", app("outside", "../../etc"));
    write(root, "latin1.yaml", [HEAD.as_bytes(), b"kind: App # \xe9\n"].concat());
    let bomb: String =
        (1..12).map(|n| format!("a{n}: &a{n} [{}]\n", format!("*a{},", n - 1).repeat(10))).collect();
    write(root, "bomb.yaml", format!("{HEAD}kind: App\na0: &a0 [x,x,x,x,x]\n{bomb}"));
    write(root, "linked.yaml", app("linked", "src/linked"));
    write(root, "src/linked/a.yaml", config_map("l"));
    std::os::unix::fs::symlink("/etc/passwd", root.join("src/linked/b.yaml")).expect("a link");
    write(root, "huge-source.yaml", app("huge", "src/huge"));
    for path in ["huge.yaml", "src/huge/a.yaml"] {
        write(root, path, "");
        // Sparse: it takes no room, and reading it whole would show.
        fs::OpenOptions::new()
            .write(true)
            .open(root.join(path))
            .and_then(|f| f.set_len(8 << 30))
            .expect("a file");
    }
    let view = check(root.to_owned(), "", true, &elsewhere()).await.expect("it can be read");
    let text = view.text(Style::default());
    let told = [
        "malformed.yaml:",
        "duplicate.yaml:3:1: error:",
        "field.yaml:5:3: error:",
        "kind.yaml:2:7: error:",
        "missing.yaml:",
        "outside.yaml:5:",
        "latin1.yaml:2:13: error:",
        "bomb.yaml:",
        "linked.yaml:",
        "huge.yaml:1:1: error:",
        "huge-source.yaml:",
    ];
    for place in told {
        assert!(
            text.lines().any(|line| line.starts_with(place) && line.contains("error:")),
            "no {place} in\n{text}"
        );
    }
    assert!(!text.contains("good.yaml"), "{text}");
    assert!(!view.is_good());
}
