//! Taints of clusters and the tolerations of placements, with Kubernetes' exact semantics.
//!
//! In: a cluster's taints, a placement's tolerations, the time. Out: whether a taint matters, and how long it does not.
//! Never: lets a taint whose beginning is not known run out.

use serde::{Deserialize, Serialize};

use crate::fleet::{Effect, Taint};

/// What a placement puts up with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Toleration {
    /// Of which key; empty for every key.
    pub key: String,
    /// Of which value; `None` (`operator: Exists`) for every value.
    pub value: Option<String>,
    /// Of which effect; `None` for every effect.
    pub effect: Option<Effect>,
    /// For how long after a `NoExecute` taint began; `None` for ever.
    pub seconds: Option<i64>,
}

impl Toleration {
    fn matches(&self, taint: &Taint) -> bool {
        let effect = self.effect.is_none_or(|effect| effect == taint.effect);
        let key = self.key.is_empty() || self.key == taint.key;
        effect && key && self.value.as_ref().is_none_or(|value| *value == taint.value)
    }
}

/// Whether a taint is put up with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tolerance {
    /// Nothing tolerates it, or no longer.
    None,
    /// Until this time, in Unix milliseconds.
    Until(u64),
    /// For ever, or for a while whose beginning is not known.
    Always,
}

/// Whether a taint that began at `since_ms` is tolerated: the first toleration that matches it tells.
pub fn tolerance(tolerations: &[Toleration], taint: &Taint, since_ms: Option<u64>, now_ms: u64) -> Tolerance {
    let Some(first) = tolerations.iter().find(|toleration| toleration.matches(taint)) else {
        return Tolerance::None;
    };
    let limited = first.seconds.filter(|_| taint.effect == Effect::NoExecute);
    match (limited, since_ms) {
        (None, _) => Tolerance::Always,
        (Some(seconds), _) if seconds <= 0 => Tolerance::None,
        (Some(_), None) => Tolerance::Always,
        (Some(seconds), Some(since)) => {
            let until = since.saturating_add(seconds.unsigned_abs().saturating_mul(1_000));
            if now_ms < until { Tolerance::Until(until) } else { Tolerance::None }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `key=value:Effect`.
    fn taint(text: &str) -> Taint {
        let (name, effect) = text.split_once(':').expect("the row says so");
        let (key, value) = name.split_once('=').unwrap_or((name, ""));
        let effect = match effect {
            "NoSchedule" => Effect::NoSchedule,
            "PreferNoSchedule" => Effect::PreferNoSchedule,
            _ => Effect::NoExecute,
        };
        Taint { key: key.into(), value: value.into(), effect }
    }

    #[test]
    fn tolerations_match_as_those_of_kubernetes() {
        let of = |key: &str, value: Option<&str>, effect: Option<Effect>| Toleration {
            key: key.into(),
            value: value.map(Into::into),
            effect,
            seconds: None,
        };
        let (schedule, execute) = (Some(Effect::NoSchedule), Some(Effect::NoExecute));
        let rows = [
            (of("gpu", Some("a100"), schedule), "gpu=a100:NoSchedule", true),
            (of("gpu", Some("a100"), schedule), "gpu=h100:NoSchedule", false),
            (of("gpu", Some("a100"), schedule), "gpu=a100:NoExecute", false),
            (of("gpu", Some("a100"), None), "gpu=a100:NoExecute", true),
            (of("gpu", Some(""), None), "gpu:NoSchedule", true),
            (of("gpu", Some(""), None), "gpu=a100:NoSchedule", false),
            (of("gpu", None, None), "gpu=a100:PreferNoSchedule", true),
            (of("gpu", None, schedule), "gpu:NoSchedule", true),
            (of("cpu", None, None), "gpu:NoSchedule", false),
            (of("", None, None), "anything=at-all:NoExecute", true),
            (of("", None, execute), "anything:NoExecute", true),
            (of("", None, execute), "anything:NoSchedule", false),
        ];
        for (toleration, text, expected) in rows {
            let tolerated = tolerance(std::slice::from_ref(&toleration), &taint(text), None, 0);
            assert_eq!(tolerated != Tolerance::None, expected, "{toleration:?} of {text}");
        }
        assert_eq!(tolerance(&[], &taint("gpu:NoSchedule"), None, 0), Tolerance::None);
    }

    #[test]
    fn a_limited_toleration_runs_out_and_only_for_no_execute() {
        let of = |seconds| Toleration { key: "gpu".into(), seconds: Some(seconds), ..Toleration::default() };
        let rows = [
            (of(300), "gpu:NoExecute", Some(1_000), 300_999, Tolerance::Until(301_000)),
            (of(300), "gpu:NoExecute", Some(1_000), 301_000, Tolerance::None),
            (of(300), "gpu:NoExecute", None, 301_000, Tolerance::Always),
            (of(0), "gpu:NoExecute", None, 0, Tolerance::None),
            (of(-5), "gpu:NoExecute", Some(0), 0, Tolerance::None),
            (of(300), "gpu:NoSchedule", Some(0), 900_000, Tolerance::Always),
        ];
        for (toleration, text, since, now, expected) in rows {
            let tolerated = tolerance(std::slice::from_ref(&toleration), &taint(text), since, now);
            assert_eq!(tolerated, expected, "{toleration:?} of {text} since {since:?} at {now}");
        }
        let forever = Toleration { key: "gpu".into(), ..Toleration::default() };
        let both = [of(1), forever];
        assert_eq!(
            tolerance(&both, &taint("gpu:NoExecute"), Some(0), 5_000),
            Tolerance::None,
            "the first tells"
        );
    }
}
