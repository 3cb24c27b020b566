//! Objects: live objects of one kind, as the table that the API server makes for kubectl, or whole.
//!
//! In: a kind, a namespace, a name, labels, a limit. Out: [`ObjectsAnswer`].
//! Never: more than a page in memory beside the answer; the values of Secrets.

use kube::api::{GetParams, ListParams};
use nave_placement::render::SECRET;
use serde_json::Value;

use super::super::marks::MANAGER;
use super::super::problem::Problem;
use super::super::shared::{Shared, text};
use super::super::wire::path;
use super::kind::Meant;
use super::{accepting, is_secret};
use crate::target::ask::answers::{Column, ObjectsAnswer, Row};
use crate::target::ask::managers::managers;
use crate::target::ask::redact::redact;
use crate::target::ask::{Answer, Asker, Budget, HIDDEN, MOST_OBJECTS, Objects, Refusal};

/// What kubectl asks for.
const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io";
/// Whole objects a page: with managed fields some 5 KiB each, so that a page is as large as an answer.
const PAGE: usize = 100;

impl Shared {
    pub(super) async fn live_objects(&self, asked: &Objects, asker: &Asker) -> Result<Answer, Refusal> {
        let meant = self.meant(&asked.kind).await?;
        if is_secret(&meant.resource) {
            Refusal::of_secrets(asker)?;
        }
        let group = &meant.resource.group;
        let suffix = if group.is_empty() { String::new() } else { format!(".{group}") };
        let mut collected = Collected {
            answer: ObjectsAnswer {
                api_version: meant.resource.api_version.clone(),
                kind: meant.resource.kind.clone(),
                resource: meant.resource.kind.to_ascii_lowercase() + &suffix,
                namespaced: meant.namespaced,
                ..ObjectsAnswer::default()
            },
            budget: Budget::default(),
            is_named: !asked.name.is_empty(),
            limit: if asked.limit == 0 { MOST_OBJECTS } else { asked.limit.min(MOST_OBJECTS) },
        };
        let done = if asked.name.is_empty() || (asked.namespace.is_empty() && meant.namespaced) {
            self.list_into(&meant, asked, &mut collected).await
        } else {
            self.get_into(&meant, asked, &mut collected).await
        };
        done.map_err(|problem| Refusal::from(problem.error))?;
        collected.budget.answer(&collected.answer)
    }

    /// One object. That it is not there is an answer without rows: other clusters may have it.
    async fn get_into(&self, meant: &Meant, asked: &Objects, into: &mut Collected) -> Result<(), Problem> {
        let place = meant.place(&asked.namespace);
        let request = path(&meant.resource, place).get(&asked.name, &GetParams::default());
        let request = if asked.whole { request } else { accepting(request, TABLE) };
        match self.wire.send(request).await {
            Ok(answer) if asked.whole => drop(into.item(meant, answer.body)),
            Ok(answer) => drop(into.table(answer.body)),
            Err(problem) if problem.is_absent() => {}
            Err(problem) => return Err(problem),
        }
        Ok(())
    }

    /// All that match, page by page, until the answer is full.
    async fn list_into(&self, meant: &Meant, asked: &Objects, into: &mut Collected) -> Result<(), Problem> {
        let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        let mut params = ListParams {
            label_selector: some(&asked.selector),
            // A name in all namespaces.
            field_selector: some(&asked.name).map(|name| format!("metadata.name={name}")),
            ..ListParams::default()
        };
        loop {
            let left = into.limit - into.len();
            params.limit = Some(u32::try_from(left.min(PAGE)).unwrap_or(u32::MAX));
            let request = path(&meant.resource, meant.place(&asked.namespace)).list(&params);
            let request = if asked.whole { request } else { accepting(request, TABLE) };
            let mut page = self.wire.send(request).await?.body;
            let more = text(&page, "/metadata/continue").to_owned();
            let took_all = if asked.whole {
                let items = page.get_mut("items").map(Value::take);
                let items =
                    items.and_then(|items| if let Value::Array(items) = items { Some(items) } else { None });
                items.unwrap_or_default().into_iter().all(|item| into.item(meant, item))
            } else {
                into.table(page)
            };
            if more.is_empty() || !took_all {
                return Ok(());
            }
            if into.len() >= into.limit {
                into.budget.truncated = true;
                return Ok(());
            }
            params.continue_token = Some(more);
        }
    }
}

struct Collected {
    answer: ObjectsAnswer,
    budget: Budget,
    /// One object is asked for: who manages it is worth saying.
    is_named: bool,
    limit: usize,
}

impl Collected {
    fn len(&self) -> usize {
        self.answer.rows.len() + self.answer.items.len()
    }

    fn item(&mut self, meant: &Meant, mut object: Value) -> bool {
        // The items of a list do not repeat what the list is of; and what it is decides what may be shown.
        if let Some(fields) = object.as_object_mut() {
            fields.insert("apiVersion".into(), meant.resource.api_version.clone().into());
            fields.insert("kind".into(), meant.resource.kind.clone().into());
        }
        let others = if self.is_named { managers(&object, MANAGER) } else { Vec::new() };
        redact(&mut object);
        let fits = self.len() < self.limit && self.budget.takes(&object) && self.budget.takes(&others);
        if fits {
            self.answer.items.push(object);
            self.answer.managers.extend(self.is_named.then_some(others));
        }
        self.budget.truncated |= !fits;
        fits
    }

    fn table(&mut self, mut table: Value) -> bool {
        if self.answer.columns.is_empty() {
            let columns = table.get("columnDefinitions").and_then(Value::as_array);
            let column = |c: &Value| Column {
                name: text(c, "/name").to_owned(),
                wide: c.get("priority").and_then(Value::as_i64).unwrap_or(0) > 0,
            };
            self.answer.columns = columns.into_iter().flatten().map(column).collect();
        }
        let Some(Value::Array(rows)) = table.get_mut("rows").map(Value::take) else { return true };
        rows.into_iter().all(|mut row| {
            let marked =
                row.pointer("/object/metadata/annotations").is_some_and(|all| all.get(SECRET).is_some());
            let mut cells = row.get_mut("cells").map(Value::take);
            if let Some(Value::Array(cells)) = cells.as_mut().filter(|_| marked) {
                // The first is its name; a definition may show any field in the others.
                cells.iter_mut().skip(1).for_each(|cell| *cell = HIDDEN.into());
            }
            let row = Row {
                namespace: text(&row, "/object/metadata/namespace").to_owned(),
                name: text(&row, "/object/metadata/name").to_owned(),
                cells: cells
                    .and_then(|c| if let Value::Array(cells) = c { Some(cells) } else { None })
                    .unwrap_or_default(),
            };
            let fits = self.len() < self.limit && self.budget.takes(&row);
            if fits {
                self.answer.rows.push(row);
            }
            self.budget.truncated |= !fits;
            fits
        })
    }
}
