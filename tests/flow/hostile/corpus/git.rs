//! git: what Git repositories and their URLs did. In: nothing. Out: rows.
//! Never: names an advisory that was not published.

use super::{Hostile::*, Outcome::*, Row, row};
use crate::hostile::objects;

pub fn rows() -> Vec<Row> {
    vec![
        row(
            "dots",
            "CVE-2024-35186, gix",
            "A tree named .. put files above the work tree.",
            Tree(objects::climbs),
            Told("which Git does not allow"),
        ),
        row(
            "slashes",
            "CVE-2023-49569, go-git",
            "A server's reply made files anywhere through the names in it.",
            Tree(objects::slashes),
            Told("which Git does not allow"),
        ),
        row(
            "dot-git",
            "CVE-2026-45571, go-git",
            "A tree named .git wrote hooks into the repository's own directory.",
            Tree(objects::dot_git),
            Harmless,
        ),
        row(
            "folded",
            "CVE-2014-9390, Git",
            "Names that a file system takes for .git were not taken for it.",
            Tree(objects::folded),
            Harmless,
        ),
        row(
            "twice",
            "CVE-2026-44471, gix",
            "A link and a directory of one name led a checkout out of the work tree.",
            Tree(objects::twice),
            Told("is a symbolic link"),
        ),
        row(
            "linked",
            "CVE-2022-24904, Argo CD",
            "A link in a directory of manifests showed any file of the server.",
            Tree(objects::linked),
            Told("is a symbolic link"),
        ),
        row(
            "coloured",
            "CVE-2024-43785, gitoxide",
            "Control characters of paths reached the terminal and made messages up.",
            Tree(objects::coloured),
            Told("is a symbolic link"),
        ),
        row(
            "module-up",
            "CVE-2018-11235, Git",
            "A submodule's name led its repository, and hooks, out of its place.",
            Tree(objects::module_up),
            Harmless,
        ),
        row(
            "module-further-up",
            "CVE-2026-82253, gix",
            "A submodule's name was checked for its first .. alone.",
            Tree(objects::module_further_up),
            Harmless,
        ),
        row(
            "module-ssh",
            "CVE-2017-1000117, Git",
            "A submodule's URL was an option of ssh, which ran a program.",
            Tree(objects::module_ssh),
            Harmless,
        ),
        row(
            "countless",
            "CVE-2023-49568, go-git",
            "What a server sent used up the memory of whoever fetched it.",
            Tree(objects::countless),
            Told("has more than"),
        ),
        row(
            "swollen",
            "CVE-2025-21614, go-git",
            "Small replies of a server became large at whoever fetched them.",
            Tree(objects::swollen),
            Told("are allowed"),
        ),
        row(
            "ssh-host",
            "GHSA-rrjw-j4m2-mf34, gix",
            "The host of an SSH URL was an option of ssh.",
            Files("{git: {url: 'ssh://-oProxyCommand=touch%20{outside}%2Fowned/shop', path: m}}", &[]),
            Told("is no host"),
        ),
        row(
            "ssh-user",
            "CVE-2024-32884, gix",
            "The user of an SSH URL was an option of ssh.",
            Files("{git: {url: 'ssh://-Fowned@127.0.0.1/shop', path: m}}", &[]),
            Told("is no user"),
        ),
        row(
            "option",
            "CVE-2025-21613, go-git",
            "A URL was an option of git-upload-pack.",
            Files("{git: {url: '--upload-pack={outside}/owned', path: m}}", &[]),
            Told("it is no URL"),
        ),
        row(
            "helper",
            "GHSA-3rvg-chjx-7h2j, Git",
            "A URL named a helper that runs any program.",
            Files("{git: {url: 'ext::touch%20{outside}/owned', path: m}}", &[]),
            Told("it is no URL"),
        ),
        row(
            "git-metadata",
            "GHSA-j94x-8wcp-x7hm, Kargo",
            "A URL led to where a cloud keeps a machine's credentials.",
            Files("{git: {url: 'http://169.254.169.254/latest', path: m}}", &[]),
            Told("link-local"),
        ),
        row(
            "git-redirect",
            "CVE-2019-14435, Rancher",
            "A request that the server made for a user went to where only the server gets.",
            GitAnswers(Some("http://169.254.169.254/latest/info/refs")),
            Told("not encrypted"),
        ),
        row(
            "git-redirect-encrypted",
            "GHSA-j94x-8wcp-x7hm, Kargo",
            "A redirect led to where a cloud keeps a machine's credentials: as Git's own redirects look.",
            GitAnswers(Some("https://169.254.169.254/{app}/info/refs?service=git-upload-pack")),
            Told("link-local"),
        ),
        row(
            "git-endless",
            "CVE-2023-49568, go-git",
            "A server's answer did not end.",
            GitAnswers(None),
            Told("there is no Git repository at"),
        ),
    ]
}
