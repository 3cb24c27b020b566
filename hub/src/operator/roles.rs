//! Which role each call needs. A call that is not in the table is refused.

use nave_placement::hex;
use nave_proto::spiffe::{CertificateFacts, Role, SpiffeId};
use nave_proto::v1::{self, question::Question};
use tonic::{Request, Status};

use crate::listener::Peer;
use crate::state::records::OperatorRole;
use crate::state::{Audit, State};

/// The table.
const ROLES: &[(&str, OperatorRole)] = &[
    ("Status", OperatorRole::Viewer),
    ("Wait", OperatorRole::Viewer),
    ("ClusterList", OperatorRole::Viewer),
    ("ClusterShow", OperatorRole::Viewer),
    ("ClusterJoin", OperatorRole::Admin),
    ("ClusterLabel", OperatorRole::Operator),
    ("ClusterRemove", OperatorRole::Admin),
    ("ClusterRevoke", OperatorRole::Admin),
    ("AppList", OperatorRole::Viewer),
    ("AppShow", OperatorRole::Viewer),
    ("Why", OperatorRole::Viewer),
    ("Render", OperatorRole::Viewer),
    ("HoldList", OperatorRole::Viewer),
    ("HoldShow", OperatorRole::Viewer),
    ("HoldApprove", OperatorRole::Operator),
    ("HoldReject", OperatorRole::Operator),
    ("Pause", OperatorRole::Operator),
    ("Resume", OperatorRole::Operator),
    ("AcceptRestore", OperatorRole::Admin),
    ("AuditList", OperatorRole::Viewer),
    // Some questions need more: see `needs`.
    ("Ask", OperatorRole::Viewer),
    ("SecretRecipients", OperatorRole::Viewer),
    ("ClusterTaint", OperatorRole::Operator),
    ("ClusterCordon", OperatorRole::Operator),
    ("ClusterMaintain", OperatorRole::Operator),
    ("ClusterReplace", OperatorRole::Admin),
    ("ClusterExport", OperatorRole::Viewer),
    ("RolloutList", OperatorRole::Viewer),
    ("RolloutShow", OperatorRole::Viewer),
    ("RolloutOrder", OperatorRole::Operator),
    ("Rollback", OperatorRole::Operator),
    ("PinList", OperatorRole::Viewer),
    ("PinRemove", OperatorRole::Operator),
    ("Events", OperatorRole::Viewer),
    ("EventSinks", OperatorRole::Viewer),
    ("History", OperatorRole::Viewer),
    ("Images", OperatorRole::Viewer),
    // Of a Secret it needs more, as the question to its cluster does.
    ("Trace", OperatorRole::Viewer),
    // With answers of clusters it needs more.
    ("Plan", OperatorRole::Viewer),
    ("Snapshot", OperatorRole::Viewer),
];

/// The role that a question to clusters needs. What a log says nobody checked before it was written; Secrets are not for
/// everybody, even without their values.
fn needs(question: &Question) -> OperatorRole {
    match question {
        Question::Logs(_) | Question::Planned(_) => OperatorRole::Operator,
        Question::Objects(asked) if names_secrets(&asked.kind) => OperatorRole::Operator,
        _ => OperatorRole::Viewer,
    }
}

/// Whether a kind may be the core group's Secret. The spoke, which knows its cluster's names, has the last word.
fn names_secrets(kind: &str) -> bool {
    let kind = kind.trim().to_ascii_lowercase();
    matches!(kind.split('.').next(), Some("secret" | "secrets"))
}

/// Checks who asks clusters by a call, and whether they may ask this: gives how the spokes are told.
///
/// # Errors
/// As [`allow`].
pub fn allow_question<T>(
    state: &State,
    fleet: &str,
    request: &Request<T>,
    (call, question): (&str, Option<&Question>),
) -> Result<v1::Asker, Status> {
    let audit = allow(state, fleet, request, call)?;
    let name = audit.name().to_owned();
    let role = state.operators.get(&name).map_or(OperatorRole::Viewer, |operator| operator.role);
    let needed = question.map_or(OperatorRole::Viewer, needs);
    if role < needed {
        return Err(Status::permission_denied(format!("{name} is {role:?}; this question needs {needed:?}")));
    }
    if matches!(question, Some(Question::Logs(_))) {
        tracing::info!(operator = name, from = audit.from, "asks for logs");
    }
    let role = match role {
        OperatorRole::Viewer => "viewer",
        OperatorRole::Operator => "operator",
        OperatorRole::Admin => "admin",
    };
    Ok(v1::Asker { name, role: role.to_owned() })
}

/// Checks who calls and whether they may: gives the beginning of an audit line.
///
/// # Errors
/// When there is no certificate, it is no operator's, or their role does not suffice.
pub fn allow<T>(state: &State, fleet: &str, request: &Request<T>, call: &str) -> Result<Audit, Status> {
    let needed = ROLES.iter().find(|(name, _)| *name == call).map(|(_, role)| *role);
    let needed = needed.ok_or_else(|| Status::permission_denied(format!("no role may call {call}")))?;
    let peer = request.extensions().get::<Peer>().ok_or_else(|| Status::unauthenticated("no connection"))?;
    let stranger = || Status::permission_denied("this certificate is no operator's of this fleet");
    let certificate = peer.certificate.as_ref();
    let certificate =
        certificate.ok_or_else(|| Status::unauthenticated("a client certificate is required"))?;
    let id = SpiffeId::of_certificate(certificate).map_err(|_| stranger())?;
    let (Role::Operator(name), true) = (id.role, id.fleet == fleet) else { return Err(stranger()) };
    let key = CertificateFacts::read(certificate).map_err(|_| stranger())?.public_key;
    let key = hex(&key);
    let operator = state.operators.get(&name).filter(|o| o.public_key == key).ok_or_else(stranger)?;
    if operator.role < needed {
        let message = format!("{name} is {:?}; {call} needs {needed:?}", operator.role);
        return Err(Status::permission_denied(message));
    }
    Ok(Audit { who: format!("operator {name}"), from: peer.address.clone(), ..Audit::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_and_secrets_need_more_than_a_viewer() {
        let objects =
            |kind: &str| Question::Objects(v1::LiveObjects { kind: kind.into(), ..Default::default() });
        let rows = [
            (objects("pods"), OperatorRole::Viewer),
            (objects("Secret"), OperatorRole::Operator),
            (objects(" SECRETS.v1."), OperatorRole::Operator),
            (objects("secretstores"), OperatorRole::Viewer),
            (Question::Diff(v1::EntryDiff::default()), OperatorRole::Viewer),
            (Question::Adoption(v1::Adoption::default()), OperatorRole::Viewer),
            (Question::Events(v1::ObjectEvents::default()), OperatorRole::Viewer),
            (Question::Logs(v1::ObjectLogs::default()), OperatorRole::Operator),
            (Question::Planned(v1::PlannedEntry::default()), OperatorRole::Operator),
        ];
        for (question, expected) in rows {
            assert_eq!(needs(&question), expected, "{question:?}");
        }
    }

    #[test]
    fn every_call_of_the_service_declares_its_role_and_nothing_else_does() {
        let proto = include_str!("../../../proto/nave/v1/operator.proto");
        let calls: Vec<&str> = proto
            .lines()
            .filter_map(|line| line.trim().strip_prefix("rpc "))
            .filter_map(|rest| rest.split('(').next())
            .collect();
        let declared: Vec<&str> = ROLES.iter().map(|(name, _)| *name).collect();
        assert_eq!(declared, calls);
    }
}
