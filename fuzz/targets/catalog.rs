//! Catalog files: nothing that stands in one ends the hub, and an object is taken only where nothing is wrong with it.
#![no_main]

use std::collections::BTreeMap;
use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use nave_placement::catalog::{
    CommitId, LastGood, Tree, assemble, candidates, may_hold_documents, parse_file,
};
use nave_placement::{CatalogName, catalog};

fuzz_target!(|bytes: &[u8]| {
    let path = "fleet/a.yaml";
    let entry = catalog::TreeEntry {
        kind: catalog::FileKind::File,
        blob: catalog::BlobId("0".repeat(40).into()),
        size: bytes.len() as u64,
    };
    let tree = Tree::from([(path.into(), entry)]);
    // The same bytes as a list of files to ignore.
    let ignored = BTreeMap::from([("fleet/.naveignore".into(), Arc::from(bytes))]);
    let _ = candidates(&tree, "", &ignored);
    let _ = may_hold_documents(bytes);

    let parsed = Arc::new(parse_file(path, bytes));
    let wrong = parsed.problems.iter().any(|problem| problem.is_error());
    let taken = parsed.documents.iter().filter(|document| document.object.is_some()).count();
    let ours = parsed.documents.iter().filter(|document| document.ours).count();
    assert!(taken <= ours);
    assert!(wrong || taken == ours, "a document is neither taken nor told of");

    let (name, commit) = (CatalogName::root(), CommitId("1".repeat(40).into()));
    let files = BTreeMap::from([(path.into(), parsed)]);
    let first = assemble(&name, &commit, true, &tree, &files, &LastGood::new());
    // What is in effect stays so when the same text is read again.
    let again = assemble(&name, &commit, true, &tree, &files, &first.objects);
    assert_eq!(first.objects, again.objects);
});
