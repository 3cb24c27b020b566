//! objects: Git objects that `git` itself would refuse to make. In: entries of trees. Out: branches of a real repository.
//! Never: checks a name, an order or a mode.

use harness::fleet::documents;
use harness::git::Repository;

use crate::charts::given::Given;

/// Writes objects as they are given.
pub struct Raw<'a> {
    pub repository: &'a Repository,
    pub room: &'a Given,
}

impl Raw<'_> {
    fn git(&self, arguments: &[&str]) -> String {
        self.repository.git(arguments).expect("git does it")
    }

    fn object(&self, kind: &str, content: &[u8]) -> String {
        let path = self.room.path("object");
        std::fs::write(&path, content).expect("it is written");
        let path = path.to_str().expect("it is UTF-8");
        self.git(&["hash-object", "-t", kind, "-w", "--literally", "--no-filters", path])
    }

    pub fn blob(&self, content: &[u8]) -> String {
        self.object("blob", content)
    }

    /// A tree of modes, names and ids, in this order.
    pub fn tree(&self, entries: &[(&str, &str, &str)]) -> String {
        let mut content = Vec::new();
        for (mode, name, id) in entries {
            content.extend_from_slice(format!("{mode} {name}\0").as_bytes());
            let byte = |at: usize| u8::from_str_radix(&id[at..at + 2], 16).expect("an id");
            content.extend((0..id.len()).step_by(2).map(byte));
        }
        self.object("tree", &content)
    }

    /// A tree with an app's only manifest and these entries, which sort before it.
    pub fn app(&self, app: &str, entries: &[(&str, &str, &str)]) -> String {
        let manifest = self.blob(documents::config_map(app, "harmless").as_bytes());
        self.tree(&[entries, &[("100644", "z.yaml", &*manifest)]].concat())
    }

    /// Names a tree.
    pub fn branch(&self, name: &str, tree: &str) {
        let commit = self.git(&["commit-tree", "-m", name, tree]);
        self.git(&["update-ref", &format!("refs/heads/{name}"), &commit]);
    }
}

/// An app's manifest below `m`, beside these entries of the root, which sort before it.
pub fn beside(raw: &Raw, app: &str, entries: &[(&str, &str, &str)]) -> String {
    let below = raw.app(app, &[]);
    raw.tree(&[entries, &[("40000", "m", &*below)]].concat())
}

/// The app's manifests themselves are hostile.
pub fn below(raw: &Raw, app: &str, entries: &[(&str, &str, &str)]) -> String {
    let below = raw.app(app, entries);
    raw.tree(&[("40000", "m", &*below)])
}

/// A script where it would be run if it got there.
fn hook(raw: &Raw) -> String {
    let script = raw.blob(b"#!/bin/sh\necho owned > owned\n");
    raw.tree(&[("100755", "post-checkout", &*script)])
}

pub fn climbs(raw: &Raw, app: &str, _: &str) -> String {
    let hooks = hook(raw);
    beside(raw, app, &[("40000", "..", &*hooks)])
}

pub fn slashes(raw: &Raw, app: &str, _: &str) -> String {
    let script = raw.blob(b"owned\n");
    below(raw, app, &[("100644", "../../../owned", &*script)])
}

pub fn dot_git(raw: &Raw, app: &str, _: &str) -> String {
    let hooks = hook(raw);
    let git = raw.tree(&[("40000", "hooks", &*hooks)]);
    beside(raw, app, &[("40000", ".git", &*git)])
}

pub fn folded(raw: &Raw, app: &str, _: &str) -> String {
    let config = raw.blob(b"[core]\n\tfsmonitor = \"touch owned\"\n");
    let git = raw.tree(&[("100644", "config", &*config)]);
    let names = [".GIT", ".Git", ".g\u{200c}it", "git~1", "m\\..\\..\\owned"];
    let entries: Vec<_> = names.iter().map(|name| ("40000", *name, &*git)).collect();
    beside(raw, app, &entries)
}

/// A link and a directory of one name: what goes into the directory would go through the link.
pub fn twice(raw: &Raw, app: &str, outside: &str) -> String {
    let target = raw.blob(outside.as_bytes());
    let inner = raw.blob(b"kind: ConfigMap\n");
    let directory = raw.tree(&[("100644", "owned.yaml", &*inner)]);
    below(raw, app, &[("120000", "a.yaml", &*target), ("40000", "a.yaml", &*directory)])
}

pub fn linked(raw: &Raw, app: &str, outside: &str) -> String {
    let target = raw.blob(format!("{outside}/secret.json").as_bytes());
    below(raw, app, &[("120000", "secret.json", &*target)])
}

/// A link whose name would colour a terminal and begin a line of its own.
pub fn coloured(raw: &Raw, app: &str, outside: &str) -> String {
    let target = raw.blob(format!("{outside}/secret.yaml").as_bytes());
    below(raw, app, &[("120000", "a\u{1b}[2J\nall is well.yaml", &*target)])
}

fn modules(raw: &Raw, app: &str, name: &str, url: &str) -> String {
    let text = format!("[submodule \"{name}\"]\n\tpath = sub\n\turl = {url}\n\tupdate = !touch owned\n");
    let (modules, commit) = (raw.blob(text.as_bytes()), raw.repository.head().expect("a commit"));
    let inner = raw.app(app, &[("160000", "sub", &*commit)]);
    raw.tree(&[("100644", ".gitmodules", &*modules), ("40000", "m", &*inner), ("160000", "sub", &*commit)])
}

pub fn module_up(raw: &Raw, app: &str, _: &str) -> String {
    modules(raw, app, "../../hooks", "./hooks")
}

pub fn module_further_up(raw: &Raw, app: &str, _: &str) -> String {
    modules(raw, app, "a..b/../../../.git/", "./a")
}

pub fn module_ssh(raw: &Raw, app: &str, outside: &str) -> String {
    modules(raw, app, "sub", &format!("ssh://-oProxyCommand=touch%20{outside}/owned/a"))
}

/// 10^8 directories in nine objects.
pub fn countless(raw: &Raw, app: &str, _: &str) -> String {
    let mut tree = raw.app(app, &[]);
    for _ in 0..8 {
        let names: Vec<String> = (0..10).map(|number| format!("d{number}")).collect();
        let entries: Vec<_> = names.iter().map(|name| ("40000", &**name, &*tree)).collect();
        tree = raw.tree(&entries);
    }
    below(raw, app, &[("40000", "d", &*tree)])
}

/// A file that is a thousandth of its size on its way.
pub fn swollen(raw: &Raw, app: &str, _: &str) -> String {
    let zeros = raw.blob(&vec![0; 72 << 20]);
    below(raw, app, &[("100644", "a.yaml", &*zeros)])
}
