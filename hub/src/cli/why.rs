//! `hub why`: what stands between Git and a cluster.
//!
//! In: [`WhyView`]s. Out: for each a verdict, what every placement says, obstacles, what would change the answer.
//! Never: leaves out a placement.

use std::fmt::Write as _;

use clap::Args;
use nave_placement::decide::{Check, Outcome as Asked, Part, Reason};
use nave_proto::v1;

use super::Outcome;
use super::client::{Hub, document, request};
use super::output::{Format, Style, View};
use super::table::{Cell, Colour};
use crate::operator::views::{Phase, PlacementView, WhyView};

/// Its arguments.
#[derive(Args)]
#[command(after_help = "Example: hub why web eu-1")]
pub struct Arguments {
    /// The app
    app: String,
    /// The cluster [default: each]
    cluster: Option<String>,
    #[command(flatten)]
    format: Format,
}

/// Tells why.
pub async fn run(arguments: Arguments, hub: &Hub) -> anyhow::Result<Outcome> {
    let mut client = hub.connect().await?;
    let asked = v1::WhyRequest { app: arguments.app, cluster: arguments.cluster.unwrap_or_default() };
    let answer = document(client.why(request(asked)).await)?;
    answer.print::<Vec<WhyView>>(arguments.format.output)?;
    Ok(Outcome::Done)
}

impl View for Vec<WhyView> {
    fn text(&self, style: Style) -> String {
        if self.is_empty() {
            return "There is no cluster; `hub cluster join NAME` makes one a member.\n".to_owned();
        }
        self.iter().map(|view| told(view, style)).collect::<Vec<_>>().join("\n")
    }

    fn names(&self) -> Vec<String> {
        self.iter().filter(|view| view.wanted).map(|view| view.cluster.to_string()).collect()
    }
}

fn painted(phase: Phase, style: Style) -> Cell {
    Cell::from(format!("{phase:?}")).paint(style.of(phase))
}

fn told(view: &WhyView, style: Style) -> String {
    let WhyView { app, cluster, wanted, placements, overrides, obstacles, entry, remedy } = view;
    let verdict = match (entry, wanted) {
        (Some(entry), true) if entry.phase == Phase::Converged && obstacles.is_empty() => {
            "runs, as the catalog says".to_owned()
        }
        (Some(entry), true) if entry.phase == Phase::Converged => {
            "runs, but not all is as the catalog says".to_owned()
        }
        (Some(entry), _) if entry.phase == Phase::Ungranted => {
            "runs as it was, and is granted no more".to_owned()
        }
        (Some(entry), true) => format!("is assigned, and {}", painted(entry.phase, style)),
        (Some(entry), false) => {
            format!("is still assigned, though nothing wants it: {}", painted(entry.phase, style))
        }
        (None, true) => "is wanted, and not assigned yet".to_owned(),
        (None, false) => "does not run, as the catalog says".to_owned(),
    };
    let mut text = format!("app {app} on cluster {cluster}: {verdict}\n");
    if placements.is_empty() {
        text.push_str("  ✗ there is no placement\n");
    }
    for placement in placements {
        let mark = match placement.selects_app && placement.chosen {
            true => Cell::from("✓").paint(style.colour(Colour::Green)),
            false => Cell::from("✗").paint(style.colour(Colour::Red)),
        };
        let scored = (!placement.parts.is_empty()).then(|| format!("score {}", placement.score));
        let rank = placement.rank.filter(|_| scored.is_some()).map(|rank| format!("rank {rank}"));
        let replicas = placement.replicas.map(|replicas| format!("{replicas} replicas"));
        let numbers: Vec<String> = [rank, scored, replicas].into_iter().flatten().collect();
        let numbers = if numbers.is_empty() { String::new() } else { format!(" ({})", numbers.join(", ")) };
        let _ = writeln!(text, "  {mark} placement {}{numbers}: {}", placement.placement, placement.message);
        if style.is_wide && placement.selects_app {
            text.push_str(&parts(placement, style));
        }
    }
    for over in overrides {
        let mark = match over.reason {
            Reason::Matches => Cell::from("✓").paint(style.colour(Colour::Green)),
            Reason::FactUnknown { .. } | Reason::ConditionUndecided { .. } => {
                Cell::from("?").paint(style.colour(Colour::Yellow))
            }
            _ => Cell::from("✗").paint(style.colour(Colour::Red)),
        };
        let _ = writeln!(text, "  {mark} override {} ({}): {}", over.name, over.priority, over.message);
    }
    for obstacle in obstacles {
        let _ = writeln!(text, "  ! {}", super::table::one_line(obstacle));
    }
    let _ = writeln!(text, "  {}", super::table::one_line(remedy));
    text
}

/// Every predicate with what it saw, then what each preference adds.
fn parts(placement: &PlacementView, style: Style) -> String {
    let mut text = String::new();
    for Check { predicate, saw, outcome, .. } in &placement.checks {
        let mark = match outcome {
            Asked::Holds => Cell::from("✓").paint(style.colour(Colour::Green)),
            Asked::Bars | Asked::Breaks => Cell::from("✗").paint(style.colour(Colour::Red)),
            Asked::Unknown => Cell::from("?").paint(style.colour(Colour::Yellow)),
        };
        let saw = saw.as_ref().map(|saw| format!(", saw {saw}")).unwrap_or_default();
        let _ = writeln!(text, "      {mark} {}", super::table::one_line(&format!("{predicate}{saw}")));
    }
    for Part { prefer, weight, value, .. } in &placement.parts {
        let _ = writeln!(text, "      {weight} × {value} for {prefer}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::views::OverrideView;

    #[test]
    fn an_answer_names_every_placement_and_what_would_change_it() {
        let placement = |name: &str, selects_app, reason: Reason, message: &str| PlacementView {
            placement: name.to_owned(),
            selects_app,
            chosen: false,
            reasons: vec![reason],
            checks: Vec::new(),
            rank: None,
            score: 0,
            parts: Vec::new(),
            replicas: None,
            remedies: Vec::new(),
            message: message.to_owned(),
        };
        let requirement = || "env=prod".to_owned();
        let differs = Reason::LabelDiffers { requirement: requirement(), value: Some("test".into()) };
        let view = WhyView {
            app: "web".parse().expect("a name"),
            cluster: "eu-1".parse().expect("a name"),
            wanted: false,
            placements: vec![
                placement(
                    "prod",
                    true,
                    differs,
                    "its label env is \"test\", clusters.selector wants env=prod",
                ),
                placement("other", false, Reason::Matches, "it does not select app web"),
            ],
            overrides: vec![OverrideView {
                name: "big".to_owned(),
                priority: 10,
                reason: Reason::Matches,
                message: "all terms hold".to_owned(),
            }],
            obstacles: vec!["the spoke of eu-1 is not connected; it keeps what it has".to_owned()],
            entry: None,
            remedy: "placement prod would choose it if this were not so: …".to_owned(),
        };
        let expected = "\
app web on cluster eu-1: does not run, as the catalog says
  ✗ placement prod: its label env is \"test\", clusters.selector wants env=prod
  ✗ placement other: it does not select app web
  ✓ override big (10): all terms hold
  ! the spoke of eu-1 is not connected; it keeps what it has
  placement prod would choose it if this were not so: …
";
        assert_eq!(vec![view.clone()].text(Style::default()), expected);

        let check = |predicate: &str, saw: Option<&str>, outcome| Check {
            predicate: predicate.to_owned(),
            saw: saw.map(str::to_owned),
            outcome,
            reason: None,
        };
        let picked = PlacementView {
            chosen: true,
            rank: Some(2),
            score: 500,
            parts: vec![Part { prefer: "tier=gold".to_owned(), weight: 5, value: 100, saw: None }],
            replicas: Some(3),
            checks: vec![
                check("clusters.selector: env=prod", Some("prod"), Asked::Holds),
                check("where: facts.nodes > 3", None, Asked::Unknown),
                check("taint gpu:NoSchedule", None, Asked::Bars),
            ],
            ..placement("prod", true, Reason::Matches, "all terms hold")
        };
        let view = WhyView { placements: vec![picked], overrides: Vec::new(), obstacles: Vec::new(), ..view };
        let wide = vec![view].text(Style { is_wide: true, ..Style::default() });
        let expected = "\
app web on cluster eu-1: does not run, as the catalog says
  ✓ placement prod (rank 2, score 500, 3 replicas): all terms hold
      ✓ clusters.selector: env=prod, saw prod
      ? where: facts.nodes > 3
      ✗ taint gpu:NoSchedule
      5 × 100 for tier=gold
  placement prod would choose it if this were not so: …
";
        assert_eq!(wide, expected);
    }
}
