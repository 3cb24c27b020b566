//! Charts of Helm repositories.

use std::collections::BTreeSet;

use harness::charts::{Answer, ChartServer, Wants};
use nave_hub::charts::{ChartError, Pinned};
use nave_placement::Digest;

use crate::charts::given::{Given, HELMS, chart, paths, said};

fn targets(server: &ChartServer) -> Vec<String> {
    server.asked().into_iter().map(|asked| asked.target).collect()
}

#[tokio::test]
async fn the_version_that_is_meant_is_brought_once_and_its_files_are_those_that_were_packed() {
    for helm in HELMS {
        let given = Given::new();
        let server = given.server().await;
        given.packed(helm, "api", &["9.0.0"]).await;
        given.packed(helm, "web", &["1.2.0", "1.10.0", "1.9.0", "2.0.0-rc.1", "1.3.0+b1"]).await;
        given.indexed(helm, &server, "/stable", None).await;
        let charts = given.charts_of(&server);
        let named = |version| chart(server.url("/stable/"), "web", version);
        let rows = [
            ("", "1.10.0"),
            ("*", "1.10.0"),
            ("1.2.0", "1.2.0"),
            ("v1.2.0", "1.2.0"),
            ("^1.2 <1.10", "1.9.0"),
            ("~1.3", "1.3.0+b1"),
            (">=1.0.0-0", "2.0.0-rc.1"),
            ("2.0.0-rc.1", "2.0.0-rc.1"),
            ("2", "web of https://"),
        ];
        for (version, expected) in rows {
            let found = said(charts.resolve(&named(version)).await);
            assert!(found.starts_with(expected), "{helm} {version:?}: {found}");
        }
        let told = said(charts.resolve(&named("2")).await);
        assert!(told.contains("has no version 2; it has 2.0.0-rc.1, 1.10.0, 1.9.0"), "{told}");

        targets(&server);
        let pinned = charts.resolve(&named("")).await.expect("it is there");
        assert_eq!(targets(&server), ["/stable/index.yaml"], "what is here already is not brought again");
        let archive = std::fs::read(given.path("packed/web-1.10.0.tgz")).expect("it was packed");
        assert_eq!(pinned.digest, Digest::of(&archive));
        let files = charts.files(&named(""), &pinned).await.expect("it is a chart");
        assert_eq!(paths(&files), ["Chart.yaml", "templates/a.yaml", "values.yaml"]);
        assert_eq!(&*files["templates/a.yaml"], b"kind: ConfigMap\n");
        assert_eq!(targets(&server), [""; 0], "nobody is asked for what is here");
    }
}

/// One after the other, separated by `;`.
const VERSIONS: &str = "0.0.3;0.0.4;0.2.3;0.2.9;0.3.0;1.0.0;1.2.0;1.2.9;1.3.0-rc.1;1.3.0;1.10.1;2.0.0-rc.1;2.0.0+b;2.3.9;2.4.0;3.0.0-0";
const RANGES: &str = ";*;1;1.2;1.2.x;1.X;v1.2.0;=1.2.0;1.2.7;^1.2;^1.2.9-0;^0.2.3;^0.2;^0.0.3;^0.0;^0;~1.2.0;~1.2;~1;~> 0.2;>1.2;>1;>1.2.0;>=1.2 <2;\
    >= 1.2, < 2;<1.2;<=1.2;<=1;<=1.2.0;=>1.2,=<2;!=2.4.0;>=1 !=2.x;!=2.4.x;1.2 - 2.3;1.2.0 - 2.3.9;^0.2 || ^1.2;^4 || ~0.2;2.0.0-rc.1;\
    <2.0.0-z >=1.3.0-0;>=2.4.0-0;2.0.0;^4;~1.3.0-rc.1 <1.3.0";
/// Helm 3 lets a pre-release pass where any bound is of `!=`, and none where not all bounds name one; Helm 4 is followed.
const OF_HELM_3: [&str; 2] = ["!=2.4.0", "~1.3.0-rc.1 <1.3.0"];

#[tokio::test]
async fn a_range_means_what_helm_takes_it_for() {
    let given = Given::new();
    let plain = ChartServer::start_in_clear().await;
    given.packed("helm", "web", &VERSIONS.split(';').collect::<Vec<_>>()).await;
    given.indexed("helm", &plain, "", None).await;
    // Helm 3 takes a directory of that name for the chart.
    std::fs::remove_dir_all(given.path("web")).expect("it was made");
    let charts = given.charts(Vec::new());
    let version =
        |text: String| Some(text.lines().find_map(|line| line.strip_prefix("version: "))?.to_owned());
    let mut differing = Vec::new();
    for range in RANGES.split(';') {
        let ours = charts.resolve(&chart(plain.url(""), "web", range)).await.map(|pinned| pinned.version);
        for helm in HELMS {
            let arguments = ["show", "chart", "web", "--repo", &plain.url(""), "--version", range];
            let theirs = given.told_by(helm, &arguments).await.ok().and_then(version);
            if ours.as_ref().ok() != theirs.as_ref() {
                differing.push((helm, range));
            }
        }
    }
    assert_eq!(differing, OF_HELM_3.map(|range| ("helm3", range)));
}

#[tokio::test]
async fn archives_that_nobody_names_go_and_come_back_when_they_are_needed_if_they_are_the_same() {
    let given = Given::new();
    let server = given.server().await;
    given.packed("helm", "web", &["1.0.0", "2.0.0"]).await;
    given.indexed("helm", &server, "", None).await;
    let charts = given.charts_of(&server);
    let named = chart(server.url(""), "web", "*");
    let old = charts.resolve(&chart(server.url(""), "web", "1.0.0")).await.expect("it is there");
    let new = charts.resolve(&named).await.expect("it is there");
    let kept = || {
        let entries = std::fs::read_dir(given.path("room")).expect("it is there").flatten();
        entries.map(|entry| entry.file_name().into_string().expect("a name")).collect::<BTreeSet<String>>()
    };
    let index = Digest::of(&std::fs::read(given.path("packed/index.yaml")).expect("it was made"));
    let names = |digests: &[Digest]| digests.iter().map(Digest::to_string).collect::<BTreeSet<String>>();
    charts.keep(&BTreeSet::new()).await;
    let all = names(&[old.digest, new.digest, index]);
    assert_eq!(kept(), all, "whoever asked for them could not say yet that they are used");
    given.write("room/.new-x", "of a process that was killed");
    let charts = given.charts_of(&server);
    charts.keep(&BTreeSet::from([new.digest])).await;
    assert_eq!(kept(), names(&[new.digest]));

    let files = charts.files(&named, &old).await.expect("it is brought again");
    assert!(std::str::from_utf8(&files["Chart.yaml"]).expect("text").contains("version: 1.0.0"));
    assert_eq!(kept(), all);
    // What was changed on the disk is not taken for what it was.
    given.write(&format!("room/{}", old.digest), "changed");
    assert_eq!(charts.files(&named, &old).await.expect("it is brought again"), files);

    let other = Pinned { digest: Digest::of(b"other"), ..old.clone() };
    let told = charts.files(&named, &other).await.expect_err("it is another archive");
    assert!(matches!(told, ChartError::Changed { .. }), "{told}");
    assert!(told.to_string().contains("version 1.0.0 of web of https://"), "{told}");
}

#[tokio::test]
async fn an_index_that_is_still_the_same_does_not_come_again() {
    let given = Given::new();
    let server = given.server().await;
    given.packed("helm", "web", &["1.0.0"]).await;
    given.indexed("helm", &server, "", None).await;
    let charts = given.charts_of(&server);
    let named = chart(server.url(""), "web", "");
    let marks = || server.asked().into_iter().map(|asked| asked.mark.is_some()).collect::<Vec<bool>>();
    charts.resolve(&named).await.expect("it is there");
    assert_eq!(marks(), [false, false], "the index, the archive");
    assert_eq!(said(charts.resolve(&named).await), "1.0.0");
    assert_eq!(marks(), [true]);
    given.packed("helm", "web", &["2.0.0"]).await;
    given.indexed("helm", &server, "", None).await;
    assert_eq!(said(charts.resolve(&named).await), "2.0.0");
    assert_eq!(marks(), [true, false], "another index, the archive");
    std::fs::remove_dir_all(given.path("room")).expect("it is there");
    assert_eq!(said(charts.resolve(&named).await), "2.0.0");
    assert_eq!(marks(), [false, false], "what is not here is brought");
    // Who asked for it may not have said yet that it is used; whoever starts knows of nobody.
    charts.keep(&BTreeSet::new()).await;
    charts.keep(&BTreeSet::new()).await;
    assert_ne!(std::fs::read_dir(given.path("room")).expect("it is there").count(), 0);
    given.charts_of(&server).keep(&BTreeSet::new()).await;
    assert_eq!(std::fs::read_dir(given.path("room")).expect("it is there").count(), 0);
}

#[tokio::test]
async fn a_version_that_is_written_just_so_comes_before_what_it_would_mean_as_a_range() {
    let given = Given::new();
    let server = given.server().await;
    given.packed("helm", "web", &["1.10.5"]).await;
    let archive = std::fs::read(given.path("packed/web-1.10.5.tgz")).expect("it was packed");
    let entry = |version: &str, url: &str| format!("{{version: '{version}', urls: [{url}]}}");
    let entries = [entry("1.10.5", "new.tgz"), entry("1.10", "old.tgz")].join(", ");
    server.put("/index.yaml", format!("entries: {{web: [{entries}]}}\n"));
    server.put("/old.tgz", archive);
    let charts = given.charts_of(&server);
    let named = chart(server.url(""), "web", "<1.10.1");
    let pinned = charts.resolve(&named).await.expect("it is there");
    assert_eq!(pinned.version, "1.10");
    std::fs::remove_dir_all(given.path("room")).expect("it is there");
    assert!(charts.files(&named, &pinned).await.is_ok(), "what is pinned is brought again");
}

#[tokio::test]
async fn an_index_may_name_archives_elsewhere_each_with_its_own_login() {
    let given = Given::new();
    let (front, back) = (given.server().await, given.server().await);
    given.packed("helm", "web", &["1.0.0"]).await;
    given.indexed("helm", &front, "", Some(&back.url("/archives"))).await;
    given.indexed("helm", &back, "/archives", None).await;
    front.want(Wants::Basic("me", "front"));
    let named = chart(front.url(""), "web", "1.x");
    let trusted = given.access(back.url("/"), None);
    let charts = given.charts(vec![given.access(front.url("/"), Some("front")), trusted]);
    assert_eq!(said(charts.resolve(&named).await), "1.0.0");
    let shown: Vec<Option<String>> = back.asked().into_iter().map(|asked| asked.authorization).collect();
    assert_eq!(shown, [None], "a secret is for its own host");

    back.want(Wants::Basic("me", "back"));
    let own = given.access(back.url("/archives"), Some("back"));
    let charts = given.charts(vec![given.access(front.url("/"), Some("front")), own]);
    std::fs::remove_dir_all(given.path("room")).expect("it is there");
    assert_eq!(said(charts.resolve(&named).await), "1.0.0");
    let wrong = given.charts(vec![given.access(front.url("/"), Some("wrong"))]);
    let told = wrong.resolve(&named).await.expect_err("it may not");
    assert!(matches!(told, ChartError::AuthRefused { .. }), "{told}");
    assert!(!format!("{told} {told:?}").contains("wrong\""), "{told:?}");
}

#[tokio::test]
async fn what_is_wrong_with_a_repository_is_told() {
    let given = Given::new();
    let server = given.server().await;
    given.packed("helm", "web", &["1.0.0"]).await;
    given.indexed("helm", &server, "", None).await;
    let archive = std::fs::read(given.path("packed/web-1.0.0.tgz")).expect("it was packed");
    let entry = |rest: &str| format!("entries: {{web: [{{version: 1.0.0, {rest}}}]}}\n");
    for (path, text) in [
        ("/html/index.yaml", "<html>\n<p>Not: found</p>".to_owned()),
        ("/other/index.yaml", "apiVersion: v1\n".to_owned()),
        ("/empty/index.yaml", "entries: {web: []}\n".to_owned()),
        ("/no-url/index.yaml", entry("urls: []")),
        ("/bad-digest/index.yaml", entry("urls: [/web-1.0.0.tgz], digest: 'md5:1'")),
        ("/wrong-digest/index.yaml", entry(&format!("urls: [/web-1.0.0.tgz], digest: {}", Digest::of(b"x")))),
        ("/no-digest/index.yaml", entry("urls: [/web-1.0.0.tgz]")),
        ("/gone/index.yaml", entry("urls: [web-1.0.0.tgz]")),
        ("/no-chart/index.yaml", entry("urls: [/index.yaml]")),
        ("/endless-archive/index.yaml", entry("urls: [/endless]")),
    ] {
        server.put(path, text);
    }
    server.put("/link/index.yaml", entry("urls: [/link.tgz]"));
    server.put("/link.tgz", with_a_link(&archive));
    server.answer("/endless", Answer::Endless);
    server.answer("/endless/index.yaml", Answer::Endless);
    let charts = given.charts_of(&server);
    let rows = [
        ("/absent", "web", "there is nothing at https://127.0.0.1:"),
        ("", "wep", "has no chart wep; did you mean web?"),
        ("/html", "web", "/html/index.yaml is not what a repository of charts has there"),
        ("/other", "web", "it has no `entries`"),
        ("/empty", "web", "it has none at all"),
        ("/no-url", "web", "version 1.0.0 has no URL"),
        ("/bad-digest", "web", "is no SHA-256"),
        ("/wrong-digest", "web", "is not the one that the repository names"),
        ("/no-digest", "web", "1.0.0"),
        ("/gone", "web", "there is nothing at https://127.0.0.1:"),
        ("/no-chart", "web", "is not taken: it cannot be unpacked"),
        ("/link", "web", "web/link in it is no file"),
        ("/endless", "web", "/endless/index.yaml gives more than 67108864 bytes"),
        ("/endless-archive", "web", "/endless gives more than 67108864 bytes"),
    ];
    for (path, name, expected) in rows {
        let found = said(charts.resolve(&chart(server.url(path), name, "1.0.0")).await);
        assert!(found.contains(expected), "{path}: {found}");
    }
    let strangers = given.charts(Vec::new());
    let told = strangers.resolve(&chart(server.url(""), "web", "")).await.expect_err("nobody vouches for it");
    assert!(matches!(told, ChartError::Untrusted { .. }), "{told:?}");
}

/// The same archive with a symbolic link in it.
fn with_a_link(archive: &[u8]) -> Vec<u8> {
    let directory = tempfile::tempdir().expect("room");
    let path = directory.path().join("a.tgz");
    std::fs::write(&path, archive).expect("it is written");
    let script = "tar xzf a.tgz && ln -s /etc/passwd web/link && tar czf a.tgz web";
    let status = std::process::Command::new("sh").args(["-c", script]).current_dir(directory.path()).status();
    assert!(status.expect("sh is there").success());
    std::fs::read(&path).expect("it is written")
}
