//! `hub failpoints`: where a test can end the process, one name a line.

use super::Outcome;

/// Lists them.
#[cfg(feature = "failpoints")]
pub fn run() -> anyhow::Result<Outcome> {
    let names: String = crate::state::failpoints().iter().map(|name| format!("{name}\n")).collect();
    super::output::print(&names)?;
    Ok(Outcome::Done)
}

/// There are none.
#[cfg(not(feature = "failpoints"))]
pub fn run() -> anyhow::Result<Outcome> {
    anyhow::bail!("this build has no failpoints; build it with `--features failpoints`")
}
