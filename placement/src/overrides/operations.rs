//! Operations: a patch of RFC 6902, within the budgets of a document.
//!
//! In: an object, operations. Out: the object, changed, or which operation cannot be made.
//! Never: nests an object deeper than it can be read back, lets copies of copies fill the memory.

use json_patch::{PatchErrorKind, PatchOperation};
use serde_json::Value;

use crate::catalog::yaml::{MAX_DEPTH, MAX_WEIGHT};

/// Why an operation cannot be made. Names places, never values.
#[derive(Debug, thiserror::Error)]
#[error("operation {} ({path}) {fault}", .operation + 1)]
pub struct OperationError {
    /// Which, from 0.
    operation: usize,
    /// Where.
    path: String,
    fault: Fault,
}

#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error("{}", failed(.0))]
    Failed(PatchErrorKind),
    #[error("nests the object more than {MAX_DEPTH} deep")]
    Depth,
    #[error("and those before it copy more than {MAX_WEIGHT} nodes")]
    Copies,
}

fn failed(kind: &PatchErrorKind) -> &'static str {
    match kind {
        PatchErrorKind::TestFailed => "finds another value than it tests for",
        PatchErrorKind::InvalidFromPointer => "copies or moves from where there is nothing",
        PatchErrorKind::CannotMoveInsideItself => "moves a value into itself",
        _ => "names a place that is not there",
    }
}

/// Makes the operations in their order.
///
/// # Errors
/// The first that cannot be made; then those before it are made.
pub(super) fn operate(object: &mut Value, operations: &[PatchOperation]) -> Result<(), OperationError> {
    let mut copied = 0;
    for (at, operation) in operations.iter().enumerate() {
        let wrong = |fault| OperationError { operation: at, path: operation.path().to_string(), fault };
        let size = match operation {
            PatchOperation::Add(add) => Size::of(&add.value),
            PatchOperation::Replace(replace) => Size::of(&replace.value),
            PatchOperation::Move(moved) => Size::at(object, moved.from.as_str()),
            PatchOperation::Copy(copy) => Size::at(object, copy.from.as_str()),
            PatchOperation::Remove(_) | PatchOperation::Test(_) => Size::default(),
        };
        if operation.path().count() + size.height > MAX_DEPTH as usize {
            return Err(wrong(Fault::Depth));
        }
        if let PatchOperation::Copy(_) = operation {
            copied += size.weight;
            if copied > MAX_WEIGHT {
                return Err(wrong(Fault::Copies));
            }
        }
        json_patch::patch(object, std::slice::from_ref(operation))
            .map_err(|error| wrong(Fault::Failed(error.kind)))?;
    }
    Ok(())
}

/// Of a value, as the parser of YAML measures it.
#[derive(Default)]
struct Size {
    height: usize,
    weight: usize,
}

impl Size {
    fn at(object: &Value, pointer: &str) -> Self {
        object.pointer(pointer).map(Self::of).unwrap_or_default()
    }

    fn of(value: &Value) -> Self {
        let text = |text: &str| 1 + text.len() / 32;
        match value {
            Value::String(value) => Self { height: 0, weight: text(value) },
            Value::Array(items) => items.iter().fold(Self { height: 1, weight: 1 }, Self::with),
            Value::Object(fields) => {
                fields.iter().fold(Self { height: 1, weight: 1 }, |size, (key, value)| {
                    let size = size.with(value);
                    Self { weight: size.weight + text(key), ..size }
                })
            }
            _ => Self { height: 0, weight: 1 },
        }
    }

    fn with(self, item: &Value) -> Self {
        let item = Self::of(item);
        Self { height: self.height.max(item.height + 1), weight: self.weight + item.weight }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn operated(object: &mut Value, operations: Value) -> Result<(), String> {
        let operations: Vec<PatchOperation> = serde_json::from_value(operations).expect("operations");
        operate(object, &operations).map_err(|error| error.to_string())
    }

    #[test]
    fn copies_of_copies_come_to_an_end() {
        let twice = json!([
            {"op": "copy", "from": "/a", "path": "/b"},
            {"op": "copy", "from": "/b", "path": "/a/-"},
        ]);
        let many: Vec<Value> = (0..40).flat_map(|_| twice.as_array().cloned().unwrap_or_default()).collect();
        let error = operated(&mut json!({"a": [1]}), many.into()).expect_err("2^40 nodes");
        assert_eq!(error, "operation 36 (/a/-) and those before it copy more than 1000000 nodes");
        let mut text = json!({"a": "x".repeat(32 * MAX_WEIGHT)});
        let error = operated(&mut text, json!([{"op": "copy", "from": "/a", "path": "/b"}]));
        assert_eq!(
            error,
            Err("operation 1 (/b) and those before it copy more than 1000000 nodes".to_owned())
        );
    }

    #[test]
    fn no_operation_nests_deeper_than_a_manifest_may_be() {
        let nested = |depth: usize| (0..depth).fold(json!(1), |inner, _| json!({ "a": inner }));
        let place = "/a".repeat(50);
        let rows = [
            (json!({"op": "add", "path": place, "value": nested(50)}), true),
            (json!({"op": "add", "path": place, "value": nested(51)}), false),
            (json!({"op": "replace", "path": place, "value": nested(51)}), false),
            (json!({"op": "copy", "from": "/b", "path": place}), false),
            (json!({"op": "move", "from": "/b", "path": place}), false),
            (json!({"op": "move", "from": "/b", "path": "/c"}), true),
        ];
        for (operation, fits) in rows {
            let mut object = json!({"a": nested(60)["a"], "b": nested(51)});
            let outcome = operated(&mut object, json!([operation]));
            let deep = || format!("operation 1 ({place}) nests the object more than 100 deep");
            assert_eq!(outcome, if fits { Ok(()) } else { Err(deep()) }, "{operation}");
        }
    }
}
