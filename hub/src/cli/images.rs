//! `hub images`: which images clusters are told to run, or run.
//!
//! In: an [`ImagesView`] of the hub, or what clusters say of their pods. Out: a line for each image.
//! Never: takes a cluster that does not answer for one that runs nothing: it is named.

use std::collections::BTreeMap;

use clap::Args;
use nave_placement::ClusterName;
use nave_proto::v1::{self, question::Question};
use nave_spoke::target::ask::answers::ImagesAnswer;

use super::Outcome;
use super::asking::{Clusters, Fleetwide, ask};
use super::client::{Hub, document, request};
use super::output::{Document, Format, Output, Style, View};
use super::table::{Cell, Table};
use crate::operator::Pattern;
use crate::operator::views::{ImageRow, ImagesView};

/// Its arguments.
#[derive(Args)]
#[command(after_help = "\
A name without its registry means every image that ends so: `podinfo` is ghcr.io/acme/podinfo too.
--wanted looks into the manifests that clusters were told; --running asks the clusters what their containers run.
Clusters that do not answer are named on stderr. Exit code 1 when none answers.

Examples:
  hub images podinfo:6.1
  hub images openssl@sha256:0a1b2c --running -l env=prod
  hub images -o wide")]
pub struct Arguments {
    /// IMAGE, IMAGE:TAG or IMAGE@DIGEST, which may be cut short
    #[arg(default_value = "", hide_default_value = true)]
    image: String,
    /// What manifests hold that clusters were told; this is what is shown without either
    #[arg(long, conflicts_with = "running")]
    wanted: bool,
    /// What containers run, as the clusters say now
    #[arg(long)]
    running: bool,
    /// Only of this app's manifests
    #[arg(long, value_name = "APP", conflicts_with = "running")]
    app: Option<String>,
    #[command(flatten)]
    clusters: Clusters,
    #[command(flatten)]
    format: Format,
}

/// Prints them.
pub async fn run(arguments: Arguments, hub: &Hub) -> anyhow::Result<Outcome> {
    let pattern: Pattern = arguments.image.parse().map_err(anyhow::Error::msg)?;
    let mut client = hub.connect().await?;
    let output = arguments.format.output;
    if !arguments.running {
        let filter = v1::Filter {
            app: arguments.app.unwrap_or_default(),
            cluster: arguments.clusters.cluster.unwrap_or_default(),
            selector: arguments.clusters.selector.unwrap_or_default(),
            commit: String::new(),
        };
        let asked = v1::ImagesRequest { image: arguments.image, filter: Some(filter) };
        let answer = document(client.images(request(asked)).await)?;
        answer.print::<ImagesView>(output)?;
        for problem in answer.view::<ImagesView>()?.problems {
            eprintln!("{problem}");
        }
        return Ok(Outcome::Done);
    }
    let question = Question::Images(v1::RunningImages {});
    let all: Fleetwide<ImagesAnswer> = ask(&mut client, &arguments.clusters, None, question).await?;
    let is_text = matches!(output, Output::Table | Output::Wide);
    // That nobody answers does not say that there is no such image.
    if !(is_text && all.is_silent()) {
        Document::of(&running(&all, &pattern))?.print::<ImagesView>(output)?;
    }
    all.tell_problems("only the first images of it are shown");
    Ok(if all.is_silent() { Outcome::Failed } else { Outcome::Done })
}

fn running(all: &Fleetwide<ImagesAnswer>, pattern: &Pattern) -> ImagesView {
    let mut rows: BTreeMap<&str, ImageRow> = BTreeMap::new();
    for (cluster, answer) in all.answers() {
        let Ok(cluster) = cluster.parse::<ClusterName>() else { continue };
        for found in answer.images.iter().filter(|found| pattern.matches(&found.image, &found.digest)) {
            let row = rows.entry(&found.image).or_insert_with(|| ImageRow {
                image: found.image.clone(),
                digests: Default::default(),
                apps: Default::default(),
                namespaces: Default::default(),
                containers: 0,
                clusters: Default::default(),
            });
            row.digests.extend(Some(found.digest.clone()).filter(|digest| !digest.is_empty()));
            row.namespaces.extend(found.namespaces.iter().cloned());
            row.containers += found.containers;
            row.clusters.insert(cluster.clone());
        }
    }
    let silent = all
        .clusters
        .iter()
        .filter_map(|of| Some(format!("cluster {}: {}", of.cluster, of.problem.as_ref()?)));
    ImagesView { images: rows.into_values().collect(), problems: silent.collect() }
}

/// The first characters of a digest tell it from others.
const SHOWN: usize = "sha256:".len() + 12;

impl View for ImagesView {
    fn text(&self, style: Style) -> String {
        let runs = self.images.iter().any(|row| row.containers > 0);
        let headers = match (runs, style.is_wide) {
            (false, false) => vec!["IMAGE", "APPS", "CLUSTERS"],
            (false, true) => vec!["IMAGE", "APPS", "CLUSTERS", "NAMES"],
            (true, false) => vec!["IMAGE", "DIGEST", "NAMESPACES", "CONTAINERS", "CLUSTERS"],
            (true, true) => vec!["IMAGE", "DIGEST", "NAMESPACES", "CONTAINERS", "CLUSTERS", "NAMES"],
        };
        let mut table = Table::of(headers.into_iter().map(Cell::from).collect());
        for row in &self.images {
            let apps = row.apps.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
            let mut cells: Vec<Cell> = vec![row.image.clone().into()];
            if runs {
                let digest = |digest: &String| match style.is_wide {
                    true => digest.clone(),
                    false => digest.chars().take(SHOWN).collect(),
                };
                let digests: Vec<String> = row.digests.iter().map(digest).collect();
                let namespaces: Vec<&str> = row.namespaces.iter().map(String::as_str).collect();
                cells.push(digests.join(",").into());
                cells.push(namespaces.join(",").into());
                cells.push(row.containers.to_string().into());
            } else {
                cells.push(apps.into());
            }
            cells.push(row.clusters.len().to_string().into());
            if style.is_wide {
                cells.push(style.clusters(&row.clusters.iter().cloned().collect::<Vec<_>>()).into());
            }
            table.row_of(cells);
        }
        if table.is_empty() { "No such image.\n".to_owned() } else { table.to_string() }
    }

    fn names(&self) -> Vec<String> {
        self.images.iter().map(|row| row.image.clone()).collect()
    }
}
