//! Expression: a CEL expression of the catalog, read with limits and evaluated within a budget.
//!
//! In: text, the names of the variables that it may use; then their values. Out: true or false, or why not.
//! Never: runs longer or takes more memory than its limits say, ends the process, tells a value in an error (it may be a
//! secret's).
//!
//! The interpreter has no fuel and recurses on its stack, so everything that could run away is refused before it starts:
//!
//! | file | what it refuses |
//! |---|---|
//! | `read` | text that is too long, before it is parsed; what does not parse |
//! | `check` | names that nobody knows, too much depth or nesting, patterns that are no patterns |
//! | `cost` | an evaluation that, given the sizes of the values, could take too many steps |

mod check;
mod cost;
mod functions;
mod parts;
mod read;
#[cfg(test)]
mod tests;
mod values;

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

use kube_cel::cel;

pub use read::ExpressionError;
pub use values::Values;

/// An expression, ready to be evaluated any number of times.
#[derive(Clone, Debug, PartialEq)]
pub struct Expression {
    root: cel::IdedExpr,
    references: BTreeSet<String>,
    is_deep: bool,
    /// The most steps that an evaluation may take.
    most: u64,
}

/// Levels that are evaluated on the caller's own stack: usual conditions have up to ten. Without optimization that is
/// 64 KiB each, of the 2 MiB that a thread has.
const FLAT: usize = 12;

/// Why an expression has no value. Closed; names what is missing, never a value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EvaluationError {
    /// A field that is not there was read.
    #[error("there is no field {field}; ask has(…) first where it may be absent")]
    NoField {
        /// Its name.
        field: String,
    },
    /// A list has no such element.
    #[error("a list has no element at the index that is read")]
    NoElement,
    /// Operators or functions were given values of a type that they do not take.
    #[error("{what}")]
    WrongType {
        /// Which.
        what: String,
    },
    /// The value is neither true nor false.
    #[error("its value is neither true nor false, but of type {is}")]
    NotBoolean {
        /// Its type.
        is: String,
    },
    /// It could take longer than it may.
    #[error(
        "it could take {steps} steps on what it is given, {allowed} are allowed; look at fewer or shorter lists"
    )]
    TooCostly {
        /// How many it could take at most.
        steps: u64,
        /// How many it may take.
        allowed: u64,
    },
    /// A function refused what it was given, or a number ran over.
    #[error("{what}")]
    Failed {
        /// What failed.
        what: String,
    },
}

impl Expression {
    /// Reads an expression that may use these variables.
    ///
    /// # Errors
    /// [`ExpressionError`] says what is wrong and how to mend it.
    pub fn parse(text: &str, variables: &[&str]) -> Result<Self, ExpressionError> {
        read::read(text, |root| {
            let check::Checked { references, depth } = check::check(&root, variables)?;
            let root = check::strict(root);
            Ok(Self { root, references, is_deep: depth > FLAT, most: cost::MAX_STEPS })
        })
    }

    /// The same, where it may take so many steps only.
    pub fn within(self, most: u64) -> Self {
        Self { most: most.min(cost::MAX_STEPS), ..self }
    }

    /// The variables that it uses.
    pub fn references(&self) -> &BTreeSet<String> {
        &self.references
    }

    /// The fields that it reads, each as far as it is written out, the variable first.
    pub fn paths(&self) -> BTreeSet<Vec<String>> {
        parts::paths(&self.root)
    }

    /// Itself and, of its logical operators, every operand: so that a test with values reaches those too that are not
    /// looked at once the outcome is known.
    pub fn conditions(&self) -> Vec<Self> {
        let part = |root: &cel::IdedExpr| Self { root: root.clone(), ..self.clone() };
        parts::conditions(&self.root).into_iter().map(part).collect()
    }

    /// Whether it holds for these values.
    ///
    /// # Errors
    /// [`EvaluationError`] where it has no value: that is neither true nor false.
    pub fn evaluate(&self, values: &Values) -> Result<bool, EvaluationError> {
        let steps = cost::steps(&self.root, values);
        if steps > self.most {
            return Err(EvaluationError::TooCostly { steps, allowed: self.most });
        }
        let resolve = || {
            // What the limits let through is not known to panic; one expression must not end a spoke if it does.
            catch_unwind(AssertUnwindSafe(|| outcome(cel::Value::resolve(&self.root, values.context()))))
        };
        let failed = || EvaluationError::Failed { what: "the interpreter failed on it".into() };
        let run = match self.is_deep {
            true => read::with_room(resolve).ok().and_then(Result::ok).ok_or_else(failed)?,
            false => resolve(),
        };
        run.unwrap_or_else(|_| Err(failed()))
    }
}

fn outcome(result: cel::ResolveResult) -> Result<bool, EvaluationError> {
    match result {
        Ok(cel::Value::Bool(value)) => Ok(value),
        Ok(other) => Err(EvaluationError::NotBoolean { is: other.type_of().to_string() }),
        Err(error) => Err(told(&error)),
    }
}

/// The interpreter's error without the values that it shows.
fn told(error: &cel::ExecutionError) -> EvaluationError {
    use cel::ExecutionError as E;
    let wrong = |what: &str| EvaluationError::WrongType { what: what.to_owned() };
    match error {
        E::NoSuchKey(field) => EvaluationError::NoField { field: field.to_string() },
        E::IndexOutOfBounds(_) => EvaluationError::NoElement,
        E::FunctionError { function, .. } => {
            EvaluationError::Failed { what: format!("{function}() does not take what it was given") }
        }
        E::DivisionByZero(_) | E::RemainderByZero(_) => {
            EvaluationError::Failed { what: "division by zero".into() }
        }
        E::Overflow(..) => EvaluationError::Failed { what: "a number is too large".into() },
        E::InvalidArgumentCount { expected, actual } => EvaluationError::WrongType {
            what: format!("a function takes {expected} arguments, not {actual}"),
        },
        E::NotSupportedAsMethod { method, .. } => {
            EvaluationError::WrongType { what: format!("{method}() does not go with a value of this type") }
        }
        E::UnexpectedType { got, want } => {
            EvaluationError::WrongType { what: format!("a value is of type {got}, {want} is wanted") }
        }
        E::UnsupportedUnaryOperator(operator, _) | E::UnsupportedBinaryOperator(operator, ..) => {
            EvaluationError::WrongType {
                what: format!("the operation {operator} does not go with these types"),
            }
        }
        E::ValuesNotComparable(..) => wrong("two values of different types cannot be compared"),
        E::UnsupportedMapIndex(_) | E::UnsupportedListIndex(_) | E::UnsupportedIndex(..) => {
            wrong("a field is read of something that has no such fields")
        }
        _ => wrong("an operator or a field does not go with the type of a value (null, text, number, list?)"),
    }
}
