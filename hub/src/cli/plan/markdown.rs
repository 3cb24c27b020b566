//! A plan as Markdown, for a comment on a pull request.
//!
//! In: a [`PlanView`]. Out: a heading, a table of apps, a fold for each app. Never: more than [`LIMIT`] characters; lets text of a
//! catalog be taken for Markdown or HTML.

use std::fmt::Write as _;

use super::live::lines;
use super::text::{
    by_reason, catalog, clusters, fields, head, held, leaving, moves, object, said, stays, wave,
};
use crate::planning::view::{AppPlan, Change, PlanView};

/// Forges take some 65,000 characters; scripts put a few around it.
pub const LIMIT: usize = 60_000;
/// By this a script finds its earlier comment.
const MARK: &str = "<!-- nave-plan -->";
/// Holds, and problems, that are named.
const NAMED: usize = 20;
/// Rows of the table.
const ROWS: usize = 200;
/// What is left for the note that something was cut.
const NOTE: usize = 300;

/// The Markdown.
pub fn markdown(view: &PlanView) -> String {
    let mut page = format!("{MARK}\n## {}\n", escaped(&head(view)));
    stops(&mut page, view);
    catalogs(&mut page, view);
    table(&mut page, &view.apps);
    let mut page = cut(page, LIMIT - NOTE);
    let (mut without_diffs, mut left_out) = (0, 0);
    for app in &view.apps {
        let room = LIMIT - NOTE - page.chars().count();
        let (whole, short) = (fold(app, true), fold(app, false));
        if whole.chars().count() <= room {
            page.push_str(&whole);
        } else if short.chars().count() <= room {
            page.push_str(&short);
            without_diffs += 1;
        } else {
            left_out += 1;
        }
    }
    if without_diffs + left_out > 0 {
        let _ = write!(
            page,
            "\nNot all of it fits a comment: {without_diffs} apps are shown without diffs, {left_out} not at all. `hub plan` shows everything.\n"
        );
    }
    page
}

/// What would stop it, and what is wrong.
fn stops(page: &mut String, view: &PlanView) {
    if let Some(obstacle) = &view.obstacle {
        let _ = writeln!(page, "\n{}", escaped(obstacle));
    }
    for hold in view.holds.iter().take(NAMED) {
        let allow: Vec<String> = hold.allow.iter().map(|allow| with_code(allow)).collect();
        let _ = write!(page, "\n- **{}**\n  - to let it go: {}", escaped(&held(hold)), allow.join(", or "));
    }
    for problem in view.problems.iter().take(NAMED) {
        let _ = write!(page, "\n- {}", escaped(&problem.to_string()));
    }
    let more = view.holds.len().saturating_sub(NAMED) + view.problems.len().saturating_sub(NAMED);
    if more > 0 {
        let _ = write!(page, "\n- and {more} more");
    }
    if !(view.holds.is_empty() && view.problems.is_empty()) {
        page.push('\n');
    }
}

/// What is said of tenants' catalogs otherwise than before.
fn catalogs(page: &mut String, view: &PlanView) {
    for plan in view.catalogs.iter().take(NAMED) {
        let _ = write!(page, "\n- {}", escaped(&catalog(plan)));
        for line in said(plan) {
            let _ = write!(page, "\n  - {}", escaped(&line));
        }
    }
    let more = view.catalogs.len().saturating_sub(NAMED);
    if more > 0 {
        let _ = write!(page, "\n- and {more} more catalogs");
    }
    if !view.catalogs.is_empty() {
        page.push('\n');
    }
}

fn table(page: &mut String, apps: &[AppPlan]) {
    if apps.is_empty() {
        return;
    }
    page.push_str("\n| app | gained | lost | changed | how |\n|---|---:|---:|---:|---|\n");
    for app in apps.iter().take(ROWS) {
        let changed: usize = app.changed.iter().map(|change| change.clusters.len()).sum();
        let waves: Vec<String> =
            app.waves.iter().map(|wave| format!("{} ({})", wave.name, wave.clusters.len())).collect();
        let how = moves(app).map_or_else(|| waves.join(", "), str::to_owned);
        let held = if app.holds.is_empty() { "" } else { "**held**, " };
        let _ = writeln!(
            page,
            "| {} | {} | {} | {changed} | {held}{} |",
            escaped(&app.app.to_string()),
            app.gained.len(),
            app.lost.len(),
            escaped(&how)
        );
    }
    if apps.len() > ROWS {
        let _ = writeln!(page, "\n{} more apps.", apps.len() - ROWS);
    }
}

/// What changes of an app.
fn fold(app: &AppPlan, with_diffs: bool) -> String {
    let mut page = format!("\n<details><summary>{}</summary>\n", escaped(&app.app.to_string()));
    let line = |page: &mut String, text: &str| {
        let _ = write!(page, "\n- {}", escaped(text));
    };
    for (why, moved) in by_reason(&app.gained) {
        line(&mut page, &format!("{} gained: {why}", clusters(&moved)));
    }
    for (why, moved) in by_reason(&app.lost) {
        line(&mut page, &format!("{} lost: {why}", clusters(&moved)));
    }
    if !app.stays.is_empty() {
        line(&mut page, &stays(app));
    }
    if !app.leaving.is_empty() {
        line(&mut page, &leaving(app));
    }
    for planned in &app.waves {
        line(&mut page, &wave(planned));
    }
    for wait in &app.waits {
        let said = with_code(&wait.message);
        let _ = write!(page, "\n- waits: {}: {said}", escaped(&clusters(&wait.clusters)));
    }
    page.push('\n');
    for change in app.changed.iter().chain(&app.installed).chain(&app.removed) {
        let word = match (&change.from, &change.to) {
            (Some(_), Some(_)) => "changed",
            (None, _) => "what comes",
            (_, None) => "what goes",
        };
        let _ = writeln!(page, "\n**{}, {word}**\n", escaped(&clusters(&change.clusters)));
        objects(&mut page, change, with_diffs);
    }
    page.push_str("\n</details>\n");
    page
}

fn objects(page: &mut String, change: &Change, with_diffs: bool) {
    for field in fields(change) {
        let _ = writeln!(page, "- {}", escaped(&field));
    }
    for plan in &change.objects {
        let _ = writeln!(page, "- {}", escaped(&object(plan)));
        if with_diffs && !plan.diff.is_empty() {
            let fence = fence(&plan.diff);
            let _ = writeln!(page, "\n{fence}diff\n{}{fence}\n", plan.diff);
        }
    }
    for (depth, line) in lines(change) {
        let _ = writeln!(page, "{:1$}- {2}", "", depth * 2, escaped(&line));
    }
}

/// A fence that is longer than any in the text.
fn fence(text: &str) -> String {
    let (mut longest, mut run) = (0, 0);
    for character in text.chars() {
        run = if character == '`' { run + 1 } else { 0 };
        longest = longest.max(run);
    }
    "`".repeat(3.max(longest + 1))
}

/// Text in which what stands between backticks is to be typed as it is.
fn with_code(text: &str) -> String {
    let is_code = |at: usize| at % 2 == 1;
    let part = |(at, part): (usize, &str)| match is_code(at) {
        true => format!("`{}`", part.replace(char::is_control, " ")),
        false => escaped(part),
    };
    text.split('`').enumerate().map(part).collect()
}

/// Text that is nothing but text.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            // `@` would call people.
            '@' => escaped.push_str("&#64;"),
            '\\' | '*' | '_' | '[' | ']' | '|' | '#' | '~' | '!' => {
                escaped.push('\\');
                escaped.push(character);
            }
            character if character.is_control() => escaped.push(' '),
            character => escaped.push(character),
        }
    }
    escaped
}

/// The first characters, cut at a line.
fn cut(text: String, limit: usize) -> String {
    match text.char_indices().nth(limit) {
        None => text,
        Some((end, _)) => text[..text[..end].rfind('\n').map_or(0, |at| at + 1)].to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use nave_placement::catalog::CommitId;

    use super::*;
    use crate::planning::view::{Moved, Moves, ObjectChange, ObjectPlan, Summary};

    fn app(name: &str, diff: &str) -> AppPlan {
        let object = ObjectPlan {
            change: ObjectChange::Changed,
            group: String::new(),
            kind: "ConfigMap".into(),
            namespace: "web".into(),
            name: "a_b".into(),
            diff: diff.to_owned(),
        };
        let cluster: nave_placement::ClusterName = "c-1".parse().expect("a name");
        AppPlan {
            app: name.parse().expect("a name"),
            gained: vec![Moved { cluster: cluster.clone(), why: Vec::new() }],
            lost: Vec::new(),
            stays: Vec::new(),
            leaving: Vec::new(),
            changed: vec![Change { clusters: vec![cluster], objects: vec![object], ..Change::default() }],
            installed: Vec::new(),
            removed: Vec::new(),
            moves: Moves::AtOnce,
            rollout: None,
            waves: Vec::new(),
            waits: Vec::new(),
            holds: Vec::new(),
        }
    }

    #[test]
    fn what_is_to_be_typed_is_not_escaped() {
        let text = "`Nave-Allow-Removal: *=3` in a *trailer*";
        assert_eq!(with_code(text), "`Nave-Allow-Removal: *=3` in a \\*trailer\\*");
    }

    fn view(apps: Vec<AppPlan>) -> PlanView {
        PlanView {
            base: CommitId("0123456789".into()),
            commit: None,
            obstacle: None,
            summary: Summary { changes: 2, gained: 1, changed: 1, clusters: 1, ..Summary::default() },
            holds: Vec::new(),
            catalogs: Vec::new(),
            apps,
            problems: Vec::new(),
        }
    }

    #[test]
    fn it_has_a_heading_a_table_and_a_fold_with_diffs() {
        let page = markdown(&view(vec![app("web", "-a\n+b ```` <b>\n")]));
        for expected in [
            "<!-- nave-plan -->\n## plan of these files against 01234567: 2 entries change on 1 cluster (1 gained, 1 changed)\n",
            "| web | 1 | 0 | 1 | at once, on all of these clusters |",
            "<details><summary>web</summary>",
            "- \\~ ConfigMap web/a\\_b",
            "`````diff\n-a\n+b ```` <b>\n`````",
        ] {
            assert!(page.contains(expected), "{expected}: {page}");
        }
    }

    #[test]
    fn it_is_never_longer_than_a_comment_and_says_what_was_cut() {
        let long = "+x\n".repeat(11_000);
        let apps: Vec<AppPlan> =
            (0..1_500).map(|n| app(&format!("app-{n}"), if n < 3 { &long } else { "" })).collect();
        let page = markdown(&view(apps));
        assert!(page.chars().count() <= LIMIT, "{}", page.chars().count());
        assert!(
            page.contains("2 apps are shown without diffs") && page.contains("1300 more apps."),
            "{page}"
        );
    }

    #[test]
    fn text_of_a_catalog_is_only_text() {
        assert_eq!(escaped("<img> @ann [x](y) *a* \u{1b}|"), "&lt;img&gt; &#64;ann \\[x\\](y) \\*a\\*  \\|");
    }
}
