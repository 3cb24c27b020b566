//! Screens as they are drawn.

use nave_placement::catalog::{CommitId, Position};
use nave_placement::guard::{Hold, HoldCause};

use super::*;
use crate::operator::views::{CommitView, HoldView, Phase};
use crate::state::records::HoldRecord;

fn view() -> StatusView {
    StatusView {
        fleet: "shop".into(),
        catalog: CatalogView {
            name: "main".into(),
            url: "https://git/fleet.git".into(),
            commit: Some(CommitId("0123456789abcdef".into())),
            newest: Some(CommitId("0123456789abcdef".into())),
            obstacle: None,
        },
        clusters: 6,
        connected: 6,
        entries: 24,
        phases: [(Phase::Converged, 24)].into(),
        converged: true,
        ..StatusView::default()
    }
}

#[test]
fn a_fleet_that_is_well_takes_two_lines() {
    let expected = "\
Fleet shop, catalog main at 01234567 of https://git/fleet.git

24 of 24 entries converged on 6 clusters, 6 connected
";
    assert_eq!(view().text(Style::default()), expected);
}

#[test]
fn what_needs_somebody_comes_first() {
    let commit = CommitId("fedcba9876543210".into());
    let app: nave_placement::AppKey = "web".parse().expect("a name");
    let clusters = |names: &[&str]| names.iter().map(|n| n.parse().expect("a name")).collect::<Vec<_>>();
    let hold =
        Hold::new(HoldCause::EmptyCatalog { commit: commit.clone(), tenant: None }, 0, 0, 0, [].into());
    let id = hold.id.clone();
    let record = HoldRecord {
        since_ms: 1_700_000_000_000,
        commit: view().catalog.commit.expect("there is one"),
        catalog: "main".parse().expect("a name"),
        hold: hold.clone(),
    };
    let group = |phase, reason: &str, object: Option<&str>, message: &str, on: &[&str]| Group {
        phase,
        app: app.clone(),
        reason: reason.into(),
        object: object.map(Into::into),
        message: message.into(),
        clusters: clusters(on),
    };
    let status = StatusView {
        catalog: CatalogView {
            newest: Some(commit),
            obstacle: Some(
                "commit fedcba98 holds no catalog document; it is not taken without approval".into(),
            ),
            ..view().catalog
        },
        commit: Some(CommitView {
            commit: "fedc".into(),
            in_effect: false,
            message: "commit fedc is not in effect; 01234567 is".into(),
            time_to_converge: None,
        }),
        doubt: Some("cluster a holds assignment 1.9".into()),
        holds: vec![HoldView {
            message: hold.to_string(),
            record,
            rejected: None,
            would_leave: None,
            objects: Vec::new(),
        }],
        problems: vec![Problem::error(
            &"apps/web.yaml".into(),
            Position { line: 3, column: 7 },
            "unknown field \"sorce\"",
        )],
        alarms: [("b".parse().expect("a name"), Alarm::ClusterChanged)].into(),
        groups: vec![
            group(
                Phase::Degraded,
                "Unschedulable",
                Some("Pod web/web-0"),
                "0/1 nodes are available:\nInsufficient cpu.",
                &["a", "b", "c", "d", "e"],
            ),
            group(Phase::Behind, "", None, "", &["f"]),
        ],
        unassigned: [("a".parse().expect("a name"), [app.clone()].into())].into(),
        phases: [(Phase::Converged, 18), (Phase::Degraded, 5), (Phase::Behind, 1)].into(),
        converged: false,
        ..view()
    };
    let expected = format!(
        "\
Fleet shop, catalog main at 01234567 of https://git/fleet.git
Commit fedcba98 is not in effect: commit fedcba98 holds no catalog document; it is not taken without approval
NOT YET: commit fedc is not in effect; 01234567 is

DOUBT: cluster a holds assignment 1.9

HOLD        SINCE                 WHAT
{id}  2023-11-14T22:13:20Z  commit fedcba98 holds no catalog document; it is not taken without approval
Approve with `hub hold approve ID`; `hub hold show ID` lists what would go.

ALARM: cluster b: within the last hour a spoke with its identity ran on another cluster than the one that enrolled; it was told nothing. If nobody moved it, revoke it, and let it join again

apps/web.yaml:3:7: error: unknown field \"sorce\"
{CONSEQUENCE}

STATE     APP  REASON         OBJECT         CLUSTERS  MESSAGE
Degraded  web  Unschedulable  Pod web/web-0  a, b, +3  0/1 nodes are available: Insufficient cpu.
Behind    web                                f

UNASSIGNED: cluster a keeps web, which nothing assigns to it

18 of 24 entries converged on 6 clusters, 6 connected
"
    );
    assert_eq!(status.text(Style::default()), expected);
    assert_eq!(status.names(), ["web"]);
}

#[test]
fn a_screen_has_an_end() {
    let problem = |line| Problem::error(&"a.yaml".into(), Position { line, column: 1 }, "bad");
    let status = StatusView { problems: (1..=30).map(problem).collect(), ..view() };
    let text = status.text(Style::default());
    assert!(text.contains("a.yaml:20:1: error: bad\n… and 10 more; `-o wide` shows them\n"), "{text}");
    let wide = status.text(Style { is_wide: true, ..Style::default() });
    assert!(wide.contains("a.yaml:30:1"), "{wide}");
}
