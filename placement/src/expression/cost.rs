//! Cost: how many steps an evaluation could take, by the sizes of what it is given.
//!
//! In: a tree, values. Out: a number that is no smaller than what the interpreter does. Never: looks at a value's content.

use kube_cel::cel::IdedExpr;
use kube_cel::cel::common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr, LiteralValue};

use super::functions::{ADD, CONDITIONAL, Gives, INDEX, WITH_PATTERN, gives, is_operator};
use super::values::{Extent, Values};

/// A step takes 0.1 to 0.5 µs: so this is a quarter of a second at worst, and a thousand objects of usual size with
/// expressions of usual length are as much together.
pub(super) const MAX_STEPS: u64 = 500_000;
/// What the interpreter copies in the time of a step.
const BYTES_PER_STEP: u64 = 16;
/// A pattern is compiled each time: some 100 µs.
const PATTERN: u64 = 1_000;
/// The size of a number, a boolean, a moment.
const SMALL: Extent = Extent { longest: 0, size: 1 };

impl Extent {
    fn and(self, other: Self) -> Self {
        Self {
            longest: self.longest.saturating_add(other.longest),
            size: self.size.saturating_add(other.size),
        }
    }

    fn or(self, other: Self) -> Self {
        Self { longest: self.longest.max(other.longest), size: self.size.max(other.size) }
    }

    fn copying(self) -> u64 {
        self.size / BYTES_PER_STEP
    }
}

/// The most steps that it could take.
pub(super) fn steps(root: &IdedExpr, values: &Values) -> u64 {
    let mut estimate = Estimate { values, bound: Vec::new(), steps: 0, times: 1 };
    let result = estimate.of(root);
    estimate.take(result.copying());
    estimate.steps
}

struct Estimate<'a> {
    values: &'a Values,
    /// What macros bind, innermost last.
    bound: Vec<(&'a str, Extent)>,
    steps: u64,
    /// How often what is looked at now is evaluated.
    times: u64,
}

impl<'a> Estimate<'a> {
    fn take(&mut self, steps: u64) {
        self.steps = self.steps.saturating_add(steps.saturating_mul(self.times));
    }

    /// Counts the steps, and gives the size of the result.
    fn of(&mut self, expression: &'a IdedExpr) -> Extent {
        self.take(1);
        match &expression.expr {
            Expr::Literal(LiteralValue::String(text)) => {
                Extent { longest: 0, size: 1 + text.inner().len() as u64 }
            }
            Expr::Literal(LiteralValue::Bytes(bytes)) => {
                Extent { longest: 0, size: 1 + bytes.inner().len() as u64 }
            }
            Expr::Literal(_) | Expr::Struct(_) | Expr::Unspecified => SMALL,
            Expr::Ident(name) => match self.bound.iter().rev().find(|(bound, _)| bound == name) {
                Some((_, extent)) => *extent,
                None => self.values.extent(name),
            },
            Expr::Select(select) => {
                self.of(&select.operand);
                SMALL
            }
            Expr::List(list) => self.all(list.elements.iter(), list.elements.len()),
            Expr::Map(map) => {
                let parts = map.entries.iter().flat_map(|entry| match &entry.expr {
                    EntryExpr::MapEntry(entry) => [Some(&entry.key), Some(&entry.value)],
                    EntryExpr::StructField(field) => [Some(&field.value), None],
                });
                self.all(parts.flatten(), map.entries.len())
            }
            Expr::Call(call) => self.call(call),
            Expr::Comprehension(each) => self.each(each),
        }
    }

    /// A literal list or map: its items are copied into it.
    fn all(&mut self, items: impl Iterator<Item = &'a IdedExpr>, count: usize) -> Extent {
        let mut whole = Extent { longest: count as u64, size: 1 };
        for item in items {
            let extent = self.of(item);
            self.take(extent.copying());
            whole = Extent {
                longest: whole.longest.max(extent.longest),
                size: whole.size.saturating_add(extent.size),
            };
        }
        whole
    }

    fn call(&mut self, call: &'a CallExpr) -> Extent {
        let name = call.func_name.as_str();
        let target = call.target.as_ref().map(|target| self.of(target)).unwrap_or_default();
        let arguments: Vec<Extent> = call.args.iter().map(|argument| self.of(argument)).collect();
        let given = arguments.iter().fold(target, |sum, argument| sum.and(*argument));
        match name {
            // The interpreter borrows what it reads from, if it is a variable.
            INDEX => return arguments.first().copied().unwrap_or_default(),
            CONDITIONAL => return arguments[1..].iter().fold(SMALL, |most, branch| most.or(*branch)),
            _ => {}
        }
        self.take(given.copying());
        if WITH_PATTERN.contains(&name) {
            self.take(PATTERN);
        }
        match gives(name) {
            _ if name == ADD => given,
            _ if is_operator(name) => SMALL,
            None | Some(Gives::Small) => SMALL,
            Some(Gives::AsMuch) => given,
            Some(Gives::Parts) => Extent { longest: given.size, size: given.size.saturating_mul(2) },
        }
    }

    /// `all`, `exists`, `filter`, `map`: the step once for each item.
    fn each(&mut self, each: &'a ComprehensionExpr) -> Extent {
        let range = self.of(&each.iter_range);
        self.of(&each.accu_init);
        let count = range.longest.max(1);
        // Items are copied one by one: together, the whole.
        self.take(range.copying());
        let item = Extent { longest: range.longest, size: range.size / count + 1 };
        let outer = self.times;
        self.times = outer.saturating_mul(count);
        self.bound.extend([(each.accu_var.as_str(), Extent::default()), (each.iter_var.as_str(), item)]);
        self.of(&each.loop_cond);
        let step = self.of(&each.loop_step);
        self.bound.truncate(self.bound.len() - 2);
        let collects = matches!(each.accu_init.expr, Expr::List(_));
        let result = match collects {
            true => Extent {
                longest: count.max(step.longest),
                size: count.saturating_mul(step.size.saturating_add(1)),
            },
            false => SMALL,
        };
        // What was collected so far is copied for each further item, three times.
        self.take(result.copying().saturating_mul(3) + 2);
        self.times = outer;
        result
    }
}
