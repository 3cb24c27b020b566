//! Values: what the variables of expressions stand for, with their sizes.
//!
//! In: JSON. Out: an interpreter's context. Never: keeps JSON; a value is converted once for all expressions.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use kube_cel::KubeCelExt as _;
use kube_cel::cel::{Context, Value, objects};
use serde_json::Value as Json;

/// How large a value is, at most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Extent {
    /// Items of the longest list or map in it.
    pub longest: u64,
    /// One for each value in it, and the bytes of its texts.
    pub size: u64,
}

/// Variables and their values.
pub struct Values {
    context: Context<'static>,
    extents: BTreeMap<String, Extent>,
}

impl Default for Values {
    fn default() -> Self {
        Self { context: Context::default().with_all(), extents: BTreeMap::new() }
    }
}

impl std::fmt::Debug for Values {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Values").field("extents", &self.extents).finish_non_exhaustive()
    }
}

impl Values {
    /// One variable more.
    #[must_use]
    pub fn with(mut self, name: &str, value: &Json) -> Self {
        let mut extent = Extent::default();
        let value = converted(value, &mut extent);
        self.context.add_variable_from_value(name, value);
        self.extents.insert(name.to_owned(), extent);
        self
    }

    pub(super) fn context(&self) -> &Context<'static> {
        &self.context
    }

    pub(super) fn extent(&self, name: &str) -> Extent {
        self.extents.get(name).copied().unwrap_or_default()
    }
}

/// Whole numbers are `int`, as in the Kubernetes API, not `uint` where they happen to be positive.
fn converted(value: &Json, extent: &mut Extent) -> Value {
    extent.size += 1;
    match value {
        Json::Null => Value::Null,
        Json::Bool(value) => Value::Bool(*value),
        Json::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(whole), _) => Value::Int(whole),
            (None, Some(large)) => Value::UInt(large),
            (None, None) => Value::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(text) => {
            extent.size += text.len() as u64;
            Value::String(Arc::new(text.clone()))
        }
        Json::Array(items) => {
            extent.longest = extent.longest.max(items.len() as u64);
            Value::List(Arc::new(items.iter().map(|item| converted(item, extent)).collect()))
        }
        Json::Object(fields) => {
            extent.longest = extent.longest.max(fields.len() as u64);
            let mut map = HashMap::with_capacity(fields.len());
            for (name, value) in fields {
                extent.size += name.len() as u64;
                map.insert(objects::Key::from(name.as_str()), converted(value, extent));
            }
            Value::Map(objects::Map { map: Arc::new(map) })
        }
    }
}
