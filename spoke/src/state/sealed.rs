//! Sealed files: whole, durable, and checked on reading.
//!
//! In: bytes. Out: the same bytes, or the news that they are damaged. Never: leaves half a file under its name, takes
//! damaged bytes for good ones, or a damaged file for a missing one.
//!
//! A sealed file begins with the SHA-256 of the rest in hex and a newline; what follows is the content as it is.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use nave_placement::Digest;

use super::keep::Found;

/// 64 hex digits and a newline.
const SEAL: usize = 65;

/// Stores bytes with their seal.
pub fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut sealed = Vec::with_capacity(SEAL + bytes.len());
    sealed.extend_from_slice(Digest::of(bytes).to_string().as_bytes());
    sealed.push(b'\n');
    sealed.extend_from_slice(bytes);
    replace(path, &sealed)
}

/// Reads what [`write`] stored.
pub fn read(path: &Path) -> io::Result<Found> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Missing),
        Err(error) => return Err(error),
    };
    let Some((seal, content)) = bytes.split_at_checked(SEAL) else { return Ok(Found::Damaged) };
    let whole = seal.ends_with(b"\n") && *seal == *format!("{}\n", Digest::of(content)).as_bytes();
    Ok(if whole { Found::Whole(content.to_vec()) } else { Found::Damaged })
}

/// Puts bytes under a name in one step: written aside, made durable, renamed, and the directory made durable too. For the
/// owner alone, because a key may be among them.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut aside = path.as_os_str().to_owned();
    aside.push(".new");
    let aside = Path::new(&aside);
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(aside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(aside, path)?;
    sync_directory_of(path)
}

/// Removes a file durably; one that is not there is removed already.
pub fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Ok(()) => sync_directory_of(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

fn sync_directory_of(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |dir| File::open(dir)?.sync_all())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_was_cut_or_changed_is_damaged_and_never_missing() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("f");
        assert_eq!(read(&path).expect("readable"), Found::Missing);
        write(&path, b"content").expect("written");
        assert_eq!(read(&path).expect("readable"), Found::Whole(b"content".to_vec()));
        let whole = fs::read(&path).expect("readable");
        for cut in 0..whole.len() {
            fs::write(&path, &whole[..cut]).expect("written");
            assert_eq!(read(&path).expect("readable"), Found::Damaged, "cut at {cut}");
        }
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            fs::write(&path, &changed).expect("written");
            assert_eq!(read(&path).expect("readable"), Found::Damaged, "changed at {at}");
        }
    }

    #[test]
    fn what_a_killed_write_left_aside_disturbs_nobody() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("f");
        write(&path, b"old").expect("written");
        fs::write(dir.path().join("f.new"), b"half of a new f").expect("written");
        assert_eq!(read(&path).expect("readable"), Found::Whole(b"old".to_vec()));
        write(&path, b"new").expect("written");
        assert_eq!(read(&path).expect("readable"), Found::Whole(b"new".to_vec()));
    }
}
