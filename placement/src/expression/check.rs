//! Check: what can be said of a tree without any value.
//!
//! In: a tree, the names that are known. Out: the variables that it uses, or why it is refused; the tree made strict.
//! Never: accepts what the interpreter would panic at.

use std::collections::BTreeSet;

use kube_cel::cel::IdedExpr;
use kube_cel::cel::common::ast::{CallExpr, EntryExpr, Expr, LiteralValue};

use super::ExpressionError;
use super::functions::{FUNCTIONS, INDEX, WITH_PATTERN, gives, is_operator};
use crate::catalog::did_you_mean;

/// A level costs the interpreter some kilobytes of its stack.
const MAX_DEPTH: usize = 64;
/// Two deep over lists of 100 is 10,000 looks; three deep is a million.
const MAX_NESTED: usize = 2;
/// A longer list belongs into the object.
const MAX_ITEMS: usize = 100;
/// Bytes of a compiled pattern: it is compiled whenever it is used.
const MAX_PATTERN_BYTES: usize = 64 << 10;

/// What is said of a tree.
pub(super) struct Checked {
    /// The variables that it uses.
    pub references: BTreeSet<String>,
    /// Its levels.
    pub depth: usize,
}

/// What is said of a tree, or what is wrong with it.
pub(super) fn check(root: &IdedExpr, variables: &[&str]) -> Result<Checked, ExpressionError> {
    let mut walk =
        Walk { variables, bound: Vec::new(), used: BTreeSet::new(), depth: 0, deepest: 0, nested: 0 };
    walk.expression(root)?;
    Ok(Checked { references: walk.used, depth: walk.deepest })
}

struct Walk<'a> {
    variables: &'a [&'a str],
    /// Names that macros bind, innermost last.
    bound: Vec<&'a str>,
    used: BTreeSet<String>,
    depth: usize,
    deepest: usize,
    nested: usize,
}

impl<'a> Walk<'a> {
    fn expression(&mut self, expression: &'a IdedExpr) -> Result<(), ExpressionError> {
        self.depth += 1;
        self.deepest = self.deepest.max(self.depth);
        if self.depth > MAX_DEPTH {
            return Err(ExpressionError::TooDeep { depth: self.depth, allowed: MAX_DEPTH });
        }
        self.one(&expression.expr)?;
        self.depth -= 1;
        Ok(())
    }

    fn one(&mut self, expression: &'a Expr) -> Result<(), ExpressionError> {
        match expression {
            Expr::Literal(_) => Ok(()),
            Expr::Ident(name) => self.name(name),
            Expr::Select(select) => self.expression(&select.operand),
            Expr::Call(call) => self.call(call),
            Expr::List(list) => {
                short_enough(list.elements.len())?;
                list.elements.iter().try_for_each(|item| self.expression(item))
            }
            Expr::Map(map) => {
                short_enough(map.entries.len())?;
                map.entries.iter().try_for_each(|entry| match &entry.expr {
                    EntryExpr::MapEntry(entry) => {
                        self.expression(&entry.key)?;
                        self.expression(&entry.value)
                    }
                    EntryExpr::StructField(_) => Err(message()),
                })
            }
            Expr::Comprehension(each) => {
                self.expression(&each.iter_range)?;
                self.expression(&each.accu_init)?;
                self.nested += 1;
                if self.nested > MAX_NESTED {
                    return Err(ExpressionError::TooNested { depth: self.nested, allowed: MAX_NESTED });
                }
                let before = self.bound.len();
                self.bound.extend([each.accu_var.as_str(), each.iter_var.as_str()]);
                self.bound.extend(each.iter_var2.as_deref());
                self.expression(&each.loop_cond)?;
                self.expression(&each.loop_step)?;
                self.expression(&each.result)?;
                self.bound.truncate(before);
                self.nested -= 1;
                Ok(())
            }
            Expr::Struct(_) | Expr::Unspecified => Err(message()),
        }
    }

    fn name(&mut self, name: &str) -> Result<(), ExpressionError> {
        if self.bound.contains(&name) {
            return Ok(());
        }
        if self.variables.contains(&name) {
            self.used.insert(name.to_owned());
            return Ok(());
        }
        Err(ExpressionError::UnknownVariable {
            name: name.to_owned(),
            suggestion: did_you_mean(name, self.variables.iter().copied()),
            known: self.variables.iter().map(|&known| known.to_owned()).collect(),
        })
    }

    fn call(&mut self, call: &'a CallExpr) -> Result<(), ExpressionError> {
        let name = call.func_name.as_str();
        if !is_operator(name) && gives(name).is_none() {
            let macros = ["all", "exists", "exists_one", "filter", "map", "has"];
            let known = FUNCTIONS.iter().map(|(known, _)| *known).chain(macros);
            let suggestion = match macros.contains(&name) {
                true => ", given like this; write LIST.all(x, CONDITION), has(FIELD)".to_owned(),
                false => did_you_mean(name, known),
            };
            return Err(ExpressionError::UnknownFunction { name: name.to_owned(), suggestion });
        }
        if WITH_PATTERN.contains(&name) {
            pattern(call)?;
        }
        call.target.iter().try_for_each(|target| self.expression(target))?;
        call.args.iter().try_for_each(|argument| self.expression(argument))
    }
}

fn short_enough(items: usize) -> Result<(), ExpressionError> {
    match items > MAX_ITEMS {
        true => Err(ExpressionError::TooManyItems { items, allowed: MAX_ITEMS }),
        false => Ok(()),
    }
}

fn message() -> ExpressionError {
    ExpressionError::Unsupported {
        what: "NAME{…} makes a message, which nothing here has; write a map: {\"key\": 1}".into(),
    }
}

/// A pattern is written out, so that it is known before it is used to be one, and a small one.
fn pattern(call: &CallExpr) -> Result<(), ExpressionError> {
    let refused = |message: String| Err(ExpressionError::Pattern { message });
    let Some(Expr::Literal(LiteralValue::String(text))) = call.args.last().map(|last| &last.expr) else {
        return refused(format!("{}() needs its pattern written out, in quotes", call.func_name));
    };
    let built = regex::RegexBuilder::new(text.inner()).size_limit(MAX_PATTERN_BYTES).build();
    match built {
        Ok(_) => Ok(()),
        Err(regex::Error::CompiledTooBig(_)) => {
            refused(format!("the pattern of {}() is too large; repeat less in it", call.func_name))
        }
        Err(error) => {
            let why = error.to_string();
            let why = why.lines().last().unwrap_or_default().trim().to_owned();
            refused(format!("the pattern of {}() cannot be read: {why}", call.func_name))
        }
    }
}

/// Writes `a.b` as `a["b"]`: the interpreter takes `.b` of what has no fields for `false` instead of an error, and copies
/// the whole of `a` for it.
pub(super) fn strict(expression: IdedExpr) -> IdedExpr {
    let IdedExpr { id, expr } = expression;
    let within = |inner: Box<IdedExpr>| Box::new(strict(*inner));
    let expr = match expr {
        Expr::Select(mut select) if select.test => {
            select.operand = within(select.operand);
            Expr::Select(select)
        }
        Expr::Select(select) => {
            let field = Expr::Literal(LiteralValue::String(select.field.as_str().into()));
            let args = vec![strict(*select.operand), IdedExpr { id, expr: field }];
            Expr::Call(CallExpr { func_name: INDEX.to_owned(), target: None, args })
        }
        Expr::Call(CallExpr { func_name, target, args }) => Expr::Call(CallExpr {
            func_name,
            target: target.map(within),
            args: args.into_iter().map(strict).collect(),
        }),
        Expr::List(mut list) => {
            list.elements = list.elements.into_iter().map(strict).collect();
            Expr::List(list)
        }
        Expr::Map(mut map) => {
            for entry in &mut map.entries {
                if let EntryExpr::MapEntry(entry) = &mut entry.expr {
                    entry.key = strict(std::mem::take(&mut entry.key));
                    entry.value = strict(std::mem::take(&mut entry.value));
                }
            }
            Expr::Map(map)
        }
        Expr::Comprehension(mut each) => {
            for part in [&mut each.iter_range, &mut each.loop_step, &mut each.loop_cond, &mut each.result] {
                *part = strict(std::mem::take(part));
            }
            Expr::Comprehension(each)
        }
        other => other,
    };
    IdedExpr { id, expr }
}
