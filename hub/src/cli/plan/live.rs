//! What clusters say to a change, in lines.
//!
//! In: a [`Change`]. Out: for each cluster that was asked a line, and one for each field that would differ.
//! Never: leaves out a cluster that gave no answer, or an object that a cluster would refuse.

use nave_spoke::target::ask::answers::{DiffAnswer, DiffState, ObjectDiff};

use super::super::drift::shown;
use super::super::output::Style;
use super::super::status::count;
use crate::planning::live::LivePlan;
use crate::planning::view::Change;

/// Fields of a cluster that are shown where there are more.
const FIELDS: usize = 20;

/// A line, and how deep it stands.
pub type Line = (usize, String);

/// The lines.
pub fn lines(change: &Change) -> Vec<Line> {
    let mut lines = Vec::new();
    for LivePlan { cluster, answer, truncated, problem } in &change.live {
        if let Some(problem) = problem {
            lines.push((0, format!("on {cluster}: not compared: {problem}")));
        }
        let Some(DiffAnswer { objects, equal, differing }) = answer else { continue };
        let equal = format!("{equal} of {}", count(*objects, "object", "objects"));
        lines.push((0, format!("on {cluster}: {equal} would stay as they are")));
        let fields: Vec<String> = differing.iter().flat_map(fields).collect();
        lines.extend(fields.iter().take(FIELDS).map(|field| (1, field.clone())));
        match fields.len().saturating_sub(FIELDS) {
            0 if *truncated => lines.push((1, "… and more than fits an answer".to_owned())),
            0 => {}
            more => lines.push((1, format!("… {more} more"))),
        }
    }
    if change.not_asked > 0 {
        let clusters = count(change.not_asked, "cluster", "clusters");
        lines.push((
            0,
            format!("not asked: {clusters}, which are offline or more than are asked of one change"),
        ));
    }
    lines
}

/// A line for each field of an object.
fn fields(diff: &ObjectDiff) -> Vec<String> {
    let object = &diff.object;
    match diff.state {
        DiffState::Absent => vec![format!("+ {object}")],
        DiffState::Unknown => {
            vec![format!("! {object}: {}", diff.problem.as_deref().unwrap_or("it could not be compared"))]
        }
        DiffState::Differs => {
            let field = |change: &nave_spoke::target::ask::changes::Change| {
                let side = |value| shown(value, Style::default());
                let manager = change.manager.as_ref().map(|manager| format!(", which {manager} owns"));
                let (live, wanted) = (side(change.live.as_ref()), side(change.wanted.as_ref()));
                format!("~ {object} {}: {live} → {wanted}{}", change.path, manager.unwrap_or_default())
            };
            diff.changes.iter().map(field).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_cluster_has_its_lines_and_none_is_left_out() {
        let object = json!({"kind": "ConfigMap", "namespace": "web", "name": "a"});
        let field = |n: usize| json!({"op": "replace", "path": format!("/data/{n}"), "live": "1", "wanted": "2", "manager": "kubectl"});
        let differs =
            json!({"object": object, "state": "Differs", "changes": (0..21).map(field).collect::<Vec<_>>()});
        let refused = json!({"object": object, "state": "Unknown", "problem": "admission webhook says no"});
        let live = json!([
            {"cluster": "a", "answer": {"objects": 3, "equal": 1, "differing": [{"object": object, "state": "Absent"}, refused]}},
            {"cluster": "b", "answer": {"objects": 1, "equal": 0, "differing": [differs]}, "truncated": true},
            {"cluster": "c", "problem": "slow"},
        ]);
        let live = serde_json::from_value(live).expect("the shape");
        let lines = lines(&Change { live, not_asked: 2, ..Change::default() });
        let texts: Vec<&str> = lines.iter().map(|(_, text)| &**text).collect();
        let first = [
            "on a: 1 of 3 objects would stay as they are",
            "+ ConfigMap web/a",
            "! ConfigMap web/a: admission webhook says no",
        ];
        assert_eq!(texts[..3], first);
        assert_eq!(texts[4], "~ ConfigMap web/a /data/0: 1 → 2, which kubectl owns");
        let last = [
            "… 1 more",
            "on c: not compared: slow",
            "not asked: 2 clusters, which are offline or more than are asked of one change",
        ];
        assert_eq!(texts[texts.len() - 3..], last);
    }
}
