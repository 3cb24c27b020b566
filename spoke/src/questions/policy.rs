//! Policy: what may be asked of this cluster, whatever the hub says.
//!
//! In: a question, who asks. Out: yes, or why not. Never: asks the hub.

use crate::target::ask::Asker;

/// Decides, on the spot, what may be asked.
pub trait Policy: Send + Sync + 'static {
    /// Asked before every question that reads the cluster; the kind is the word that a local policy has for it.
    ///
    /// # Errors
    /// Why not, for people.
    fn allowed(&self, kind: &str, asker: &Asker) -> Result<(), String>;
}
