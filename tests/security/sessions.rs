//! A session gives a spoke its own, and what it claims to hold is believed only under the hub's seal.

use harness::fleet::Target;
use harness::peers::{self, Stream};
use nave_proto::v1::content_client::ContentClient;
use nave_proto::v1::session_client::SessionClient;
use nave_proto::v1::{self, from_spoke, to_spoke};
use serde_json::json;
use std::time::Duration;
use tonic::transport::Channel;
use tonic::{Code, Status};

use crate::given::{LIMIT, Stage};

/// What must not come has this long to come; what does come, comes in milliseconds.
const QUIET: Duration = Duration::from_secs(1);

async fn fetch(channel: Channel, digest: &[u8]) -> Result<Vec<u8>, Status> {
    let part = v1::fetch_request::Part { digest: digest.to_vec(), offset: 0 };
    let mut chunks =
        ContentClient::new(channel).fetch(v1::FetchRequest { parts: vec![part] }).await?.into_inner();
    let mut bytes = Vec::new();
    while let Some(chunk) = chunks.message().await? {
        bytes.extend(chunk.data);
    }
    Ok(bytes)
}

/// The bundles that an assignment names.
fn bundles(assignment: &v1::Assignment) -> Vec<Vec<u8>> {
    let entries = assignment.entries.iter();
    entries.map(|keyed| nave_proto::decode_entry(&keyed.entry).unwrap().bundle.0.to_vec()).collect()
}

fn is_assignment(message: &to_spoke::Message) -> bool {
    matches!(message, to_spoke::Message::Assignment(_))
}

#[tokio::test]
async fn a_bundle_goes_only_to_a_cluster_that_is_assigned_it() {
    let stage = Stage::start().await;
    let (plain, prod) = (stage.member("fra-1", &[]).await, stage.member("fra-2", &[("env", "prod")]).await);
    let [plain_channel, prod_channel] =
        [stage.channel(Some(&plain.credentials)).await, stage.channel(Some(&prod.credentials)).await];
    let web = Stream::open(plain_channel.clone(), peers::hello(&plain.uid))
        .await
        .unwrap()
        .assignment()
        .await
        .unwrap();
    let both = Stream::open(prod_channel.clone(), peers::hello(&prod.uid))
        .await
        .unwrap()
        .assignment()
        .await
        .unwrap();
    let (web, both) = (bundles(&web), bundles(&both));
    assert_eq!((web.len(), both.len()), (1, 2));
    let db = both.iter().find(|digest| !web.contains(digest)).unwrap();

    assert!(!fetch(plain_channel.clone(), &web[0]).await.unwrap().is_empty());
    assert!(!fetch(prod_channel, db).await.unwrap().is_empty());
    let refused = fetch(plain_channel.clone(), db).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");
    // Whether a bundle exists at all is not told either.
    assert_eq!(fetch(plain_channel, &[7; 32]).await.unwrap_err().code(), Code::PermissionDenied);
}

#[tokio::test]
async fn an_identity_that_appears_on_another_cluster_is_an_alarm_and_is_told_nothing() {
    let stage = Stage::start().await;
    let member = stage.member("fra-1", &[]).await;
    let channel = stage.channel(Some(&member.credentials)).await;
    let mut elsewhere = Stream::open(channel.clone(), peers::hello("another-uid")).await.unwrap();
    let said = elsewhere.rest(QUIET).await.unwrap();
    assert!(matches!(said[..], [to_spoke::Message::Goodbye(_)]), "{said:?}");
    stage.until_alarms(json!({"fra-1": "ClusterChanged"})).await;

    // The cluster that enrolled is served as before, and its session is not touched by the other's next attempt. The alarm
    // stays for whoever looks later.
    let mut own = Stream::open(channel.clone(), peers::hello(&member.uid)).await.unwrap();
    own.assignment().await.unwrap();
    let mut again = Stream::open(channel, peers::hello("another-uid")).await.unwrap();
    again.rest(QUIET).await.unwrap();
    assert!(own.rest(QUIET).await.unwrap().is_empty(), "it is not ended");
    stage.until_alarms(json!({"fra-1": "ClusterChanged"})).await;
    let status = stage.fleet.status().await.unwrap();
    assert_eq!(status["connected"], json!(1), "{status}");
}

#[tokio::test]
async fn a_stream_that_says_nothing_is_nobodys_session_and_two_that_share_an_identity_are_an_alarm() {
    let stage = Stage::start().await;
    let member = stage.member("fra-1", &[]).await;
    let channel = stage.channel(Some(&member.credentials)).await;
    let (_silence, nothing) = tokio::sync::mpsc::channel(1);
    let nothing = tokio_stream::wrappers::ReceiverStream::new(nothing);
    let mut client = SessionClient::new(channel.clone());
    let opening =
        tokio::spawn(async move { client.open(nothing).await.unwrap().into_inner().message().await });
    let mut open = Vec::new();
    for _ in 0..8 {
        let mut stream = Stream::open(channel.clone(), peers::hello(&member.uid)).await.unwrap();
        stream.assignment().await.unwrap();
        open.push(stream);
    }
    stage.until_alarms(json!({"fra-1": "IdentityShared"})).await;
    let said = tokio::time::timeout(LIMIT, opening).await.unwrap().unwrap().unwrap();
    let goodbye = said.and_then(|said| said.message);
    assert!(
        matches!(&goodbye, Some(to_spoke::Message::Goodbye(g)) if g.reason.contains("hello")),
        "{goodbye:?}"
    );
    let last = open.last_mut().unwrap().rest(QUIET).await.unwrap();
    assert!(last.is_empty(), "{last:?}");
}

#[tokio::test]
async fn an_assignment_that_the_hub_never_sealed_is_an_alarm_of_that_spoke_alone() {
    let mut stage = Stage::start().await;
    let (one, two) = (stage.member("fra-1", &[]).await, stage.member("fra-2", &[("env", "prod")]).await);
    let [one_channel, two_channel] =
        [stage.channel(Some(&one.credentials)).await, stage.channel(Some(&two.credentials)).await];
    let theirs = Stream::open(two_channel, peers::hello(&two.uid)).await.unwrap().assignment().await.unwrap();
    let own =
        Stream::open(one_channel.clone(), peers::hello(&one.uid)).await.unwrap().assignment().await.unwrap();

    // No seal; a seal that was for a lower number; another cluster's, with its true seal.
    let unsealed = v1::Assignment { generation: 1_000, mac: vec![0; 32], ..own.clone() };
    let raised = v1::Assignment { generation: own.generation + 1_000, ..own.clone() };
    let borrowed = v1::Assignment { generation: theirs.generation + 1_000, ..theirs };
    for claimed in [unsealed, raised, borrowed] {
        let mut stream = Stream::open(one_channel.clone(), peers::holding(&one.uid, &claimed)).await.unwrap();
        let said = stream.rest(QUIET).await.unwrap();
        assert!(!said.iter().any(is_assignment), "{said:?}");
        stage.until_alarms(json!({"fra-1": "ForeignAssignment"})).await;
        let status = stage.fleet.status().await.unwrap();
        assert_eq!(status["doubt"], json!(null), "{status}");
    }
    // Everybody else goes on.
    stage.fleet.join("fra-3", &[], &Target::Directory).await.unwrap();
    stage.fleet.converge(&["--cluster", "fra-3"]).await.unwrap();
}

#[tokio::test]
async fn a_stream_begins_with_hello_and_the_newest_of_one_key_wins() {
    let stage = Stage::start().await;
    let member = stage.member("fra-1", &[]).await;
    let channel = stage.channel(Some(&member.credentials)).await;
    let mut first = Stream::open(channel.clone(), peers::hello(&member.uid)).await.unwrap();
    let assignment = first.assignment().await.unwrap();
    let mut second = Stream::open(channel, peers::holding(&member.uid, &assignment)).await.unwrap();
    let last = first.rest(QUIET * 5).await.unwrap();
    assert!(matches!(last.last(), Some(to_spoke::Message::Goodbye(_))), "{last:?}");
    // What it holds is what the hub sent: there is nothing more to say.
    let said = second.rest(QUIET).await.unwrap();
    assert!(!said.iter().any(is_assignment), "{said:?}");
    let accepted = v1::Accepted {
        epoch: assignment.epoch,
        generation: assignment.generation,
        digest: assignment.digest.clone(),
    };
    second.say(from_spoke::Message::Accepted(accepted)).await.unwrap();
}
