//! packs: what Git servers sent for objects. In: nothing. Out: rows.
//! Never: names an advisory that was not published.

use super::{Hostile::*, Outcome::*, Row, row};
use crate::hostile::packs;

pub fn rows() -> Vec<Row> {
    vec![
        row(
            "pack-deep",
            "gitformat-pack, Git",
            "Deltas upon deltas, more than Git makes: whoever counts or descends them runs out.",
            Pack(packs::deep),
            Told("a chain of more than 4095 deltas"),
        ),
        row(
            "pack-long",
            "gitformat-pack, Git",
            "As many deltas upon each other as Git makes at most.",
            Pack(packs::long),
            Harmless,
        ),
        row(
            "pack-long-by-id",
            "gitformat-pack, Git",
            "Deltas upon each other that name each other by ids.",
            Pack(packs::long_by_id),
            Harmless,
        ),
        row(
            "pack-bomb",
            "CVE-2025-21614, go-git",
            "Small replies of a server became large at whoever fetched them: by deltas of deltas.",
            Pack(packs::bomb),
            Told("more than 1 GiB to unpack"),
        ),
        row(
            "pack-gigantic",
            "CVE-2018-10887, libgit2",
            "Numbers in a delta went beyond those that the program reckoned with: its size.",
            Pack(packs::gigantic),
            Told("more than 1 GiB to unpack"),
        ),
        row(
            "pack-beyond",
            "CVE-2018-10888, libgit2",
            "A delta had the program read behind what it was of.",
            Pack(packs::beyond),
            Told("could not be fetched"),
        ),
        row(
            "pack-missing",
            "CVE-2023-49568, go-git",
            "A server's reply was taken for whole: a delta is of what is not there.",
            Pack(packs::missing),
            Told("could not be fetched"),
        ),
        row(
            "pack-circle",
            "gitformat-pack, Git",
            "Deltas of each other: whoever follows them does so for ever.",
            Pack(packs::circle),
            Told("could not be fetched"),
        ),
        row(
            "pack-itself",
            "gitformat-pack, Git",
            "A delta of itself: whoever follows it does so for ever.",
            Pack(packs::itself),
            Told("could not be fetched"),
        ),
        row(
            "pack-endless",
            "CVE-2023-49568, go-git",
            "What a server sent used up the memory: objects, as many as can be counted.",
            Pack(packs::endless),
            Told("more than 2 000 000 objects"),
        ),
        row(
            "pack-hollow",
            "CVE-2023-49568, go-git",
            "What a server sent used up the memory: an object in blocks of nothing.",
            Pack(packs::hollow),
            Told("larger than it says"),
        ),
        row(
            "pack-goes-on",
            "GHSA-jhwx-mhww-rgc3, Argo CD",
            "A server that went on sending was listened to for ever: behind the end of a pack, which is taken.",
            Pack(packs::goes_on),
            Harmless,
        ),
        row(
            "pack-talks",
            "GHSA-jhwx-mhww-rgc3, Argo CD",
            "A server that went on sending was listened to for ever: messages before a pack.",
            Pack(packs::talks),
            Told("references or messages"),
        ),
        row(
            "references-endless",
            "CVE-2023-49568, go-git",
            "What a server sent used up the memory: branches.",
            Pack(packs::references),
            Told("references or messages"),
        ),
    ]
}
