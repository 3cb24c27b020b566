//! Parts: what an expression reads, and the conditions that it is made of.
//!
//! In: a strict tree. Out: paths such as `facts.kubernetes.minor`; the operands of `&&`, `||`, `!` and `?:`.
//! Never: evaluates anything.

use std::collections::BTreeSet;

use kube_cel::cel::IdedExpr;
use kube_cel::cel::common::ast::{EntryExpr, Expr, LiteralValue};

use super::functions::{CONDITIONAL, INDEX};

/// The fields that are read of variables, each as far as it is written out, variable first.
pub(super) fn paths(root: &IdedExpr) -> BTreeSet<Vec<String>> {
    let mut walk = Walk { bound: Vec::new(), found: BTreeSet::new() };
    walk.expression(root);
    walk.found
}

struct Walk<'a> {
    /// Names that macros bind, innermost last.
    bound: Vec<&'a str>,
    found: BTreeSet<Vec<String>>,
}

impl<'a> Walk<'a> {
    fn expression(&mut self, expression: &'a IdedExpr) {
        if let Some(path) = self.chain(expression) {
            self.found.insert(path);
            return;
        }
        match &expression.expr {
            Expr::Select(select) => self.expression(&select.operand),
            Expr::Call(call) => {
                call.target.iter().for_each(|target| self.expression(target));
                call.args.iter().for_each(|argument| self.expression(argument));
            }
            Expr::List(list) => list.elements.iter().for_each(|item| self.expression(item)),
            Expr::Map(map) => map.entries.iter().for_each(|entry| {
                if let EntryExpr::MapEntry(entry) = &entry.expr {
                    self.expression(&entry.key);
                    self.expression(&entry.value);
                }
            }),
            Expr::Comprehension(each) => {
                self.expression(&each.iter_range);
                self.expression(&each.accu_init);
                let before = self.bound.len();
                self.bound.extend([each.accu_var.as_str(), each.iter_var.as_str()]);
                self.bound.extend(each.iter_var2.as_deref());
                for part in [&each.loop_cond, &each.loop_step, &each.result] {
                    self.expression(part);
                }
                self.bound.truncate(before);
            }
            Expr::Ident(_) | Expr::Literal(_) | Expr::Struct(_) | Expr::Unspecified => {}
        }
    }

    /// `a["b"]["c"]`, also where `has()` asks for the last one; `None` for what begins otherwise.
    fn chain(&self, expression: &IdedExpr) -> Option<Vec<String>> {
        match &expression.expr {
            Expr::Ident(name) if !self.bound.contains(&name.as_str()) => Some(vec![name.clone()]),
            Expr::Select(select) => {
                let mut path = self.chain(&select.operand)?;
                path.push(select.field.clone());
                Some(path)
            }
            Expr::Call(call) if call.func_name == INDEX && call.target.is_none() => {
                let [of, field] = call.args.as_slice() else { return None };
                let Expr::Literal(LiteralValue::String(field)) = &field.expr else { return None };
                let mut path = self.chain(of)?;
                path.push(field.inner().to_owned());
                Some(path)
            }
            _ => None,
        }
    }
}

/// The expression and, of its logical operators, every operand: each is a condition for itself.
pub(super) fn conditions(root: &IdedExpr) -> Vec<&IdedExpr> {
    let mut found = vec![root];
    if let Expr::Call(call) = &root.expr
        && ["_&&_", "_||_", "!_", CONDITIONAL].contains(&call.func_name.as_str())
    {
        found.extend(call.args.iter().flat_map(conditions));
    }
    found
}
