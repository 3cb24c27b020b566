//! Blob: the id that Git gives content.
//!
//! In: bytes. Out: their id. Never: stores anything.

use nave_placement::catalog::{BlobId, CommitId};

/// The id of a file with this content, in a repository that has such a commit; `None` where no hash has ids of that length.
pub fn blob_id(content: &[u8], commit: &CommitId) -> Option<BlobId> {
    let kinds = [gix::hash::Kind::Sha1, gix::hash::Kind::Sha256];
    let kind = kinds.into_iter().find(|kind| kind.len_in_hex() == commit.0.len())?;
    let id = gix::objs::compute_hash(kind, gix::objs::Kind::Blob, content).ok()?;
    Some(BlobId(id.to_string().into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_one_that_git_hash_object_prints() {
        let rows = [
            (40, "ce013625030ba8dba906f756967f9e9ca394464a"),
            (64, "2cf8d83d9ee29543b34a87727421fdecb7e3f3a183d337639025de576db9ebb4"),
        ];
        for (digits, expected) in rows {
            let commit = CommitId("0".repeat(digits).into());
            assert_eq!(blob_id(b"hello\n", &commit), Some(BlobId(expected.into())));
        }
        assert_eq!(blob_id(b"", &CommitId("1234".into())), None);
    }
}
