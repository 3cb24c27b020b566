//! What `deploy` says of the tree and of the binaries is so: container files, service units, charts.
//!
//! Nothing here builds an image or starts a unit; it looks at what they would miss.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use harness::process::Program;

use super::tree::{assert_none, files, top};

const LIMIT: Duration = Duration::from_secs(30);

fn read(path: &str) -> String {
    fs::read_to_string(top().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The packages of the workspace, by directory.
fn members() -> Vec<String> {
    let manifest = read("Cargo.toml");
    let list = manifest.split_once("members = [").and_then(|(_, rest)| rest.split_once(']')).unwrap().0;
    list.split(',').map(|member| member.trim().trim_matches('"').to_owned()).collect()
}

/// Where the binaries are in an image.
fn installed(binary: &str) -> String {
    format!("/usr/bin/{binary}")
}

#[test]
fn images_are_built_from_all_that_the_build_reads() {
    let packages = members();
    let mut needed: BTreeSet<String> = packages.iter().cloned().collect();
    needed.extend(["Cargo.toml", "Cargo.lock", ".cargo"].map(str::to_owned));
    for source in
        files("rs").iter().filter(|source| packages.iter().any(|package| source.is_in(&[package.as_str()])))
    {
        needed.extend(included(&source.path, &source.text));
    }
    assert!(needed.contains("deploy"), "the hub includes manifests: {needed:?}");
    for binary in ["hub", "spoke"] {
        let file = read(&format!("deploy/containers/{binary}.Containerfile"));
        let lines: Vec<&str> = file.lines().collect();
        let copied: BTreeSet<String> = lines
            .iter()
            .filter_map(|line| line.strip_prefix("COPY "))
            .filter(|line| !line.starts_with("--from"))
            .flat_map(|line| {
                let mut words: Vec<&str> = line.split_whitespace().collect();
                words.pop();
                words.into_iter().map(str::to_owned).collect::<Vec<_>>()
            })
            .collect();
        assert_eq!(copied, needed, "deploy/containers/{binary}.Containerfile");
        assert!(copied.iter().all(|name| top().join(name).exists()), "{copied:?}");
        let at = installed(binary);
        for line in [
            format!("RUN cargo build --release --locked --package nave-{binary} --bin {binary}"),
            format!("COPY --from=build /src/target/release/{binary} {at}"),
            format!("ENTRYPOINT [\"{at}\"]"),
        ] {
            assert!(lines.contains(&line.as_str()), "{binary}.Containerfile lacks: {line}");
        }
        let manifest = read(&format!("{binary}/Cargo.toml"));
        let name = format!("name = \"{binary}\"");
        assert!(
            manifest.contains(&format!("name = \"nave-{binary}\"")) && manifest.contains(&name),
            "{manifest}"
        );
        // The charts give arguments and leave the program to the image; documents name it in full.
        assert!(read("deploy/README.md").contains(&installed("spoke")));
    }
}

/// The directories at the top that a file includes from, other than its package's own.
fn included(path: &str, text: &str) -> BTreeSet<String> {
    let own = path.split('/').next().unwrap_or_default();
    let calls = ["include_str!(\"", "include_bytes!(\""];
    let names =
        calls.iter().flat_map(|call| text.split(call).skip(1)).filter_map(|rest| rest.split('"').next());
    let tops = names.filter_map(|name| {
        let mut steps: Vec<&str> = path.split('/').collect();
        steps.pop();
        for step in name.split('/') {
            match step {
                ".." => drop(steps.pop()),
                step => steps.push(step),
            }
        }
        let there = steps.join("/");
        assert!(top().join(&there).is_file(), "{path} includes {there}");
        steps.first().filter(|first| **first != own).map(|first| (*first).to_owned())
    });
    tops.collect()
}

#[test]
fn what_is_included_from_elsewhere_is_found() {
    let rows: [(&str, &str, &[&str]); 3] = [
        ("tests/tidy/main.rs", "include_str!(\"tree.rs\")", &[]),
        ("hub/src/main.rs", "include_str!(\"../../spoke/Cargo.toml\")", &["spoke"]),
        ("hub/src/main.rs", "include_bytes!(\"lib.rs\"); include_str!(\"../../README.md\")", &["README.md"]),
    ];
    for (path, text, expected) in rows {
        let found = included(path, text);
        assert_eq!(found.iter().map(String::as_str).collect::<Vec<_>>(), expected, "{text}");
    }
}

/// A command line of `deploy`: where it stands, the binary, the command, its flags and its variables.
struct Line {
    place: String,
    binary: &'static str,
    command: String,
    flags: Vec<String>,
    variables: Vec<String>,
}

fn units() -> Vec<Line> {
    let of = |binary| {
        let place = format!("deploy/systemd/nave-{binary}.service");
        let text = read(&place);
        let start = text.lines().find_map(|line| line.strip_prefix("ExecStart=")).unwrap();
        let words: Vec<&str> = start.split_whitespace().collect();
        assert_eq!(words[0], installed(binary), "{place}");
        // The comment at the top shows what goes into the environment.
        let shown = text.lines().filter_map(|line| line.strip_prefix('#')).collect::<Vec<_>>().join("\n");
        let flags = words.iter().copied().chain(shown.split(['=', ' ', '\n']).filter(|_| binary == "spoke"));
        let flags = flags.filter(|word| word.starts_with("--")).map(str::to_owned).collect();
        let set = shown.split_whitespace().filter_map(|word| word.split_once('=')).map(|(name, _)| name);
        let variables = set.filter(|name| name.starts_with("NAVE_") && !start.contains(*name));
        let variables = variables.map(str::to_owned).collect();
        Line { place, binary, command: words[1].to_owned(), flags, variables }
    };
    vec![of("hub"), of("spoke")]
}

/// The containers of the charts, whatever their values: each list of arguments that begins with a command.
fn charts() -> Vec<Line> {
    let templates = [("hub", "statefulset.yaml"), ("spoke", "deployment.yaml")];
    let of = |(binary, file): (&'static str, &str)| {
        let place = format!("deploy/chart/{binary}/templates/{file}");
        let text = read(&place);
        assert!(!text.contains("command:"), "{place}: the image says which program it is");
        let variables = text.lines().filter_map(|line| line.trim().strip_prefix("- name: NAVE_"));
        let variables: Vec<String> = variables.map(|name| format!("NAVE_{name}")).collect();
        let lists = text.split("args:\n").skip(1).map(|rest| {
            let items = rest.lines().map(str::trim);
            let items = items
                .take_while(|line| line.starts_with("- ") || line.starts_with('{') || line.starts_with("# "));
            items.filter_map(|line| line.strip_prefix("- ")).map(str::to_owned).collect::<Vec<_>>()
        });
        let lines = lists.map(|items| Line {
            place: place.clone(),
            binary,
            command: items[0].clone(),
            flags: items.iter().filter(|item| item.starts_with("--")).cloned().collect(),
            variables: variables.clone(),
        });
        lines.collect::<Vec<_>>()
    };
    templates.into_iter().flat_map(of).collect()
}

#[tokio::test]
async fn every_flag_and_variable_of_units_and_charts_is_known_to_the_binary() {
    let all: Vec<Line> = units().into_iter().chain(charts()).collect();
    assert_eq!(
        all.iter().map(|line| &*line.command).collect::<Vec<_>>(),
        ["serve", "run", "init", "serve", "run"]
    );
    assert!(all.iter().map(|line| line.flags.len() + line.variables.len()).sum::<usize>() > 15);
    let mut unknown = Vec::new();
    for Line { place, binary, command, flags, variables } in all {
        let help = Program::built(binary).unwrap().args([&*command, "--help"]).output(LIMIT).await.unwrap();
        let words: BTreeSet<&str> = help.split([' ', '\n', ',', '[', ']', '=']).collect();
        let missing = flags.iter().chain(&variables).filter(|name| !words.contains(name.as_str()));
        unknown.extend(missing.map(|name| format!("{place}: {binary} {command} does not know {name}")));
    }
    assert_eq!(unknown, Vec::<String>::new());
}

#[test]
fn units_come_back_whatever_happens() {
    let units = files("service");
    assert_eq!(units.len(), 2);
    let breaches = units.iter().flat_map(|unit| {
        let wanted =
            ["Restart=always", "RestartSec=", "StartLimitIntervalSec=0", "WantedBy=multi-user.target"];
        let missing = wanted.into_iter().filter(|line| !unit.text.lines().any(|is| is.starts_with(line)));
        missing.map(|line| unit.breach(1, format!("lacks {line}"))).collect::<Vec<_>>()
    });
    assert_none(breaches);
}
