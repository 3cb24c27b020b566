//! Text: an event in words, for tables, messages and statuses.
//!
//! In: an event. Out: what it is about, and why. Never: more than a line.

use super::{Clusters, Event};
use crate::state::rfc3339;

/// Clusters that a line names.
const FIRST: usize = 5;

impl Clusters {
    /// `a, b, c`, and how many more.
    pub fn text(&self) -> String {
        let first: Vec<&str> = self.names.iter().take(FIRST).map(|name| name.as_str()).collect();
        match self.total - first.len() {
            0 => first.join(", "),
            more => format!("{} and {more} more", first.join(", ")),
        }
    }

    fn counted(&self) -> String {
        match self.total {
            1 => "1 cluster".to_owned(),
            total => format!("{total} clusters"),
        }
    }
}

impl Event {
    /// What it is about.
    pub fn subject(&self) -> String {
        match self {
            Self::Taken { commit, catalog }
            | Self::Converged { app: None, commit, catalog, .. }
            | Self::Failed { app: None, commit, catalog, .. } => {
                let of = catalog.as_ref().map(|catalog| format!(" of catalog {catalog}"));
                format!("commit {}{}", commit.short(), of.unwrap_or_default())
            }
            Self::Converged { app: Some(app), .. }
            | Self::Failed { app: Some(app), .. }
            | Self::Drifted { app, .. }
            | Self::DriftEnded { app } => format!("app {app}"),
            Self::RollingBack(of)
            | Self::RolledBack(of)
            | Self::RolloutHalted(of)
            | Self::AwaitsApproval(of) => format!("rollout {}", of.rollout),
            Self::Held(of) | Self::HoldEnded(of) => format!("hold {}", of.hold),
            Self::CertificateNearExpiry { clusters, .. } if clusters.is_empty() => {
                "the fleet's CA".to_owned()
            }
            Self::ClusterOffline { clusters }
            | Self::ClusterBack { clusters }
            | Self::CertificateNearExpiry { clusters, .. } => match clusters.total {
                1 => format!("cluster {}", clusters.text()),
                _ => clusters.counted(),
            },
            Self::Missed { count } => format!("{count} events"),
        }
    }

    /// Why, or what of it.
    pub fn why(&self) -> String {
        match self {
            Self::Taken { .. } => "it is in effect".to_owned(),
            Self::Converged { app: None, .. } => "everything that it changed is healthy".to_owned(),
            Self::Converged { app: Some(_), version, commit, clusters, .. } => {
                let version = version.map(|version| format!(" {}", version.short())).unwrap_or_default();
                let on = match clusters.total {
                    1 => "1 cluster".to_owned(),
                    clusters => format!("{clusters} clusters"),
                };
                format!("version{version} of commit {} is healthy on {on}", commit.short())
            }
            Self::Failed { clusters, reason, object, detail, .. } => {
                let on = match clusters.is_empty() {
                    true => String::new(),
                    false => format!("on {}: ", clusters.text()),
                };
                let object = object.as_ref().map(|object| format!("{object}: ")).unwrap_or_default();
                let said = [reason.as_str(), detail].into_iter().filter(|said| !said.is_empty());
                format!("{on}{object}{}", said.collect::<Vec<_>>().join(": "))
            }
            Self::AwaitsApproval(of) => {
                let wave = of.wave.as_deref().unwrap_or_default();
                format!("wave {wave} waits for approval: `hub rollout approve {}`", of.rollout)
            }
            Self::RollingBack(of) | Self::RolledBack(of) | Self::RolloutHalted(of) => of.detail.clone(),
            Self::Held(of) => format!("{}; `hub hold approve {}` lets it go", of.detail, of.hold),
            Self::HoldEnded(of) => of.detail.clone(),
            Self::Drifted { clusters, corrected, .. } => {
                let then = if *corrected { "were put back" } else { "stay" };
                format!("foreign changes on {} {then}", clusters.text())
            }
            Self::DriftEnded { .. } => "nothing differs any more".to_owned(),
            Self::ClusterOffline { clusters } => match clusters.total {
                1 => "it is not connected".to_owned(),
                _ => format!("not connected: {}", clusters.text()),
            },
            Self::ClusterBack { clusters } => match clusters.total {
                1 => "it is connected again".to_owned(),
                _ => format!("connected again: {}", clusters.text()),
            },
            Self::CertificateNearExpiry { clusters, until_ms } => match clusters.is_empty() {
                true => format!("its certificate ends at {}", rfc3339(*until_ms)),
                false => {
                    let until = rfc3339(*until_ms);
                    format!("not renewed in time, valid until {until}: {}", clusters.text())
                }
            },
            Self::Missed { .. } => "they are no longer kept, and were not told here".to_owned(),
        }
    }

    /// All of it in one line.
    pub fn line(&self) -> String {
        format!("{} {}: {}", self.kind(), self.subject(), self.why())
    }
}
