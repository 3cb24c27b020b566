//! Read: text becomes a syntax tree, if it is short enough to be parsed at all.
//!
//! In: text. Out: a tree whose depth is bounded by the number of tokens. Never: gives the parser what could overflow it.

use kube_cel::cel::IdedExpr;
use kube_cel::cel::parser::Parser;

/// Longer conditions are programs.
const MAX_BYTES: usize = 2048;
/// A word, a number or any other character that is not white space counts as one, inside of quotes too. A chain of
/// `.a` or `+a` is a tree half as deep, on which the parser recurses.
const MAX_TOKENS: usize = 600;
/// Brackets within brackets, and conditions within conditions.
const MAX_BRACKETS: u16 = 24;

/// Without optimization, evaluation takes up to 64 KiB a level and has up to 64 levels, and the parser less: 4 MiB, and as
/// much again four times. It is reserved, and used only as far as needed.
const STACK: usize = 16 << 20;

/// Why an expression is refused. Closed; says how to mend it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExpressionError {
    /// Nothing is there.
    #[error("the expression is empty; write a condition, e.g. object.status.phase == \"Ready\"")]
    Empty,
    /// Too many bytes.
    #[error("the expression has {bytes} bytes, {MAX_BYTES} are allowed; split it or say less")]
    TooLong {
        /// How many.
        bytes: usize,
    },
    /// Too many words and signs.
    #[error("the expression has {tokens} words and signs, {MAX_TOKENS} are allowed; split it or say less")]
    TooManyTokens {
        /// How many.
        tokens: usize,
    },
    /// It is no CEL.
    #[error("{line}:{column} of the expression: {message}")]
    Syntax {
        /// Line in the expression, from 1.
        line: usize,
        /// Column in the expression, from 1.
        column: usize,
        /// What the parser says.
        message: String,
    },
    /// A variable that is not there.
    #[error("{name} is no known variable{suggestion}; valid is {}", .known.join(", "))]
    UnknownVariable {
        /// Its name.
        name: String,
        /// `; did you mean …?`, or nothing.
        suggestion: String,
        /// Those that are.
        known: Vec<String>,
    },
    /// A function that is not there.
    #[error("{name}() is no known function{suggestion}")]
    UnknownFunction {
        /// Its name.
        name: String,
        /// `; did you mean …?`, or nothing.
        suggestion: String,
    },
    /// Operations of operations of operations.
    #[error("the expression is {depth} levels deep, {allowed} are allowed; take it apart")]
    TooDeep {
        /// How many.
        depth: usize,
        /// How many may be.
        allowed: usize,
    },
    /// all(), exists(), filter() or map() within each other.
    #[error("all, exists, filter and map stand {depth} deep in each other, {allowed} are allowed")]
    TooNested {
        /// How deep.
        depth: usize,
        /// How deep they may.
        allowed: usize,
    },
    /// A long literal.
    #[error("a list or map in the expression has {items} items, {allowed} are allowed")]
    TooManyItems {
        /// How many.
        items: usize,
        /// How many may be.
        allowed: usize,
    },
    /// A pattern that cannot be read.
    #[error("{message}")]
    Pattern {
        /// What is wrong with it.
        message: String,
    },
    /// Something that CEL has and this does not.
    #[error("{what}")]
    Unsupported {
        /// What, and what to write instead.
        what: String,
    },
}

/// Reads it, and goes on with the tree where there is room for it, however deep it is.
pub(super) fn read<T: Send>(
    text: &str,
    then: impl FnOnce(IdedExpr) -> Result<T, ExpressionError> + Send,
) -> Result<T, ExpressionError> {
    short(text)?;
    let unsupported = |what: &str| ExpressionError::Unsupported { what: what.to_owned() };
    match with_room(|| then(parse(text)?)) {
        Ok(Ok(read)) => read,
        // The parser is not known to panic; what it panics at is no expression.
        Ok(Err(_)) => Err(unsupported("it is no CEL expression")),
        Err(_) => Err(unsupported("there is no thread to read it in; try again")),
    }
}

/// Runs on a stack that is large enough for every tree that is not refused.
pub(super) fn with_room<T: Send>(work: impl FnOnce() -> T + Send) -> std::io::Result<std::thread::Result<T>> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("expression".to_owned()).stack_size(STACK);
        Ok(thread.spawn_scoped(scope, work)?.join())
    })
}

fn short(text: &str) -> Result<(), ExpressionError> {
    if text.trim().is_empty() {
        return Err(ExpressionError::Empty);
    }
    if text.len() > MAX_BYTES {
        return Err(ExpressionError::TooLong { bytes: text.len() });
    }
    let tokens = tokens(text);
    if tokens > MAX_TOKENS {
        return Err(ExpressionError::TooManyTokens { tokens });
    }
    Ok(())
}

fn parse(text: &str) -> Result<IdedExpr, ExpressionError> {
    let place = |n: isize| usize::try_from(n).unwrap_or(0).max(1);
    Parser::new().max_recursion_depth(MAX_BRACKETS).parse(text).map_err(|errors| {
        let is_deep = |message: &str| message.contains("Recursion limit");
        // What the parser met first is said, not what it could make of the rest.
        let first = errors
            .errors
            .iter()
            .find(|error| is_deep(&error.msg))
            .or_else(|| errors.errors.iter().find(|error| error.msg.starts_with(SYNTAX)))
            .or(errors.errors.first());
        let (line, column) = first.map_or((1, 1), |first| (place(first.pos.0), place(first.pos.1)));
        let message = match first {
            Some(first) if is_deep(&first.msg) => {
                format!("it is nested deeper than {}; take it apart", MAX_BRACKETS + 1)
            }
            Some(_) if is_lone_equals(text, line, column) => "write == to compare".to_owned(),
            Some(first) => said(&first.msg, column),
            None => NONE.to_owned(),
        };
        ExpressionError::Syntax { line, column, message }
    })
}

/// Whether there is a `=` as other languages compare or assign.
fn is_lone_equals(text: &str, line: usize, column: usize) -> bool {
    let met: String =
        text.lines().nth(line - 1).unwrap_or_default().chars().skip(column - 1).take(2).collect();
    met.starts_with('=') && met != "=="
}

/// How the parser begins what it says of the text, not of the tree.
const SYNTAX: &str = "Syntax error: ";
/// Where no more is known.
const NONE: &str = "it is no CEL expression";

/// What the parser says, without its inner names and what it would take instead.
fn said(message: &str, column: usize) -> String {
    let line = message.lines().next().unwrap_or_default().trim();
    let Some(syntax) = line.strip_prefix(SYNTAX) else {
        // Names of its tree stand in backticks, errors of its language behind a colon.
        let words = line.split(':').next().unwrap_or_default();
        let is_inner = words.contains('`') || words.starts_with("Incomplete") || words.contains("UNKNOWN");
        return if is_inner || words.is_empty() { NONE.to_owned() } else { words.to_owned() };
    };
    let met = syntax.split(" expecting ").next().unwrap_or_default();
    if met.contains("<EOF>") {
        return "it ends too early".to_owned();
    }
    format!("what stands at column {column} is not expected there")
}

fn tokens(text: &str) -> usize {
    let mut count = 0;
    let mut in_word = false;
    for byte in text.bytes() {
        let is_word = byte.is_ascii_alphanumeric() || byte == b'_';
        if !(byte.is_ascii_whitespace() || is_word && in_word) {
            count += 1;
        }
        in_word = is_word;
    }
    count
}
