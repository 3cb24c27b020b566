//! Words: what a plan's closed lists say to people.
//!
//! In: [`Why`], [`WaveWaits`]. Out: sentences. Never: says less than the values that it is made of.

use std::fmt;

use nave_placement::decide::Reason;
use nave_placement::duration_text as written;

use super::view::{WaveWaits, Why};

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Chosen { placement, reasons, before } => {
                write!(f, "placement {placement}: {}", joined(reasons))?;
                if before.is_empty() { Ok(()) } else { write!(f, "; before: {}", joined(before)) }
            }
            Self::NotChosen { placement, reasons, .. } => {
                write!(f, "placement {placement}: {}", joined(reasons))
            }
            Self::NotSelected { placement } => {
                write!(f, "placement {placement} does not select the app any more")
            }
            Self::PlacementGone { placement } => write!(f, "placement {placement} is gone"),
            Self::AppGone => f.write_str("the catalog has no such app any more"),
        }
    }
}

fn joined(reasons: &[Reason]) -> String {
    reasons.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

impl fmt::Display for WaveWaits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Healthy { wave } => write!(f, "wave {wave} is healthy"),
            Self::Soak { wave, ms } => write!(f, "wave {wave} soaks for {}", written(*ms)),
            Self::Approval => f.write_str("an operator approves it"),
            Self::HealthyOn { selector, for_ms: 0 } => {
                write!(f, "the version is healthy on clusters with {selector}")
            }
            Self::HealthyOn { selector, for_ms } => {
                write!(f, "the version is healthy on clusters with {selector} for {}", written(*for_ms))
            }
            Self::Pace { step, every_ms } => write!(f, "{step} of its clusters every {}", written(*every_ms)),
            Self::AtOnce { clusters } => write!(f, "at most {clusters} of its clusters at once"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_says_what_it_holds() {
        let differs = Reason::LabelDiffers { requirement: "env=prod".into(), value: Some("dev".into()) };
        let rows = [
            (
                Why::Chosen {
                    placement: "all".into(),
                    reasons: vec![Reason::Matches],
                    before: vec![differs.clone()],
                }
                .to_string(),
                "placement all: all terms hold; before: its label env is \"dev\", clusters.selector wants env=prod",
            ),
            (
                Why::NotChosen {
                    placement: "all".into(),
                    reasons: vec![differs],
                    before: vec![Reason::Matches],
                }
                .to_string(),
                "placement all: its label env is \"dev\", clusters.selector wants env=prod",
            ),
            (Why::PlacementGone { placement: "all".into() }.to_string(), "placement all is gone"),
            (WaveWaits::Soak { wave: "canary".into(), ms: 600_000 }.to_string(), "wave canary soaks for 10m"),
            (
                WaveWaits::HealthyOn { selector: "env=staging".into(), for_ms: 86_400_000 }.to_string(),
                "the version is healthy on clusters with env=staging for 1d",
            ),
        ];
        for (told, expected) in rows {
            assert_eq!(told, expected);
        }
    }
}
