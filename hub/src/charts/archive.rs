//! Archives: a chart as `helm package` packs it.
//!
//! In: a gzipped tar. Out: its files. Never: takes more out of an archive than there is room for, a link, or a path that leaves it.

use std::io::Read;
use std::path::{Component, Path};

use flate2::read::GzDecoder;
use nave_placement::render::Contents;
use tar::{Archive, EntryType};

/// Most bytes that a chart with all that is packed in it holds, unpacked: as many as a source may have.
pub(crate) const MOST_BYTES: u64 = 64 << 20;
/// Most files, likewise.
pub(crate) const MOST_FILES: usize = 10_000;

/// The files of a chart, by path below its own directory, which is the only one on top of the archive.
pub(super) fn chart(archive: &[u8]) -> Result<Contents, String> {
    let mut files = Contents::new();
    let mut top: Option<String> = None;
    let mut room = MOST_BYTES;
    each_file(archive, &mut room, |path, content| {
        let (directory, inner) =
            path.split_once('/').ok_or_else(|| format!("{path} in it lies in no directory"))?;
        if *top.get_or_insert_with(|| directory.to_owned()) != directory {
            return Err(format!("{path} in it lies beside the chart's directory"));
        }
        if files.insert(inner.into(), content.into()).is_some() {
            return Err(format!("{path} is in it twice"));
        }
        if files.len() > MOST_FILES {
            return Err(format!("it has more than {MOST_FILES} files"));
        }
        Ok(())
    })?;
    match files.contains_key("Chart.yaml") {
        true => Ok(files),
        false => Err("it has no Chart.yaml in its directory, so it is no chart".into()),
    }
}

/// Gives each file of an archive to `take`; of its bytes there is so much room.
pub(crate) fn each_file(
    archive: &[u8],
    room: &mut u64,
    mut take: impl FnMut(String, Vec<u8>) -> Result<(), String>,
) -> Result<(), String> {
    let unread = |error: std::io::Error| format!("it cannot be unpacked: {error}");
    // One byte more than there is room for shows that there is none.
    let mut archive = Archive::new(GzDecoder::new(archive).take(*room + 1));
    for entry in archive.entries().map_err(unread)? {
        let entry = entry.map_err(unread)?;
        let kind = entry.header().entry_type();
        let path = entry.path().map_err(unread)?.into_owned();
        match kind {
            EntryType::Regular => {}
            EntryType::Directory | EntryType::XGlobalHeader => continue,
            _ => return Err(format!("{} in it is no file", path.display())),
        }
        let path = inside(&path).ok_or_else(|| format!("{} in it leaves it", path.display()))?;
        let size = entry.size();
        *room = room.checked_sub(size).ok_or("it is too large, unpacked")?;
        let mut content = Vec::new();
        entry.take(size).read_to_end(&mut content).map_err(unread)?;
        take(path, content)?;
    }
    Ok(())
}

/// A path that stays below where it is put, written in the one way in which nothing is said twice.
fn inside(path: &Path) -> Option<String> {
    // As `tar` writes what it is given as `./NAME`.
    let parts = path.components().filter(|part| *part != Component::CurDir);
    let names = parts.map(|part| match part {
        Component::Normal(name) => name.to_str(),
        _ => None,
    });
    let names: Vec<&str> = names.collect::<Option<_>>()?;
    Some(names.join("/")).filter(|path| !path.is_empty())
}

#[cfg(test)]
pub(crate) mod tests {
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use tar::{Builder, Header};

    use super::*;

    /// An archive of files as somebody with bad intent would write it.
    pub(crate) fn packed(files: &[(&str, EntryType, &[u8])]) -> Vec<u8> {
        let mut builder = Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
        for (path, kind, content) in files {
            let mut header = Header::new_gnu();
            header.set_entry_type(*kind);
            header.set_size(content.len() as u64);
            // The library refuses such paths.
            header.as_gnu_mut().expect("it is one").name[..path.len()].copy_from_slice(path.as_bytes());
            header.set_cksum();
            builder.append(&header, *content).expect("it is written");
        }
        builder.into_inner().and_then(GzEncoder::finish).expect("it is written")
    }

    #[test]
    fn a_chart_is_what_lies_in_the_one_directory_of_its_archive() {
        let archive = packed(&[
            ("web/", EntryType::Directory, b""),
            ("web/Chart.yaml", EntryType::Regular, b"name: web"),
            ("./web/templates/a.yaml", EntryType::Regular, b"a"),
        ]);
        let files = chart(&archive).expect("it is a chart");
        let paths: Vec<&str> = files.keys().map(|path| &**path).collect();
        assert_eq!(paths, ["Chart.yaml", "templates/a.yaml"]);
        assert_eq!(&*files["Chart.yaml"], b"name: web");
    }

    #[test]
    fn what_is_no_chart_is_refused() {
        let file = EntryType::Regular;
        let rows: [(Vec<u8>, &str); 8] = [
            (packed(&[("web/Chart.yaml", file, b""), ("../x", file, b"")]), "../x in it leaves it"),
            (packed(&[("web/link", EntryType::Symlink, b"")]), "web/link in it is no file"),
            (packed(&[("web/hard", EntryType::Link, b"")]), "web/hard in it is no file"),
            (packed(&[("web/Chart.yaml", file, b""), ("x/y", file, b"")]), "beside the chart's directory"),
            (packed(&[("Chart.yaml", file, b"")]), "lies in no directory"),
            (packed(&[("web/a", file, b""), ("web/./a", file, b"")]), "is in it twice"),
            (packed(&[("web/values.yaml", file, b"")]), "no Chart.yaml"),
            (b"no archive".to_vec(), "it cannot be unpacked"),
        ];
        for (archive, expected) in rows {
            let told = chart(&archive).expect_err(expected);
            assert!(told.contains(expected), "{told}");
        }
    }
}
