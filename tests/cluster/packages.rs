//! Packages: container files and units name only what is there: files, packages, binaries, commands, flags.
//!
//! No image can be built where the tests run.

use std::path::{Path, PathBuf};
use std::time::Duration;

use harness::process::Program;
use serde_json::Value;

const LIMIT: Duration = Duration::from_secs(60);

fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn read(path: &str) -> String {
    std::fs::read_to_string(top().join(path)).unwrap()
}

fn quoted(line: &str) -> impl Iterator<Item = &str> {
    line.split('"').skip(1).step_by(2)
}

/// What stands after this word at the beginning of a line.
fn after<'a>(text: &'a str, word: &str) -> Vec<&'a str> {
    text.lines().filter_map(|line| line.strip_prefix(word)).collect()
}

/// A program takes these arguments: with `--help` after them it stops at the first that it does not know.
async fn takes(program: &str, arguments: &[&str]) {
    let program = Program::built(program).unwrap().args(arguments).arg("--help");
    program.output(LIMIT).await.unwrap_or_else(|error| panic!("{arguments:?}: {error:#}"));
}

#[test]
fn container_files_build_the_binary_that_they_run_from_what_is_there() {
    let workspace = read("Cargo.toml");
    let members = after(&workspace, "members = ")[0];
    let rust = quoted(after(&workspace, "rust-version = ")[0]).next().unwrap();
    // `cargo agent` is the alias that builds the spoke small, for the machine that it runs on by name.
    let builds = [
        ("hub", "cargo build --release --locked --package nave-hub --bin hub", "release"),
        ("spoke", "cargo agent --locked", "*/agent"),
    ];
    for (name, build, profile) in builds {
        let file = format!("deploy/containers/{name}.Containerfile");
        let text = read(&file);
        let copies = after(&text, "COPY ");
        let of_tree = copies.iter().filter(|copy| !copy.starts_with("--from="));
        let copied: Vec<&str> =
            of_tree.flat_map(|copy| copy.rsplit_once(' ').unwrap().0.split(' ')).collect();
        for path in &copied {
            assert!(top().join(path).exists(), "{file}: there is no {path}");
        }
        for needed in quoted(members).chain(["Cargo.toml", "Cargo.lock", ".cargo", "deploy"]) {
            assert!(copied.contains(&needed), "{file} does not copy {needed}");
        }
        assert_eq!(after(&text, "FROM ")[0], format!("rust:{rust}-bookworm AS build"), "{file}");
        assert_eq!(after(&text, "RUN ")[0], build, "{file}");
        let built = format!("--from=build /src/target/{profile}/{name} /usr/bin/{name}");
        assert!(copies.contains(&built.as_str()), "{file}");
        assert_eq!(after(&text, "ENTRYPOINT "), [format!("[\"/usr/bin/{name}\"]")], "{file}");
        assert_eq!(after(&text, "USER "), ["65532:65532"], "{file}: as the manifests say");
    }
}

#[tokio::test]
async fn what_a_pod_runs_exists() {
    for (program, file) in [("spoke", "spoke"), ("spoke", "spoke-namespaces"), ("hub", "hub")] {
        let text = read(&format!("deploy/manifests/{file}.yaml"));
        let documents: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
        let pods = documents.iter().filter_map(|document| document.pointer("/spec/template/spec"));
        let mut count = 0;
        for container in pods.flat_map(|pod| ["initContainers", "containers"].map(|field| &pod[field])) {
            for container in container.as_array().into_iter().flatten() {
                let arguments = container["args"].as_array().unwrap().iter();
                takes(program, &arguments.map(|argument| argument.as_str().unwrap()).collect::<Vec<_>>())
                    .await;
                count += 1;
            }
        }
        assert!(count > 0, "{file}");
    }
}

#[tokio::test]
async fn what_a_unit_runs_exists() {
    for name in ["hub", "spoke"] {
        let text = read(&format!("deploy/systemd/nave-{name}.service"));
        let run = after(&text, "ExecStart=")[0].strip_prefix("/usr/bin/").unwrap();
        let words: Vec<&str> = run.split(' ').filter(|word| !word.starts_with("$NAVE_OPTIONS")).collect();
        assert_eq!(words[0], name);
        takes(name, &words[1..]).await;
        for line in ["Restart=always", "StartLimitIntervalSec=0"] {
            assert!(text.lines().any(|is| is == line), "{name} comes back whatever happens: {line}");
        }
    }
}
