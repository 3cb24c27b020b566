//! `deploy/`: the manifests are what the charts give, the container files name what is there.
//!
//! `NAVE_BLESS=1` writes the manifests anew.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use harness::assets;
use harness::process::Program;

const LIMIT: Duration = Duration::from_secs(60);

fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// What a chart gives, one document after the other, without helm's own remarks.
async fn rendered(chart: &str, settings: &[&str]) -> String {
    let helm = assets::binary("helm").unwrap();
    let settings = settings.iter().flat_map(|setting| ["--set", setting]);
    let chart_directory = top().join("deploy/charts").join(chart);
    let program = Program::at(helm).args(["template", chart]).arg(chart_directory).args(settings);
    let text = program.output(LIMIT).await.unwrap();
    let mut documents = vec![String::new()];
    for line in text.lines().filter(|line| !line.starts_with("# Source:")) {
        match line {
            "---" => documents.push(String::new()),
            line => documents.last_mut().unwrap().push_str(&format!("{line}\n")),
        }
    }
    let documents = documents.iter().map(|document| document.trim_matches('\n')).filter(|d| !d.is_empty());
    let documents = documents.collect::<Vec<_>>().join("\n---\n");
    format!("# Made from deploy/charts/{chart}; change it there.\n{documents}\n")
}

#[tokio::test]
async fn the_manifests_are_what_the_charts_give() {
    let token = "join=JOIN-TOKEN";
    let rows: [(&str, &str, &[&str]); 4] = [
        ("spoke/cluster-admin.yaml", "nave-spoke", &[token]),
        ("spoke/chosen.yaml", "nave-spoke", &[token, "rights=chosen", "namespaces={team-a}"]),
        (
            "spoke/impersonation.yaml",
            "nave-spoke",
            &[
                token,
                "rights=impersonation",
                "impersonate[0].namespace=team-a",
                "impersonate[0].name=nave-team-a",
            ],
        ),
        ("hub/hub.yaml", "nave-hub", &[]),
    ];
    for (file, chart, settings) in rows {
        let path = top().join("deploy").join(file);
        let text = rendered(chart, settings).await;
        if std::env::var_os("NAVE_BLESS").is_some() {
            fs::write(&path, text).unwrap();
            continue;
        }
        let stands = fs::read_to_string(&path).unwrap_or_default();
        assert!(stands == text, "{file} is not what the chart gives: NAVE_BLESS=1 writes it anew\n{text}");
    }
}

#[tokio::test]
async fn every_pod_is_restricted_as_pod_security_has_it() {
    for file in ["spoke/cluster-admin.yaml", "spoke/chosen.yaml", "spoke/impersonation.yaml", "hub/hub.yaml"]
    {
        let text = fs::read_to_string(top().join("deploy").join(file)).unwrap();
        let containers = text.matches("readOnlyRootFilesystem: true").count();
        assert!(containers > 0, "{file}");
        for wanted in ["allowPrivilegeEscalation: false", "capabilities: {drop: [ALL]}"] {
            assert_eq!(text.matches(wanted).count(), containers, "{file}: {wanted}");
        }
        for wanted in ["runAsNonRoot: true", "seccompProfile: {type: RuntimeDefault}", "    limits:"] {
            assert!(text.contains(wanted), "{file}: {wanted}");
        }
    }
}

#[test]
fn container_files_copy_only_what_is_there() {
    for file in ["spoke.Containerfile", "hub.Containerfile"] {
        let text = fs::read_to_string(top().join("deploy").join(file)).unwrap();
        let copies = text
            .lines()
            .filter_map(|line| line.strip_prefix("COPY "))
            .filter(|line| !line.starts_with("--from"));
        let mut copied = Vec::new();
        for line in copies {
            let mut paths: Vec<&str> = line.split(' ').collect();
            paths.pop();
            for path in paths {
                assert!(top().join(path).exists(), "{file}: {path} is not there");
                copied.push(path);
            }
        }
        // Every package of the workspace, or cargo does not read its manifest.
        let workspace = fs::read_to_string(top().join("Cargo.toml")).unwrap();
        let members = workspace.lines().find(|line| line.starts_with("members")).unwrap();
        for member in members.split('"').skip(1).step_by(2) {
            assert!(copied.contains(&member), "{file} does not copy {member}");
        }
        let binary = text.lines().find_map(|line| line.strip_prefix("ENTRYPOINT [\"/")).unwrap();
        assert!(text.contains(&format!("--bin {}", binary.trim_end_matches("\"]"))), "{file}");
    }
}
