//! Commit statuses: what an event says of its commit, in the words of three forges.
//!
//! In: an event. Out: a state, and the request that sets it.
//! Never: says of a commit what was said of it last: GitLab refuses that, and the others count.

use nave_placement::catalog::CommitId;
use serde_json::{Map, Value};

use super::message::Message;
use crate::config::Provider;
use crate::events::Event;

/// GitHub takes no longer description, in characters.
const DESCRIPTION: usize = 140;
/// Commits whose last status is remembered.
pub const REMEMBERED: usize = 50;

/// How a commit stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is on its way, or waits for somebody.
    Pending,
    /// All that it changed is healthy.
    Success,
    /// Something of it failed, is held, or was taken back.
    Failure,
}

impl Standing {
    /// What an event says of its commit.
    pub fn of(event: &Event) -> Option<(&CommitId, Self)> {
        let standing = match event {
            Event::Taken { .. } | Event::AwaitsApproval(_) => Self::Pending,
            Event::Converged { app: None, .. } => Self::Success,
            Event::Failed { .. }
            | Event::RollingBack(_)
            | Event::RolledBack(_)
            | Event::RolloutHalted(_)
            | Event::Held(_) => Self::Failure,
            // What becomes of the commit then is told by another event.
            Event::HoldEnded(_) | Event::Converged { app: Some(_), .. } => return None,
            Event::Drifted { .. }
            | Event::DriftEnded { .. }
            | Event::ClusterOffline { .. }
            | Event::ClusterBack { .. }
            | Event::CertificateNearExpiry { .. }
            | Event::Missed { .. } => return None,
        };
        Some((event.commit()?, standing))
    }

    /// In a forge's word.
    pub fn word(self, provider: Provider) -> &'static str {
        match (self, provider) {
            (Self::Pending, _) => "pending",
            (Self::Success, _) => "success",
            (Self::Failure, Provider::GitLab) => "failed",
            (Self::Failure, Provider::GitHub | Provider::Gitea) => "failure",
        }
    }
}

/// What was said of commits, once more is said of one.
pub fn remembered(said: &[(CommitId, String)], commit: &CommitId, word: &str) -> Vec<(CommitId, String)> {
    let others = said.iter().filter(|(of, _)| of != commit).cloned();
    let mut said: Vec<(CommitId, String)> = others.chain([(commit.clone(), word.to_owned())]).collect();
    said.drain(..said.len().saturating_sub(REMEMBERED));
    said
}

/// Where statuses are set.
#[derive(Clone, Copy, Debug)]
pub struct Forge<'a> {
    /// Whose API.
    pub provider: Provider,
    /// Its base.
    pub url: &'a str,
    /// The repository.
    pub repository: &'a str,
    /// The name of the status.
    pub context: &'a str,
    /// Where the forge's page leads.
    pub target_url: Option<&'a str>,
    /// The token.
    pub token: &'a str,
}

impl Forge<'_> {
    /// The request that gives a commit a status.
    pub fn message(&self, commit: &CommitId, standing: Standing, event: &Event) -> Message {
        let Self { provider, url, repository, context, target_url, token } = *self;
        let base = url.trim_end_matches('/');
        let url = match provider {
            Provider::GitHub | Provider::Gitea => format!("{base}/repos/{repository}/statuses/{commit}"),
            Provider::GitLab => {
                format!("{base}/projects/{}/statuses/{commit}", repository.replace('/', "%2F"))
            }
        };
        let name = if provider == Provider::GitLab { "name" } else { "context" };
        let mut body = Map::new();
        body.insert("state".to_owned(), standing.word(provider).into());
        body.insert(name.to_owned(), context.into());
        body.insert("description".to_owned(), description(event).into());
        if let Some(target_url) = target_url {
            body.insert("target_url".to_owned(), target_url.into());
        }
        let authorization = match provider {
            Provider::GitHub => ("Authorization", format!("Bearer {token}")),
            Provider::Gitea => ("Authorization", format!("token {token}")),
            Provider::GitLab => ("PRIVATE-TOKEN", token.to_owned()),
        };
        let accept = match provider {
            Provider::GitHub => "application/vnd.github+json",
            Provider::GitLab | Provider::Gitea => "application/json",
        };
        let headers = vec![authorization, ("Accept", accept.to_owned())];
        Message { url, headers, body: Value::Object(body).to_string().into_bytes() }
    }
}

/// What the forge shows beside the state.
fn description(event: &Event) -> String {
    let text = match event {
        Event::Taken { .. } => "on its way to the clusters".to_owned(),
        Event::Converged { .. } => event.why(),
        event => format!("{}: {}", event.subject(), event.why()),
    };
    let text: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match text.chars().count() {
        0..=DESCRIPTION => text,
        _ => text.chars().take(DESCRIPTION - 1).chain(['…']).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::{Clusters, OfRollout};

    const SHA: &str = "6dcb09b5b57875f334f61aebed695e2e4193db5e";

    fn commit() -> CommitId {
        CommitId(SHA.into())
    }

    #[test]
    fn each_forge_gets_its_path_its_words_and_its_token() {
        let failed = Event::Failed {
            app: Some("web".parse().expect("a name")),
            commit: commit(),
            catalog: None,
            clusters: Clusters::of([&"fra-1".parse().expect("a name")]),
            reason: "ImagePullBackOff".into(),
            object: None,
            detail: "x".repeat(200),
        };
        let rows = [
            (
                Provider::GitHub,
                "acme/fleet",
                "/repos/acme/fleet/statuses/",
                "context",
                "failure",
                ("Authorization", "Bearer t0"),
            ),
            (
                Provider::GitLab,
                "acme/a/fleet",
                "/projects/acme%2Fa%2Ffleet/statuses/",
                "name",
                "failed",
                ("PRIVATE-TOKEN", "t0"),
            ),
            (Provider::GitLab, "17", "/projects/17/statuses/", "name", "failed", ("PRIVATE-TOKEN", "t0")),
            (
                Provider::Gitea,
                "acme/fleet",
                "/repos/acme/fleet/statuses/",
                "context",
                "failure",
                ("Authorization", "token t0"),
            ),
        ];
        for (provider, repository, path, name, word, (header, token)) in rows {
            let url = "https://forge.example.com/api/";
            let forge = Forge { provider, url, repository, context: "nave", target_url: None, token: "t0" };
            let (of, standing) = Standing::of(&failed).expect("it says something of its commit");
            let message = forge.message(of, standing, &failed);
            assert_eq!(message.url, format!("https://forge.example.com/api{path}{SHA}"));
            assert!(message.headers.contains(&(header, token.to_owned())), "{:?}", message.headers);
            let body: Value = serde_json::from_slice(&message.body).expect("JSON");
            assert_eq!((body["state"].as_str(), body[name].as_str()), (Some(word), Some("nave")));
            let description = body["description"].as_str().expect("text");
            assert!(description.starts_with("app web: on fra-1: ImagePullBackOff: xxx"), "{description}");
            assert_eq!(description.chars().count(), DESCRIPTION);
        }
    }

    #[test]
    fn events_say_of_their_commits_how_those_stand() {
        let of = OfRollout {
            group: Vec::new(),
            app: "web".parse().expect("a name"),
            rollout: "web@1.1".into(),
            commit: commit(),
            catalog: None,
            wave: None,
            detail: String::new(),
        };
        let app = Some("web".parse().expect("a name"));
        let rows = [
            (Event::Taken { commit: commit(), catalog: None }, Some(Standing::Pending)),
            (Event::AwaitsApproval(of.clone()), Some(Standing::Pending)),
            (
                Event::Converged {
                    app: None,
                    version: None,
                    commit: commit(),
                    catalog: None,
                    clusters: Clusters { total: 1, names: Vec::new() },
                },
                Some(Standing::Success),
            ),
            (
                Event::Converged {
                    app,
                    version: None,
                    commit: commit(),
                    catalog: None,
                    clusters: Clusters { total: 1, names: Vec::new() },
                },
                None,
            ),
            (Event::RolledBack(of.clone()), Some(Standing::Failure)),
            (Event::RolloutHalted(of), Some(Standing::Failure)),
            (Event::Missed { count: 1 }, None),
        ];
        for (event, expected) in rows {
            assert_eq!(Standing::of(&event).map(|(_, standing)| standing), expected, "{event:?}");
        }
    }

    #[test]
    fn the_last_status_of_each_commit_is_remembered_and_old_ones_are_let_go() {
        let mut said = Vec::new();
        for number in 0..60 {
            said = remembered(&said, &CommitId(number.to_string().into()), "pending");
        }
        said = remembered(&said, &CommitId("59".into()), "success");
        assert_eq!((said.len(), said.last()), (REMEMBERED, Some(&(CommitId("59".into()), "success".into()))));
    }
}
