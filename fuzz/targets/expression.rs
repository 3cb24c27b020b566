//! Expressions in CEL: what is refused is refused before it runs, and what is not comes to an end.
#![no_main]

use std::panic;

use libfuzzer_sys::fuzz_target;
use nave_placement::ClusterName;
use nave_placement::catalog::HealthRule;
use nave_placement::expression::{Expression, Values};
use nave_placement::fleet::Candidate;
use nave_placement::select::Condition;
use serde_json::json;

// The interpreter's own panics are caught and become reasons; only what gets past that is a finding.
fuzz_target!(init: panic::set_hook(Box::new(|_| {})), |text: &str| {
    if let Ok(expression) = Expression::parse(text, &HealthRule::VARIABLES) {
        let object = json!({
            "metadata": {"name": "a", "generation": 3, "labels": {"tier": "web"}},
            "spec": {"replicas": 3, "names": ["a", "b", "c"]},
            "status": {"phase": "Ready", "ready": true, "share": 0.5, "conditions": [{"type": "Ready", "status": "True"}]},
        });
        let values = Values::default().with("object", &object);
        assert_eq!(expression.evaluate(&values), expression.evaluate(&values));
    }
    if let Ok(condition) = Condition::parse(text, true)
        && let Ok(name) = ClusterName::new("fra-1")
    {
        let mut cluster = Candidate::default();
        cluster.labels.insert("region".to_owned(), "eu".to_owned());
        let _ = condition.judge(&name, &cluster);
    }
});
