//! Requests as forges send them. The signatures are those of the forges' own documents, or openssl's.

use std::fs;

use std::sync::Arc;

use super::*;

const NOW_S: u64 = 1_614_265_330;

fn webhooks(configured: &[(Forge, &str)]) -> (tempfile::TempDir, Webhooks, watch::Receiver<()>) {
    let directory = tempfile::tempdir().expect("a directory");
    let configured = configured.iter().enumerate().map(|(number, (forge, secret))| {
        let secret_file = directory.path().join(number.to_string());
        fs::write(&secret_file, secret).expect("written");
        WebhookConfig { name: format!("w-{number}"), forge: *forge, secret_file }
    });
    let (poke, poked) = watch::channel(());
    let webhooks = Webhooks::new(configured.collect(), poke, Arc::new(|| NOW_S * 1000));
    (directory, webhooks, poked)
}

fn headers(rows: &[(&'static str, &'static str)]) -> HeaderMap {
    rows.iter()
        .map(|(name, value)| (name.parse().expect("a name"), value.parse().expect("a value")))
        .collect()
}

/// Of GitHub's document on validating deliveries.
const HELLO: &str = "Hello, World!";
const SECRET: &str = "It's a Secret to Everybody\n";
const SIGNED: &str = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
const BARE: &str = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
/// Of the specification of Standard Webhooks.
const KEY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const STANDARD_BODY: &str = r#"{"test": 2432232314}"#;
const STANDARD_HEADERS: [(&str, &str); 3] = [
    ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"),
    ("webhook-timestamp", "1614265330"),
    ("webhook-signature", "v1a,b3RoZXI= v1,b3RoZXI= v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="),
];

#[tokio::test]
async fn only_what_has_the_secret_of_its_forge_triggers() {
    let of = |name, value, event: (&'static str, &'static str)| vec![(name, value), event];
    let late = vec![STANDARD_HEADERS[0], ("webhook-timestamp", "1614265029"), STANDARD_HEADERS[2]];
    let no_event = ("x-other", "none");
    use Forge::{Bitbucket, Generic, GitHub, GitLab, Gitea};
    // (forge, secret, headers, body, outcome)
    let rows = [
        (GitHub, SECRET, of("x-hub-signature-256", SIGNED, ("x-github-event", "push")), HELLO, TRIGGERED),
        (GitHub, SECRET, of("x-hub-signature-256", SIGNED, ("x-github-event", "ping")), HELLO, IGNORED),
        (GitHub, SECRET, of("x-hub-signature-256", SIGNED, no_event), "Hello, world!", UNKNOWN),
        (GitHub, "other", of("x-hub-signature-256", SIGNED, no_event), HELLO, UNKNOWN),
        (GitHub, "", of("x-hub-signature-256", SIGNED, no_event), HELLO, UNKNOWN),
        (GitHub, SECRET, of("x-hub-signature-256", BARE, no_event), HELLO, UNKNOWN),
        (GitHub, SECRET, of("x-hub-signature-256", "sha256=", no_event), HELLO, UNKNOWN),
        (GitHub, SECRET, of("x-gitlab-token", "It's a Secret to Everybody", no_event), HELLO, UNKNOWN),
        (GitHub, SECRET, vec![("x-github-event", "push")], HELLO, UNSIGNED),
        (Gitea, SECRET, of("x-gitea-signature", BARE, ("x-gitea-event", "push")), HELLO, TRIGGERED),
        (Gitea, SECRET, of("x-forgejo-signature", BARE, ("x-gitea-event", "issues")), HELLO, IGNORED),
        (Bitbucket, SECRET, of("x-hub-signature", SIGNED, ("x-event-key", "repo:push")), HELLO, TRIGGERED),
        (Bitbucket, SECRET, of("x-hub-signature", SIGNED, ("x-event-key", "pr:opened")), HELLO, IGNORED),
        (
            GitLab,
            SECRET,
            of("x-gitlab-token", SECRET.trim_ascii(), ("x-gitlab-event", "Push Hook")),
            "",
            TRIGGERED,
        ),
        (GitLab, SECRET, of("x-gitlab-token", "It's", ("x-gitlab-event", "Push Hook")), "", UNKNOWN),
        (GitLab, KEY, STANDARD_HEADERS.to_vec(), STANDARD_BODY, TRIGGERED),
        (Generic, KEY, STANDARD_HEADERS.to_vec(), STANDARD_BODY, TRIGGERED),
        (Generic, KEY, STANDARD_HEADERS.to_vec(), HELLO, UNKNOWN),
        (Generic, KEY, late, STANDARD_BODY, UNKNOWN),
        (Generic, SECRET, of("x-hub-signature-256", SIGNED, no_event), HELLO, TRIGGERED),
    ];
    for (forge, secret, sent, body, expected) in rows {
        let what = format!("{forge:?} {sent:?} {body}");
        let (_directory, webhooks, mut poke) = webhooks(&[(Generic, "another"), (forge, secret)]);
        assert_eq!(webhooks.take(&headers(&sent), Body::from(body)).await, expected, "{what}");
        let counted = webhooks.counts().find(|(_, count)| *count == 1);
        assert_eq!(counted, Some((expected.0, 1)), "{what}");
        let poked = futures::FutureExt::now_or_never(poke.changed()).is_some();
        assert_eq!(poked, expected.0 == Outcome::Triggered, "{what}");
    }
}

#[tokio::test]
async fn the_door_is_closed_where_nothing_is_configured_and_what_is_too_large_is_let_go() {
    let signed = headers(&[("x-hub-signature-256", SIGNED)]);
    let (_directory, none, _) = webhooks(&[]);
    assert_eq!(none.take(&signed, Body::from(HELLO)).await, CLOSED);
    assert_eq!(none.counts().count(), 0);
    let (_directory, some, _) = webhooks(&[(Forge::GitHub, SECRET)]);
    let chunks = (0..26).map(|_| Ok::<_, std::io::Error>(vec![0; 1 << 20]));
    assert_eq!(some.take(&signed, Body::from_stream(futures::stream::iter(chunks))).await, LARGE);
    let cut = [Ok(vec![0; 10]), Err(std::io::Error::other("gone"))];
    assert_eq!(some.take(&signed, Body::from_stream(futures::stream::iter(cut))).await, CUT);
}

#[tokio::test]
async fn bodies_that_do_not_come_leave_no_room_only_while_they_are_waited_for() {
    let signed = headers(&[("x-hub-signature-256", SIGNED)]);
    let (_directory, some, _) = webhooks(&[(Forge::GitHub, SECRET)]);
    let silent = || Body::from_stream(futures::stream::pending::<Result<Vec<u8>, std::io::Error>>());
    let mut waited_for = futures::future::join_all((0..AT_ONCE).map(|_| some.take(&signed, silent())));
    assert!(futures::poll!(&mut waited_for).is_pending());
    assert_eq!(some.take(&signed, Body::from(HELLO)).await, BUSY);
    drop(waited_for);
    assert_eq!(some.take(&signed, Body::from(HELLO)).await, TRIGGERED);
}
