//! `hub demo`: a whole fleet on this machine.
//!
//! In: where and on what. Out: what [`crate::demo`] shows.
//! Never: touches a cluster that was not named.

use std::path::PathBuf;

use clap::Args;

use super::Outcome;
use super::serve::{cancelled_by_signals, quiet_log};
use crate::demo;

/// Its arguments.
#[derive(Args)]
#[command(after_help = "Example: hub demo --kubeconfig ~/.kube/config --kube-contexts kind-a,kind-b")]
pub struct Arguments {
    /// End once everything was seen to happen
    #[arg(long)]
    exit: bool,
    /// Where everything is put [default: a temporary directory]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Use real clusters, of this kubeconfig
    #[arg(long, value_name = "FILE", requires = "kube_contexts")]
    kubeconfig: Option<PathBuf>,
    /// The contexts of these clusters
    #[arg(long, value_name = "CONTEXT,…", value_delimiter = ',')]
    kube_contexts: Vec<String>,
}

/// Shows it.
pub async fn run(arguments: Arguments) -> anyhow::Result<Outcome> {
    quiet_log();
    let options = demo::Options {
        exit: arguments.exit,
        dir: arguments.dir,
        kubeconfig: arguments.kubeconfig,
        contexts: arguments.kube_contexts,
    };
    Box::pin(demo::run(options, cancelled_by_signals()?)).await?;
    Ok(Outcome::Done)
}
