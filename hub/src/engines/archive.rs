//! Archives: charts that another chart depends on come packed, as `helm dependency build` leaves them.
//!
//! In: a chart's files. Out: the same, each `charts/NAME.tgz` unpacked beside where it lay, so that its templates are looked at
//! like all others; Helm reads both ways as the same.
//! Never: takes more out of an archive than it has room for, a link, or a path that leaves `charts`.

use std::sync::Arc;

use nave_placement::render::Contents;

use super::EngineError;
use crate::charts::archive::{MOST_BYTES, MOST_FILES, each_file};

/// How deep archives may lie in each other.
const DEEPEST: usize = 5;

/// Unpacks what a chart in a directory depends on.
pub(super) fn unpacked(directory: &str, files: &Contents) -> Result<Contents, EngineError> {
    let mut files = files.clone();
    let mut room = MOST_BYTES;
    for _ in 0..DEEPEST {
        let packed: Vec<Arc<str>> = files.keys().filter(|path| is_packed(directory, path)).cloned().collect();
        if packed.is_empty() {
            return Ok(files);
        }
        for path in packed {
            let Some(archive) = files.remove(&path) else { continue };
            let charts = path.rsplit_once('/').map_or("", |(charts, _)| charts);
            let wrong = |why: String| EngineError::Archive { file: path.clone(), why };
            unpack(charts, &archive, &mut files, &mut room).map_err(wrong)?;
        }
    }
    let file = files.keys().find(|path| is_packed(directory, path)).cloned().unwrap_or_default();
    Err(EngineError::Archive { file, why: format!("it lies in more than {DEEPEST} other ones") })
}

/// Whether a file is an archive where a chart has those that it depends on.
fn is_packed(directory: &str, path: &str) -> bool {
    let inner = path.strip_prefix(directory).map(|inner| inner.trim_start_matches('/'));
    let Some((charts, name)) = inner.and_then(|inner| inner.rsplit_once('/')) else { return false };
    // Helm passes over those that begin so.
    let is_hidden = name.starts_with(['_', '.']);
    name.ends_with(".tgz") && !is_hidden && (charts == "charts" || charts.ends_with("/charts"))
}

fn unpack(charts: &str, archive: &[u8], files: &mut Contents, room: &mut u64) -> Result<(), String> {
    each_file(archive, room, |path, content| {
        let path: Arc<str> = format!("{charts}/{path}").into();
        if files.insert(path.clone(), content.into()).is_some() {
            return Err(format!("{path} is there already; two dependencies in charts/ have one name"));
        }
        if files.len() > MOST_FILES {
            return Err(format!("with what is in it the chart has more than {MOST_FILES} files"));
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use tar::EntryType;

    use super::*;
    use crate::charts::archive::tests::packed;

    fn of(path: &str, archive: Vec<u8>) -> Contents {
        Contents::from([(path.into(), archive.into()), ("c/Chart.yaml".into(), Arc::from(&b""[..]))])
    }

    #[test]
    fn archives_in_archives_are_unpacked_where_they_lie() {
        let inner = packed(&[("inner/Chart.yaml", EntryType::Regular, b"i")]);
        let outer = packed(&[
            ("outer/", EntryType::Directory, b""),
            ("outer/templates/a.yaml", EntryType::Regular, b"a"),
            ("outer/charts/inner-1.tgz", EntryType::Regular, &inner),
        ]);
        let files = unpacked("c", &of("c/charts/outer-1.tgz", outer.clone())).expect("it is whole");
        let paths: Vec<&str> = files.keys().map(|path| &**path).collect();
        let expected =
            ["c/Chart.yaml", "c/charts/outer/charts/inner/Chart.yaml", "c/charts/outer/templates/a.yaml"];
        assert_eq!(paths, expected);
        let elsewhere = of("c/files/outer-1.tgz", outer);
        assert_eq!(unpacked("c", &elsewhere).expect("it is a file"), elsewhere);
    }

    #[test]
    fn what_leaves_an_archive_or_fills_memory_is_refused() {
        let bomb = vec![0; usize::try_from(MOST_BYTES).expect("it fits") + 1];
        let mut nested = packed(&[("x/Chart.yaml", EntryType::Regular, b"")]);
        for _ in 0..DEEPEST {
            nested = packed(&[("x/charts/x.tgz", EntryType::Regular, &nested)]);
        }
        let rows: [(Vec<u8>, &str); 7] = [
            (packed(&[("../x", EntryType::Regular, b"")]), "../x in it leaves it"),
            (packed(&[("/etc/x", EntryType::Regular, b"")]), "/etc/x in it leaves it"),
            (packed(&[("x/link", EntryType::Symlink, b"")]), "x/link in it is no file"),
            (packed(&[("x/pipe", EntryType::Fifo, b"")]), "x/pipe in it is no file"),
            (packed(&[("x/zeros", EntryType::Regular, &bomb)]), "it is too large, unpacked"),
            (nested, "it lies in more than 5 other ones"),
            (b"no archive".to_vec(), "it cannot be unpacked"),
        ];
        for (archive, expected) in rows {
            let told = unpacked("c", &of("c/charts/x.tgz", archive)).expect_err(expected).to_string();
            assert!(told.contains(expected), "{told}");
        }
    }
}
