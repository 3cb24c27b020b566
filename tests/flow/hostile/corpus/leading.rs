//! leading: where Git servers led whoever had a password for them. In: nothing. Out: rows.
//! Never: names an advisory that was not published.

use super::{Hostile::*, Outcome::*, Row, row};

pub fn rows() -> Vec<Row> {
    vec![
        row(
            "lead-elsewhere",
            "CVE-2018-1000007, curl",
            "A password went along to the host that a redirect named.",
            Leads(302, "{other}/{app}/info/refs?service=git-upload-pack"),
            Told("refuses access"),
        ),
        row(
            "lead-for-good",
            "CVE-2022-27776, curl",
            "A password went along to another port of the same host.",
            Leads(301, "{other}/{app}/info/refs?service=git-upload-pack"),
            Told("refuses access"),
        ),
        row(
            "lead-in-clear",
            "CVE-2018-18074, Requests",
            "A password went along from https to http.",
            Leads(307, "http://{other-host}/{app}/info/refs?service=git-upload-pack"),
            Told("not encrypted"),
        ),
        row(
            "lead-by-user",
            "CVE-2024-47081, Requests",
            "A user in a URL had the password of another host sent: in a redirect.",
            Leads(302, "https://me@{other-host}/{app}/info/refs?service=git-upload-pack"),
            Told("holds a user or password"),
        ),
        row(
            "lead-to-metadata",
            "CVE-2019-14435, Rancher",
            "A request that the server made for a user went to where only the server gets.",
            Leads(302, "https://169.254.169.254/{app}/info/refs?service=git-upload-pack"),
            Told("link-local"),
        ),
        row(
            "lead-to-file",
            "CVE-2022-24731, Argo CD",
            "A file of the server was read: by a redirect of Git.",
            Leads(302, "file://{outside}/secret.yaml"),
            Told("not encrypted"),
        ),
        row(
            "lead-in-a-circle",
            "RFC 9110, 15.4",
            "A client has to see that it is redirected in circles.",
            Leads(302, "{charts}/{app}/info/refs?service=git-upload-pack"),
            Told("more than five redirects"),
        ),
        row(
            "lead-late",
            "GHSA-jxpm-75mh-9fp7, oras-go",
            "The place for the second request was named by the answer to the first, and got the login.",
            LeadsLate(307, "{other}/{app}/git-upload-pack"),
            Told("there is no Git repository at"),
        ),
        row(
            "lead-late-in-clear",
            "CVE-2018-18074, Requests",
            "A password went along from https to http: with the second request.",
            LeadsLate(308, "http://{other-host}/{app}/git-upload-pack"),
            Told("there is no Git repository at"),
        ),
    ]
}
