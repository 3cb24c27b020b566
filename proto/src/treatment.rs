//! How an app is treated, between the domain and the wire. The zero of each enum is the domain's default.

use nave_placement::catalog::{
    Adopt, Conflicts, Drift, HealthRule, Ignore, Mode, ObjectTarget, OnImmutable, Timeout, Treatment,
};

use crate::convert::ConvertError;
use crate::v1;
use crate::v1::treatment as wire;

/// `None` for what is treated as everything is by default, so that its encoding stays what it was.
pub(crate) fn treatment_to_proto(treatment: &Treatment) -> Option<v1::Treatment> {
    if *treatment == Treatment::default() {
        return None;
    }
    let Treatment { mode, adopt, on_immutable, conflicts, drift, .. } = treatment;
    let mode = match mode {
        Mode::Apply => wire::Mode::Apply,
        Mode::Observe => wire::Mode::Observe,
    };
    let adopt = match adopt {
        Adopt::IfEqual => wire::Adopt::IfEqual,
        Adopt::Never => wire::Adopt::Never,
        Adopt::Always => wire::Adopt::Always,
    };
    let on_immutable = match on_immutable {
        OnImmutable::Fail => wire::OnImmutable::Fail,
        OnImmutable::Recreate => wire::OnImmutable::Recreate,
    };
    let conflicts = match conflicts {
        Conflicts::Fail => wire::Conflicts::Fail,
        Conflicts::Force => wire::Conflicts::Force,
        Conflicts::Yield => wire::Conflicts::Yield,
    };
    let drift = match drift {
        Drift::Correct => wire::Drift::Correct,
        Drift::Report => wire::Drift::Report,
    };
    let ignore = |ignore: &Ignore| wire::Ignore {
        target: Some(target_to_proto(&ignore.target)),
        fields: ignore.fields.clone(),
    };
    let health = |rule: &HealthRule| wire::HealthRule {
        target: Some(target_to_proto(&rule.target)),
        healthy: rule.healthy.clone(),
        failed: rule.failed.clone(),
    };
    Some(v1::Treatment {
        mode: mode.into(),
        adopt: adopt.into(),
        on_immutable: on_immutable.into(),
        conflicts: conflicts.into(),
        drift: drift.into(),
        ignore: treatment.ignore.iter().map(ignore).collect(),
        health: treatment.health.iter().map(health).collect(),
        service_account: treatment.service_account.clone(),
        timeout_ms: if treatment.timeout == Timeout::default() { 0 } else { treatment.timeout.0 },
    })
}

pub(crate) fn treatment_from_proto(message: Option<v1::Treatment>) -> Result<Treatment, ConvertError> {
    let Some(message) = message else { return Ok(Treatment::default()) };
    fn known<T: TryFrom<i32>>(value: i32, field: &'static str) -> Result<T, ConvertError> {
        T::try_from(value).map_err(|_| ConvertError(field))
    }
    Ok(Treatment {
        mode: match known(message.mode, "treatment.mode")? {
            wire::Mode::Apply => Mode::Apply,
            wire::Mode::Observe => Mode::Observe,
        },
        adopt: match known(message.adopt, "treatment.adopt")? {
            wire::Adopt::IfEqual => Adopt::IfEqual,
            wire::Adopt::Never => Adopt::Never,
            wire::Adopt::Always => Adopt::Always,
        },
        on_immutable: match known(message.on_immutable, "treatment.onImmutable")? {
            wire::OnImmutable::Fail => OnImmutable::Fail,
            wire::OnImmutable::Recreate => OnImmutable::Recreate,
        },
        conflicts: match known(message.conflicts, "treatment.conflicts")? {
            wire::Conflicts::Fail => Conflicts::Fail,
            wire::Conflicts::Force => Conflicts::Force,
            wire::Conflicts::Yield => Conflicts::Yield,
        },
        drift: match known(message.drift, "treatment.drift")? {
            wire::Drift::Correct => Drift::Correct,
            wire::Drift::Report => Drift::Report,
        },
        ignore: message
            .ignore
            .into_iter()
            .map(|i| Ignore { target: target_from_proto(i.target), fields: i.fields })
            .collect(),
        health: message
            .health
            .into_iter()
            .map(|r| HealthRule { target: target_from_proto(r.target), healthy: r.healthy, failed: r.failed })
            .collect(),
        service_account: message.service_account,
        timeout: if message.timeout_ms == 0 { Timeout::default() } else { Timeout(message.timeout_ms) },
    })
}

pub(crate) fn target_to_proto(target: &ObjectTarget) -> v1::ObjectTarget {
    let ObjectTarget { group, kind, namespace, name } = target.clone();
    v1::ObjectTarget { group, kind, namespace, name }
}

pub(crate) fn target_from_proto(target: Option<v1::ObjectTarget>) -> ObjectTarget {
    let v1::ObjectTarget { group, kind, namespace, name } = target.unwrap_or_default();
    ObjectTarget { group, kind, namespace, name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_of_a_treatment_travels_and_the_default_costs_nothing() {
        assert_eq!(treatment_to_proto(&Treatment::default()), None);
        let target = ObjectTarget { kind: Some("Deployment".into()), ..ObjectTarget::default() };
        let rows = [
            Treatment { mode: Mode::Observe, adopt: Adopt::Never, ..Treatment::default() },
            Treatment { adopt: Adopt::Always, on_immutable: OnImmutable::Recreate, ..Treatment::default() },
            Treatment { conflicts: Conflicts::Force, drift: Drift::Report, ..Treatment::default() },
            Treatment { conflicts: Conflicts::Yield, timeout: Timeout(1), ..Treatment::default() },
            Treatment {
                ignore: vec![Ignore { target: target.clone(), fields: vec!["/spec/replicas".into()] }],
                health: vec![HealthRule { target, healthy: Some("true".into()), failed: None }],
                service_account: Some("deployer".into()),
                ..Treatment::default()
            },
        ];
        for treatment in rows {
            assert_eq!(treatment_from_proto(treatment_to_proto(&treatment)), Ok(treatment));
        }
        let unknown = v1::Treatment { conflicts: 9, ..v1::Treatment::default() };
        assert!(treatment_from_proto(Some(unknown)).is_err());
    }
}
