//! Demo: a whole fleet on this machine, and a change to watch.
//!
//! In: nothing, or contexts of real clusters. Out: a hub, a Git repository, spokes; what was seen, on the terminal.
//! Never: shows what it did not see: each line follows a check of the clusters themselves.

mod catalog;
mod script;
mod stage;

use std::path::PathBuf;

use tokio_util::sync::CancellationToken;

use script::Script;
use stage::Stage;

/// What to show.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// End once everything was seen to happen.
    pub exit: bool,
    /// Where everything is put; a new temporary directory when absent.
    pub dir: Option<PathBuf>,
    /// Real clusters instead of directories: their kubeconfig,
    pub kubeconfig: Option<PathBuf>,
    /// and its contexts, one cluster each.
    pub contexts: Vec<String>,
}

/// Shows it.
///
/// # Errors
/// When something could not be started, or was not seen to happen in time.
pub async fn run(options: Options, cancel: CancellationToken) -> anyhow::Result<()> {
    let stage = Stage::set(&options).await?;
    let shown = {
        let script = Script::new(&stage);
        tokio::select! {
            shown = script.play() => shown,
            () = cancel.cancelled() => Ok(()),
            ended = stage.broken() => Err(ended),
        }
    };
    if shown.is_ok() && !options.exit && !cancel.is_cancelled() {
        stage.say_what_next();
        tokio::select! {
            () = cancel.cancelled() => {}
            ended = stage.broken() => return Err(ended),
        }
    }
    stage.strike().await;
    shown
}
