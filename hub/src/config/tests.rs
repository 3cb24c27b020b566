//! What a configuration may say, and what is said of one that is wrong.

use super::*;

const HEAD: &str = "apiVersion: nave.dev/v1alpha1\nkind: HubConfig\n";

fn parsed(rest: &str) -> Result<HubConfig, String> {
    parse(&format!("{HEAD}{rest}"), Path::new("/etc/nave/hub.yaml")).map_err(|wrong| wrong.to_string())
}

#[test]
fn a_whole_configuration_is_read_and_files_are_found_beside_it() {
    let text = "\
events: {offlineAfter: 5m}
sinks:
- name: ops
  events: [Failed, Held]
  apps: [web]
  clusters: ['fra-*']
  caFile: ca.pem
  webhook: {url: 'https://ops.example.com/hook', secretFile: hook.key}
- {name: chat, slack: {urlFile: /run/slack}}
- name: forge
  commitStatus: {provider: GitLab, url: 'https://gitlab.example.com/api/v4', repository: a/b/c, tokenFile: token}
audit: {maxAge: 30d, maxSize: 500Mi}
engines: {helm: bin/helm, kustomize: /opt/kubectl}
";
    let config = parsed(text).expect("it is valid");
    assert_eq!(config.offline_after, Duration::from_secs(300));
    assert_eq!(config.audit, Keep { age_ms: 30 * 24 * 3_600_000, bytes: 500 << 20 });
    let paths = Paths { helm: Some("/etc/nave/bin/helm".into()), kustomize: Some("/opt/kubectl".into()) };
    assert_eq!(config.engines, paths);
    let [ops, chat, forge] = &config.sinks[..] else { panic!("three sinks") };
    assert_eq!(ops.ca_file.as_deref(), Some(Path::new("/etc/nave/ca.pem")));
    assert_eq!(ops.filter.kinds.len(), 2);
    let secret_file = "/etc/nave/hook.key".into();
    assert_eq!(ops.kind, SinkKind::Webhook { url: "https://ops.example.com/hook".into(), secret_file });
    assert_eq!(chat.kind, SinkKind::Slack(SlackUrl::File("/run/slack".into())));
    let SinkKind::CommitStatus { provider, context, .. } = &forge.kind else { panic!("a status") };
    assert_eq!((*provider, context.as_str()), (Provider::GitLab, "nave"));
    assert_eq!(parsed("").expect("it is valid"), HubConfig::default());
}

#[test]
fn further_catalogs_are_documents_of_the_root_at_their_lines() {
    let text = "\
catalogs:
- name: team-a
  git: {url: 'https://git.example.com/team-a/deploy', path: nave}
  grants: [{sets: [shared], namespaces: ['team-a-*']}]
- {name: team-b, git: {url: 'https://git.example.com/b'}, grants: [{sets: [shared]}]}
";
    let found = |text: &str| {
        let configured = parsed(text).expect("it is valid").catalogs.expect("there are two");
        assert_eq!(&*configured.file, "/etc/nave/hub.yaml");
        let parsed = nave_placement::catalog::parse_file(&configured.file, &configured.text);
        let found = parsed.documents.iter().map(|document| {
            let name = document.id.as_ref().map(|id| id.name.to_string());
            (name.unwrap_or_default(), document.origin.line)
        });
        found.collect::<Vec<_>>()
    };
    assert_eq!(found(text), [("team-a".to_owned(), 4), ("team-b".to_owned(), 7)]);
    let one =
        |name: &str| format!("{{name: {name}, git: {{url: 'https://h/{name}'}}, grants: [{{sets: [s]}}]}}");
    let on_one_line = format!("catalogs: [{}, {}]\n", one("a"), one("b"));
    assert_eq!(found(&on_one_line), [("a".to_owned(), 3), ("b".to_owned(), 4)]);
}

#[test]
fn what_is_wrong_is_told_with_its_line_and_what_would_be_right() {
    let sink = |rest: &str| format!("sinks:\n- name: ops\n  {rest}\n");
    let rows = [
        ("events: {offlineAfter: soon}\n".to_owned(), 3, "is no duration; write 30s"),
        ("audit: {maxSize: 1GB}\n".to_owned(), 3, "is no size; write 500Mi or 1Gi"),
        ("audits: {}\n".to_owned(), 3, "unknown field `audits`, expected one of"),
        ("catalogs:\n- git: {}\n".to_owned(), 4, "a catalog needs a name"),
        ("catalogs: [team-a]\n".to_owned(), 3, "a catalog has name, git and grants"),
        ("catalogs:\n- {name: team-a}\n".to_owned(), 4, "say where the catalog is"),
        (
            "catalogs:\n- {name: a, git: {url: 'https://h/r'}, grants: [{set: x}]}\n".to_owned(),
            4,
            "catalogs[0].grants[0].set is no known field; did you mean sets?",
        ),
        (
            "catalogs:\n- {name: a, git: {url: 'https://h/r'}}\n- {name: a, git: {url: 'https://h/s'}}\n"
                .to_owned(),
            5,
            "there are two catalogs",
        ),
        (sink("events: [Exploded]"), 5, "is no event; there are Taken, Converged"),
        (sink("apps: []"), 4, "sink ops needs one of webhook, slack and commitStatus"),
        (sink("slack: {}"), 4, "needs one of slack.url and slack.urlFile"),
        (sink("webhook: {url: ftp://x, secretFile: k}"), 5, "is no URL; write https://HOST/PATH"),
        (sink("webhook: {url: 'https://me:secret@x/', secretFile: k}"), 5, "secrets stand in files"),
        (sink("webhook: {url: 'https://x/'}"), 5, "missing field `secretFile`"),
        (
            sink("commitStatus: {provider: GitHub, url: 'https://x', repository: a, tokenFile: t}"),
            5,
            "write OWNER/NAME",
        ),
        ("sinks:\n- {name: A}\n".to_owned(), 4, "is no name of a sink"),
        (
            "sinks:\n- {name: a, slack: {url: 'https://x'}}\n- {name: a, slack: {url: 'https://x'}}\n"
                .to_owned(),
            5,
            "two sinks",
        ),
    ];
    for (text, line, expected) in rows {
        let said = parsed(&text).expect_err(&text);
        assert!(said.starts_with(&format!("{line}: ")) && said.contains(expected), "{text}{said}");
        assert!(!said.contains("secret@"), "{said}");
    }
    let other = parse("apiVersion: v1\nkind: HubConfig\n", Path::new(".")).expect_err("it is not valid");
    assert_eq!(other.to_string(), "1: apiVersion is nave.dev/v1alpha1 in this version");
}

#[test]
fn credentials_of_a_registry_are_a_password_an_authority_and_a_proxy() {
    let of = |rest: &str| parsed(&format!("credentials:\n- {{name: charts, {rest}}}\n"));
    let config =
        of("url: 'oci://r.io:5000/a', basic: {passwordFile: p}, caFile: ca.pem, proxy: 'http://p:1'");
    let [access] = &config.expect("it is valid").credentials[..] else { panic!("one") };
    assert_eq!(access.ca_file.as_deref(), Some(Path::new("/etc/nave/ca.pem")));
    assert!(Access::of(std::slice::from_ref(access), "oci://r.io:5000/a/web").is_some());
    let rows = [
        ("url: 'oci://r.io/a', ssh: {knownHostsFile: k}", "needs at most `basic`"),
        (
            "url: 'oci://r.io/a', githubApp: {appId: '1', installationId: '1', privateKeyFile: k}",
            "needs at most `basic`",
        ),
        ("url: 'oci://me:secret@r.io/a'", "write oci://HOST/PATH"),
        ("url: 'oci://'", "write oci://HOST/PATH"),
    ];
    for (rest, expected) in rows {
        let said = of(rest).expect_err(rest);
        assert!(
            said.starts_with("4: ") && said.contains(expected) && !said.contains("secret"),
            "{rest}: {said}"
        );
    }
}

#[test]
fn the_configuration_in_the_documents_is_one_that_is_taken() {
    let readme = include_str!("../../../README.md");
    let kind = readme.find(&format!("kind: {KIND}")).expect("the documents show one");
    let start = readme[..kind].rfind("\n\n").expect("it begins with a paragraph") + 2;
    let end = start + readme[start..].find("\n\n").expect("it ends with one");
    let config =
        parse(&readme[start..end], Path::new("/etc/nave/hub.yaml")).unwrap_or_else(|wrong| panic!("{wrong}"));
    assert_eq!((config.sinks.len(), config.catalogs.is_some()), (4, true));
}
