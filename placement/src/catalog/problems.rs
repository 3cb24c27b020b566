//! Problems: what is wrong, where, and how to mend it.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::ObjectId;

/// How bad a problem is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Severity {
    /// The document is not taken; its last good form stays.
    Error,
    /// The document is taken.
    Warning,
}

/// One thing wrong with a catalog. Ordered by position.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Problem {
    /// Path relative to the repository's root.
    pub file: Arc<str>,
    /// Line, from 1.
    pub line: u32,
    /// Column, from 1.
    pub column: u32,
    /// How bad it is.
    pub severity: Severity,
    /// The object, where it could be identified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<ObjectId>,
    /// What is wrong, and how to mend it.
    pub message: String,
}

impl fmt::Display for Problem {
    /// `FILE:LINE:COLUMN: error: Kind/name: message`, as compilers write it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        write!(f, "{}:{}:{}: {severity}: ", self.file, self.line, self.column)?;
        if let Some(object) = &self.object {
            write!(f, "{object}: ")?;
        }
        f.write_str(&self.message)
    }
}
