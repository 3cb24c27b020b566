//! Policy: what may be asked of this cluster, whatever the hub says.
//!
//! In: a question, who asks. Out: yes, or why not. Never: asks the hub.

use crate::target::ask::{Asker, Question};

/// Decides, on the spot, what may be asked.
pub trait Policy: Send + Sync + 'static {
    /// Asked before every question that reads the cluster.
    ///
    /// # Errors
    /// Why not, for people.
    fn allowed(&self, question: &Question, asker: &Asker) -> Result<(), String>;
}
