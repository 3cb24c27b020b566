//! tokens: where registries had their clients ask for tokens, and what they got. In: nothing. Out: rows.
//! Never: names an advisory that was not published.

use super::{Hostile::Challenge, Outcome::*, Row, Token::*, row};

pub fn rows() -> Vec<Row> {
    vec![
        row(
            "token-metadata-in-clear",
            "GHSA-xf85-363p-868w, oras-go",
            "A registry had its clients ask for a token where a cloud keeps a machine's credentials.",
            Challenge("Bearer realm=\"http://169.254.169.254/latest/meta-data\",service=\"r\"", Nowhere),
            Told("is not encrypted"),
        ),
        row(
            "token-metadata",
            "CVE-2026-12566, BBOT",
            "A registry had the server ask an address that only it reaches for a token.",
            Challenge("Bearer realm=\"https://169.254.169.254/token\",service=\"r\"", Nowhere),
            Told("link-local"),
        ),
        row(
            "token-metadata-hidden",
            "CVE-2026-44430, MCP Registry",
            "An address was refused as it is usually written, and asked as it is written otherwise.",
            Challenge("Bearer realm=\"https:/\t/0xa9fe\ta9fe/token\",service=\"r\"", Nowhere),
            Told("link-local"),
        ),
        row(
            "token-file",
            "CVE-2022-24731, Argo CD",
            "A file of the server was read: for a token.",
            Challenge("Bearer realm=\"file://{outside}/secret.json\",service=\"r\"", Nowhere),
            Told("is not encrypted"),
        ),
        row(
            "token-in-clear",
            "CVE-2026-48978, oras-go",
            "A registry had its clients show their password for a token in clear.",
            Challenge("Bearer realm=\"http://{other-host}/{app}/token\",service=\"r\"", Nowhere),
            Told("is not encrypted"),
        ),
        row(
            "token-elsewhere",
            "CVE-2020-15157, containerd",
            "A registry named another host for its tokens, which got the password.",
            Challenge("Bearer realm=\"{other}/{app}/token\",service=\"r\"", Nowhere),
            Told("refuses access"),
        ),
        row(
            "token-by-user",
            "CVE-2024-47081, Requests",
            "A user in a URL had the password of another host sent: for a token.",
            Challenge("Bearer realm=\"https://me:x@{other-host}/{app}/token\",service=\"r\"", Nowhere),
            Told("holds a user or password"),
        ),
        row(
            "token-split",
            "CVE-2019-9740, Python",
            "Line ends in a URL made a request say more than was meant: in realm and service.",
            Challenge(
                "Bearer realm=\"{other}/{app}/token%0d%0aX-Owned:%20me?scope=registry:catalog:*\",service=\"r\\\"&scope=repository:x:push#\\r\\n\",scope=\"a\\\"b\"",
                Nowhere,
            ),
            Told("there is nothing at"),
        ),
        row(
            "token-unfinished",
            "RFC 9110, 11.2",
            "A text in quotes may hold quotes, and may not end: whoever cuts at quotes takes another place.",
            Challenge("Bearer realm=\"/../../\\\"{outside}/secret.json", Nowhere),
            Told("which is no URL"),
        ),
        row(
            "token-endless",
            "GHSA-jhwx-mhww-rgc3, Argo CD",
            "A registry that went on sending used up the memory: with a token.",
            Challenge("Bearer realm=\"{charts}/{app}/token\",service=\"r\"", Endless),
            Told("gives more than"),
        ),
        row(
            "token-none",
            "GHSA-53c4-hhmh-vw5q, Helm",
            "An answer with something else than is expected ended the program, or was shown: for a token.",
            Challenge(
                "Bearer realm=\"{charts}/{app}/token\",service=\"r\"",
                Says("\u{1b}[2J<html>no token</html>"),
            ),
            Told("it gives no token"),
        ),
        row(
            "token-with-lines",
            "CVE-2019-9740, Python",
            "Line ends made a request say more than was meant: in a token.",
            Challenge(
                "Bearer realm=\"{charts}/{app}/token\",service=\"r\"",
                Says("{\"token\": \"x\\r\\nX-Owned: me\"}"),
            ),
            Told("its token cannot be sent"),
        ),
        row(
            "token-leads",
            "GHSA-vh4v-2xq2-g5cg, oras-go",
            "A redirect took the password to another host.",
            Challenge("Bearer realm=\"{charts}/{app}/token\",service=\"r\"", Leads("{other}/{app}/token")),
            Told("refuses access"),
        ),
        row(
            "token-leads-to-metadata",
            "GHSA-j94x-8wcp-x7hm, Kargo",
            "A redirect led to where a cloud keeps a machine's credentials: for a token.",
            Challenge(
                "Bearer realm=\"{charts}/{app}/token\",service=\"r\"",
                Leads("https://169.254.169.254/latest"),
            ),
            Told("link-local"),
        ),
    ]
}
