//! `hub why`.

use clap::Args;
use nave_proto::v1;

use super::Exit;
use super::client::{Client, view};
use super::output::{Format, show};
use crate::operator::views::{Phase, WhyView};

/// `hub why`.
#[derive(Args)]
pub struct Why {
    /// The app; CATALOG/APP for one of another catalog
    app: String,
    /// The cluster; all, worst first, when absent
    #[arg(default_value = "", hide_default_value = true)]
    cluster: String,
    /// How to show it
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

impl Why {
    pub(super) async fn run(self, client: &mut Client) -> anyhow::Result<Exit> {
        let request = v1::WhyRequest { app: self.app, cluster: self.cluster };
        let views: Vec<WhyView> = view(client.why(request).await)?;
        let text = |_| views.iter().map(render).collect::<Vec<_>>().join("\n");
        show(self.output, &views, text, || views.iter().map(|v| v.cluster.to_string()).collect())?;
        Ok(Exit::Done)
    }
}

/// The verdict, what each placement says, what is in the way, what would change the answer.
pub fn render(why: &WhyView) -> String {
    let runs = match (&why.entry, why.wanted) {
        (Some(entry), true) if entry.phase == Phase::Converged => "runs, as the catalog says".to_owned(),
        (Some(entry), true) => format!("is assigned, and {:?}", entry.phase),
        (Some(entry), false) => format!("is still assigned though nothing wants it: {:?}", entry.phase),
        (None, true) => "is wanted, and not assigned yet".to_owned(),
        (None, false) => "does not run, as the catalog says".to_owned(),
    };
    let mut text = format!("app {} on cluster {}: {runs}\n", why.app, why.cluster);
    for placement in &why.placements {
        let mark = match placement.selects_app && placement.reason == nave_placement::decide::Reason::Matches
        {
            true => "✓",
            false => "✗",
        };
        text += &format!("  {mark} placement {}: {}\n", placement.placement, placement.message);
    }
    for obstacle in &why.obstacles {
        text += &format!("  ! {obstacle}\n");
    }
    text + &format!("  {}\n", why.remedy)
}

#[cfg(test)]
mod tests {
    use nave_placement::decide::Reason;

    use super::*;
    use crate::operator::views::PlacementView;

    #[test]
    fn a_refusal_names_the_term_and_the_remedy() {
        let why = WhyView {
            app: "web".parse().expect("valid"),
            cluster: "dev-1".parse().expect("valid"),
            wanted: false,
            placements: vec![PlacementView {
                placement: "production".into(),
                selects_app: true,
                reason: Reason::LabelDiffers { requirement: "env=prod".into(), value: Some("dev".into()) },
                message: "its label env is \"dev\", clusters.selector wants env=prod".into(),
            }],
            obstacles: Vec::new(),
            entry: None,
            remedy: "placement production would choose it if this were not so".into(),
        };
        let expected = "\
app web on cluster dev-1: does not run, as the catalog says
  ✗ placement production: its label env is \"dev\", clusters.selector wants env=prod
  placement production would choose it if this were not so
";
        assert_eq!(render(&why), expected);
    }
}
