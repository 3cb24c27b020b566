//! Random damage never panics, and never removes what was not plainly dropped.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

const FILES: &[(&str, &str)] = &[
    (
        "apps.yaml",
        "apiVersion: nave.dev/v1alpha1\nkind: App\nmetadata:\n  name: web\n  labels: {tier: web}\nspec:\n  source:\n    path: ./web\n---\napiVersion: nave.dev/v1alpha1\nkind: App\nmetadata: {name: db}\nspec: {source: {path: ./db}, prune: no}\n",
    ),
    (
        "fleet.yaml",
        "apiVersion: nave.dev/v1alpha1\nkind: Fleet\nmetadata: {name: f}\nspec:\n  parameters: &p {a: 1}\n  guard: {app: {max: 5%}}\n---\n# a note\napiVersion: nave.dev/v1alpha1\nkind: Cluster\nmetadata: {name: fra-1, labels: {env: \"prod\"}}\nspec: {set: prod}\n---\napiVersion: nave.dev/v1alpha1\nkind: ClusterSet\nmetadata: {name: prod}\n",
    ),
    (
        "p.json",
        "{\"apiVersion\": \"nave.dev/v1alpha1\", \"kind\": \"Placement\", \"metadata\": {\"name\": \"p\"},\n \"spec\": {\"apps\": {\"names\": [\"web\", \"db\"]}, \"clusters\": {\"selector\": {}}}}\n",
    ),
    (
        "template.yaml",
        "apiVersion: nave.dev/v1alpha1\nkind: App\nmetadata: {name: s*c, labels: {tier: web}}\nspec:\n  source: {directories: ./services/*}\n  formerly: [\"o*d\"]\n",
    ),
    ("web/c.yaml", MANIFEST),
    ("db/c.yaml", MANIFEST),
    ("services/a/c.yaml", MANIFEST),
    ("services/ab/c.yaml", MANIFEST),
];

/// Whether a template may mean an app of [`FILES`]: told from what it says alone.
fn may_make(document: &Document, app: &str) -> bool {
    let parts =
        |text: &str| text.split_once('*').map(|(before, after)| (before.to_owned(), after.to_owned()));
    let Some((before, after)) = document.id.as_ref().and_then(|id| parts(&id.name)) else { return false };
    let Some(name) = app.strip_prefix(&*before).and_then(|rest| rest.strip_suffix(&*after)) else {
        return false;
    };
    let said = document.object.as_ref().and(document.template.as_ref()).and_then(|t| t.directories.as_ref());
    let Some(directories) = said else { return true };
    let of = |directory: &str| {
        let (before, after) = directories.given.rsplit('/').next().and_then(parts).expect("it has a star");
        directory.len() >= before.len() + after.len()
            && directory.starts_with(&before)
            && directory.ends_with(&after)
            && (before.starts_with('.') || !directory.starts_with('.'))
    };
    let found: BTreeSet<&str> = FILES
        .iter()
        .filter_map(|(path, _)| match &*directories.parent {
            "" => Some(*path),
            parent => path.strip_prefix(parent)?.strip_prefix('/'),
        })
        .filter_map(|path| path.split_once('/').map(|(directory, _)| directory))
        .filter(|directory| of(directory))
        .collect();
    found.is_empty() || found.contains(name)
}

/// One change of one byte.
#[derive(Clone, Debug)]
enum Damage {
    Replace(u8),
    Insert(u8),
    Remove,
    Truncate,
}

fn damage() -> impl Strategy<Value = Damage> {
    let byte = prop_oneof![
        4 => proptest::sample::select(b"#:-{}[]\"'&*!|>%@`, \n\t~<?0aA".to_vec()),
        1 => any::<u8>(),
    ];
    prop_oneof![
        6 => byte.clone().prop_map(Damage::Replace),
        4 => byte.prop_map(Damage::Insert),
        4 => Just(Damage::Remove),
        1 => Just(Damage::Truncate),
    ]
}

fn apply(content: &mut Vec<u8>, at: usize, damage: &Damage) {
    let at = at % content.len().max(1);
    match damage {
        Damage::Insert(byte) => content.insert(at, *byte),
        _ if content.is_empty() => {}
        Damage::Replace(byte) => content[at] = *byte,
        Damage::Remove => _ = content.remove(at),
        Damage::Truncate => content.truncate(at),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2048, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damage_never_removes_what_was_not_plainly_dropped(
        rows in proptest::collection::vec((0..4usize, any::<usize>(), damage()), 1..4)
    ) {
        let before = assembled("1", FILES, &LastGood::new());
        prop_assert_eq!(before.problems.len(), 0);
        let mut files: Vec<(&str, Vec<u8>)> = FILES.iter().map(|(p, text)| (*p, text.as_bytes().to_vec())).collect();
        for (file, at, damage) in &rows {
            apply(&mut files[*file].1, *at, damage);
        }
        let files: Vec<(&str, &[u8])> = files.iter().map(|(path, content)| (*path, content.as_slice())).collect();
        let after = revision("2", &files, &tree(FILES), &before.objects);
        let parsed: Vec<ParsedFile> = files.iter().map(|(path, content)| parse_file(path, content)).collect();
        let documents = || parsed.iter().flat_map(|p| &p.documents);
        for (id, effective) in &before.objects {
            if after.objects.contains_key(id) {
                continue;
            }
            // Told without the code under test: all text was understood, each document of its file is a whole object
            // of another identity, or a foreign one.
            prop_assert!(parsed.iter().all(|p| !p.unreadable), "{} lost to an unreadable file", id);
            prop_assert!(documents().all(|d| d.id.as_ref() != Some(id)), "{} lost though it is named", id);
            prop_assert!(!documents().any(|d| may_make(d, &id.name)), "{} lost though a template may make it", id);
            let file = &effective.object.origin.file;
            let own: Vec<&Document> = documents().filter(|d| &d.origin.file == file).collect();
            prop_assert!(own.iter().all(|d| d.ours || !d.stray), "{} lost to a stray document", id);
            let (_, text) = files.iter().find(|(path, _)| **path == **file).expect("a file of the commit");
            let says = |word: &[u8]| text.windows(word.len()).any(|window| window == word);
            let is_torn = |d: &&&Document| d.ours && d.template.is_none() && d.object.is_none();
            let torn = own.iter().filter(is_torn).count();
            prop_assert!(torn == 0 || !says(b" {directories: "), "{} lost to a template without names", id);
        }
        for problem in &after.problems {
            let (_, content) = files.iter().find(|(path, _)| **path == *problem.file).expect("a file of the commit");
            let lines = content.iter().filter(|b| **b == b'\n' || **b == b'\r').count() + 1;
            prop_assert!(problem.line >= 1 && problem.line as usize <= lines + 1, "{}", problem);
            prop_assert!(problem.column >= 1, "{}", problem);
        }
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(content in proptest::collection::vec(any::<u8>(), 0..200)) {
        parse_file("a.yaml", &content);
    }
}
