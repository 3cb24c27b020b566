//! elsewhere: what servers of charts and their archives did. In: nothing. Out: rows.
//! Never: names an advisory that was not published.

use super::{Hostile::*, Outcome::*, Row, row};
use crate::hostile::archives;

pub fn rows() -> Vec<Row> {
    vec![
        row(
            "archive-up",
            "GHSA-xrxm-mvqm-r553, Helm",
            "A chart's archive unpacked files outside of its directory.",
            Archive(archives::climbs),
            Told("leaves it"),
        ),
        row(
            "archive-absolute",
            "GHSA-qq3j-xp49-j73f, Helm",
            "An archive unpacked files by their paths on the machine.",
            Archive(archives::absolute),
            Told("leaves it"),
        ),
        row(
            "archive-link",
            "CVE-2025-53547, Helm",
            "The lock file of a packed chart was a link to a file that gets run.",
            Archive(archives::linked),
            Told("is no file"),
        ),
        row(
            "archive-swollen",
            "CVE-2025-32386, Helm",
            "A chart was eight hundred times as large once it was unpacked.",
            Archive(archives::swollen),
            Told("too large"),
        ),
        row(
            "archive-countless",
            "CVE-2023-40584, Argo CD",
            "An archive was unpacked whatever was in it.",
            Archive(archives::countless),
            Told("files"),
        ),
        row(
            "named-up",
            "CVE-2024-25620, Helm",
            "A chart's name led out of the directory it was saved to.",
            Archive(archives::named_up),
            Told("helm"),
        ),
        row(
            "named-dots",
            "CVE-2026-35206, Helm",
            "A chart named .. was unpacked over what lay beside it.",
            Archive(archives::named_dots),
            Told("helm"),
        ),
        row(
            "index-coloured",
            "GHSA-c38g-469g-cmgx, Helm",
            "Versions in an index were written to the terminal as they were.",
            Index("entries: {{app}: [{version: \"1.0.0\\e[2J\", urls: [a.tgz]}]}\n"),
            Told("version"),
        ),
        row(
            "index-bad",
            "GHSA-53c4-hhmh-vw5q, Helm",
            "An index with something else than is expected ended the program.",
            Index("entries: {{app}: [null, {version: [1], urls: {a: b}}]}\n"),
            Told("index.yaml"),
        ),
        row(
            "index-bomb",
            "CVE-2019-11253, Kubernetes",
            "References within a small document made it large: in an index.",
            Index("entries: {bomb}\n"),
            Told("index.yaml"),
        ),
        row(
            "index-endless",
            "GHSA-jhwx-mhww-rgc3, Argo CD",
            "A registry that went on sending used up the memory.",
            Endless,
            Told("gives more than"),
        ),
        row(
            "index-elsewhere",
            "CVE-2021-32690, Helm",
            "An index that named another host had the password sent there.",
            Index("entries: {{app}: [{version: 1.0.0, urls: ['{other}/{app}/a.tgz']}]}\n"),
            Harmless,
        ),
        row(
            "index-metadata",
            "CVE-2019-14435, Rancher",
            "The server asked an address that only it reaches: named by an index.",
            Index("entries: {{app}: [{version: 1.0.0, urls: ['https://169.254.169.254/a.tgz']}]}\n"),
            Told("link-local"),
        ),
        row(
            "index-file",
            "CVE-2023-40026, Argo CD",
            "A chart came from a path of the server: named by an index.",
            Index("entries: {{app}: [{version: 1.0.0, urls: ['file://{outside}/chart']}]}\n"),
            Told("not encrypted"),
        ),
        row(
            "redirect-metadata",
            "GHSA-j94x-8wcp-x7hm, Kargo",
            "A redirect led to where a cloud keeps a machine's credentials.",
            Redirect("https://169.254.169.254/latest"),
            Told("link-local"),
        ),
        row(
            "redirect-file",
            "CVE-2022-24731, Argo CD",
            "A file of the server was read: by a redirect.",
            Redirect("file://{outside}/secret.yaml"),
            Told("not encrypted"),
        ),
        row(
            "password",
            "GHSA-hx4v-cxpf-vh8m, Fleet",
            "A password for charts was sent to whatever host a file in Git named.",
            Files("{helm: {repository: '{other}/password', chart: {app}, version: 1.0.0}}", &[]),
            Told("there is nothing at"),
        ),
    ]
}
