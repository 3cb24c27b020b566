//! Functions: those that an expression may call, and how large what they give can be.
//!
//! In: nothing. Out: a table. Never: a function whose result grows faster than what it is given (`replace`, `join`,
//! `format`, `lists.range`): without one, only `+` makes anything larger, and `cost` counts that.

/// How large a function's result is, by what it is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gives {
    /// A number, a boolean, a moment.
    Small,
    /// No more than what it was given.
    AsMuch,
    /// As many parts as there were bytes.
    Parts,
}

use Gives::{AsMuch, Parts, Small};

/// By name, sorted. Those of standard CEL, and of Kubernetes' libraries for strings, lists, quantities and versions.
pub(super) const FUNCTIONS: &[(&str, Gives)] = &[
    ("asApproximateFloat", Small),
    ("asInteger", Small),
    ("charAt", Small),
    ("compareTo", Small),
    ("contains", Small),
    ("double", Small),
    ("duration", Small),
    ("endsWith", Small),
    ("find", AsMuch),
    ("first", AsMuch),
    ("getDate", Small),
    ("getDayOfMonth", Small),
    ("getDayOfWeek", Small),
    ("getDayOfYear", Small),
    ("getFullYear", Small),
    ("getHours", Small),
    ("getMilliseconds", Small),
    ("getMinutes", Small),
    ("getMonth", Small),
    ("getSeconds", Small),
    ("indexOf", Small),
    ("int", Small),
    ("isGreaterThan", Small),
    ("isInteger", Small),
    ("isLessThan", Small),
    ("isQuantity", Small),
    ("isSemver", Small),
    ("last", AsMuch),
    ("lastIndexOf", Small),
    ("lowerAscii", AsMuch),
    ("major", Small),
    ("matches", Small),
    ("max", AsMuch),
    ("min", AsMuch),
    ("minor", Small),
    ("patch", Small),
    ("quantity", Small),
    ("semver", Small),
    ("sign", Small),
    ("size", Small),
    ("split", Parts),
    ("startsWith", Small),
    ("string", AsMuch),
    ("substring", AsMuch),
    ("sum", Small),
    ("timestamp", Small),
    ("trim", AsMuch),
    ("upperAscii", AsMuch),
];

/// Functions whose last argument is a pattern.
pub(super) const WITH_PATTERN: [&str; 2] = ["matches", "find"];

/// Operators, as the tree names them. `+` is not among them, since its result grows.
const OPERATORS: &[&str] = &[
    "_?_:_",
    "_&&_",
    "_||_",
    "!_",
    "_-_",
    "_*_",
    "_/_",
    "_%_",
    "_==_",
    "_!=_",
    "_>=_",
    "_<=_",
    "_>_",
    "_<_",
    "-_",
    "@in",
    "@not_strictly_false",
];

/// The element of a list, or the field of a map.
pub(super) const INDEX: &str = "_[_]";
/// Sum, and concatenation.
pub(super) const ADD: &str = "_+_";
/// `c ? a : b`.
pub(super) const CONDITIONAL: &str = "_?_:_";

/// Whether it is an operator.
pub(super) fn is_operator(name: &str) -> bool {
    name == INDEX || name == ADD || OPERATORS.contains(&name)
}

/// What a function gives.
pub(super) fn gives(name: &str) -> Option<Gives> {
    let found = FUNCTIONS.binary_search_by(|(known, _)| known.cmp(&name)).ok()?;
    Some(FUNCTIONS[found].1)
}
