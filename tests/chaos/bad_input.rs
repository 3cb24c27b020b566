//! Bad input, from end to end: each gets a position and a sentence in `hub catalog check`, in `hub status` and in the hub's
//! log, and everything else stays as it was and goes on.

use std::fs;
use std::path::Path;

use anyhow::ensure;
use harness::fleet::{Fleet, documents};
use harness::wait;
use serde_json::Value;

use crate::given::{LIMIT, catalog, fleet, until_status, until_values, write_value};

/// A kind of bad input: what is written, and where the problem has to be named.
struct Case {
    name: &'static str,
    /// Puts it into the work tree.
    write: fn(&Path),
    /// The file, and the line where it matters.
    file: &'static str,
    line: Option<u64>,
    /// A word of the sentence.
    says: &'static str,
    /// Where `hub catalog check` names it, if that is another place: it knows no last good form.
    checked: Option<&'static str>,
}

const HEAD: &str = "apiVersion: nave.dev/v1alpha1\n";

fn put(root: &Path, path: &str, text: impl AsRef<[u8]>) {
    fs::write(root.join(path), text).unwrap();
}

fn edit(root: &Path, path: &str, edit: impl Fn(&str) -> String) {
    let text = fs::read_to_string(root.join(path)).unwrap();
    put(root, path, edit(&text));
}

fn link(root: &Path, path: &str, to: &str) {
    std::os::unix::fs::symlink(to, root.join(path)).unwrap();
}

const CASES: [Case; 12] = [
    Case {
        name: "malformed YAML",
        write: |root| edit(root, "apps/web.yaml", |text| text.replace("spec:", "spec: [")),
        file: "apps/web.yaml",
        line: None,
        says: "",
        checked: None,
    },
    Case {
        name: "a key that stands twice",
        write: |root| edit(root, "apps/web.yaml", |text| format!("{text}  prune: true\n  prune: false\n")),
        file: "apps/web.yaml",
        line: Some(8),
        says: "prune",
        checked: None,
    },
    Case {
        name: "a field that does not exist",
        write: |root| edit(root, "apps/web.yaml", |text| format!("{text}  prun: true\n")),
        file: "apps/web.yaml",
        line: Some(7),
        says: "prune",
        checked: None,
    },
    Case {
        name: "a kind that does not exist",
        write: |root| put(root, "extra.yaml", format!("{HEAD}kind: Ap\nmetadata: {{name: x}}\nspec: {{}}\n")),
        file: "extra.yaml",
        line: Some(2),
        says: "App",
        checked: None,
    },
    Case {
        name: "a placement of an app that does not exist",
        write: |root| {
            let placement = documents::placement("extra", &["wbe"], "{selector: {}}");
            put(root, "extra.yaml", placement);
        },
        file: "extra.yaml",
        line: Some(5),
        says: "web",
        checked: None,
    },
    Case {
        name: "a path that leaves the repository",
        write: |root| edit(root, "apps/web.yaml", |text| text.replace("./manifests/web", "../../../etc")),
        file: "apps/web.yaml",
        line: Some(5),
        says: "leaves the repository",
        checked: None,
    },
    Case {
        name: "a symbolic link out of the source",
        write: |root| link(root, "apps/manifests/web/passwd.yaml", "/etc/passwd"),
        file: "apps/web.yaml",
        line: None,
        says: "passwd.yaml",
        checked: None,
    },
    Case {
        name: "a symbolic link in place of a file of the catalog",
        write: |root| {
            fs::remove_file(root.join("apps/web.yaml")).unwrap();
            link(root, "apps/web.yaml", "/etc/passwd");
        },
        file: "apps/web.yaml",
        line: Some(1),
        says: "link",
        checked: Some("placements/web.yaml:5:18: error: Placement/web-everywhere: App/web"),
    },
    Case {
        name: "an alias bomb",
        write: |root| put(root, "extra.yaml", bomb()),
        file: "extra.yaml",
        line: None,
        says: "",
        checked: None,
    },
    Case {
        name: "a file of 100 MB",
        write: |root| {
            let comment = format!("{HEAD}# {}\n", "x".repeat(1021));
            put(root, "apps/web.yaml", comment.repeat(100 << 10));
        },
        file: "apps/web.yaml",
        line: Some(1),
        says: "allowed",
        checked: None,
    },
    Case {
        name: "text that is not UTF-8",
        write: |root| edit_bytes(root, "apps/web.yaml"),
        file: "apps/web.yaml",
        line: Some(3),
        says: "UTF-8",
        checked: None,
    },
    Case {
        name: "a manifest that is not YAML",
        write: |root| put(root, "apps/manifests/web/web.yaml", "kind: ConfigMap\n\t: x\n"),
        file: "apps/manifests/web/web.yaml",
        line: Some(1),
        says: "",
        checked: None,
    },
];

/// A byte in a name that no UTF-8 has.
fn edit_bytes(root: &Path, path: &str) {
    let mut bytes = fs::read(root.join(path)).unwrap();
    let at = bytes.windows(5).position(|window| window == b"name:").unwrap();
    bytes[at + 6] = 0xff;
    put(root, path, bytes);
}

/// Nine levels of nine aliases: 387 million of them.
fn bomb() -> String {
    let mut text =
        format!("{HEAD}kind: Fleet\nmetadata: {{name: fleet}}\nspec:\n  parameters:\n    a0: &a0 [x, x]\n");
    for level in 1..=9 {
        let aliases = vec![format!("*a{}", level - 1); 9].join(", ");
        text.push_str(&format!("    a{level}: &a{level} [{aliases}]\n"));
    }
    text
}

/// The first problem of a status that a case is about.
fn found(status: &Value, case: &Case) -> Option<Value> {
    let problems = status["problems"].as_array()?;
    let fits = |problem: &&Value| {
        problem["file"] == case.file
            && case.line.is_none_or(|line| problem["line"] == line)
            && problem["column"].as_u64() >= Some(1)
            && problem["message"].as_str().is_some_and(|message| message.contains(case.says))
    };
    problems.iter().find(fits).cloned()
}

/// `FILE:LINE:COLUMN`, as the problem says.
fn position(problem: &Value) -> String {
    format!("{}:{}:{}", problem["file"].as_str().unwrap(), problem["line"], problem["column"])
}

async fn shown_everywhere(fleet: &mut Fleet, case: &Case) {
    let what = format!("hub status names {} in {}", case.name, case.file);
    let status = until_status(fleet, &what, |status| found(status, case).is_some()).await;
    let position = position(&found(&status, case).unwrap());
    fleet.hub_process().unwrap().line(&position, LIMIT).await.unwrap();
    let path = fleet.catalog.path();
    let checked = fleet.hub(&["catalog", "check", &path.to_string_lossy()]).await.unwrap();
    assert_eq!(checked.code, 1, "{}: {checked:?}", case.name);
    let expected = case.checked.unwrap_or(&position);
    assert!(checked.stdout.contains(expected), "{}: {expected}: {checked:?}", case.name);
}

#[tokio::test]
async fn bad_input_is_named_by_file_line_and_column_and_costs_nothing_but_itself() {
    let mut fleet = fleet(catalog(&["web", "db"]), &["fra-1"]).await;
    let good = fleet.catalog.head().unwrap();
    for (round, case) in CASES.iter().enumerate() {
        let value = format!("{round}");
        (case.write)(&fleet.catalog.path());
        write_value(&fleet.catalog, "db", &value);
        fleet.catalog.commit(case.name).unwrap();
        shown_everywhere(&mut fleet, case).await;
        // The other app goes on, and the one that is concerned stays as it was.
        until_values(&fleet, "fra-1", &[("db", &value), ("web", "1")]).await;
        wait::until("the hub answers within its means", LIMIT, async || {
            let status = fleet.status().await?;
            ensure!(status["unassigned"] == serde_json::json!({}), "{status}");
            Ok(())
        })
        .await;

        fleet.catalog.git(&["rm", "-r", "--quiet", "-f", "--ignore-unmatch", "extra.yaml"]).unwrap();
        fleet
            .catalog
            .git(&["checkout", "--quiet", &good, "--", "apps/web.yaml", "apps/manifests/web"])
            .unwrap();
        let _ = fs::remove_file(fleet.catalog.path().join("apps/manifests/web/passwd.yaml"));
        let commit = fleet.catalog.commit("Mend it").unwrap();
        fleet.converge(&["--commit", &commit]).await.unwrap();
        let status = fleet.status().await.unwrap();
        assert_eq!(status["problems"], serde_json::json!([]), "after {}", case.name);
    }
    let path = fleet.catalog.path();
    let checked = fleet.hub(&["catalog", "check", &path.to_string_lossy()]).await.unwrap();
    assert_eq!(checked.code, 0, "{checked:?}");
}

#[tokio::test]
async fn an_object_of_two_apps_is_a_problem_at_the_hub_before_it_is_one_on_a_cluster() {
    let mut fleet = fleet(catalog(&["web"]), &["fra-1"]).await;
    let rival = documents::app("web").replace("name: web}\nspec", "name: zweb}\nspec");
    fleet.catalog.write("apps/zweb.yaml", &rival).unwrap();
    let placement = documents::placement("zweb-everywhere", &["zweb"], "{names: [fra-1]}");
    fleet.catalog.write("placements/zweb.yaml", &placement).unwrap();
    let declared = "apiVersion: nave.dev/v1alpha1\nkind: Cluster\nmetadata: {name: fra-1}\n";
    fleet.catalog.write("clusters/fra-1.yaml", declared).unwrap();
    fleet.catalog.commit("Two apps for one object").unwrap();

    let says = "ConfigMap web/web is defined by app web too, and both are on fra-1, where the app that has it keeps it, or else web gets it";
    until_status(&fleet, "the clash is named", |status| {
        let problems = status["problems"].as_array().unwrap();
        problems.iter().any(|p| p["message"].as_str().unwrap().contains(says))
    })
    .await;
    fleet.hub_process().unwrap().line(says, LIMIT).await.unwrap();
    let path = fleet.catalog.path();
    let checked = fleet.hub(&["catalog", "check", &path.to_string_lossy()]).await.unwrap();
    assert!(checked.code == 1 && checked.stdout.contains(says), "{checked:?}");
    // The first one has it, as before.
    until_values(&fleet, "fra-1", &[("web", "1")]).await;
}
