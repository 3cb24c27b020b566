//! Which role each call needs. A call that is not in the table is refused.

use nave_proto::spiffe::{CertificateFacts, Role, SpiffeId};
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
    ("HoldList", OperatorRole::Viewer),
    ("HoldShow", OperatorRole::Viewer),
    ("HoldApprove", OperatorRole::Operator),
    ("AcceptRestore", OperatorRole::Admin),
    ("AuditList", OperatorRole::Viewer),
    ("Ask", OperatorRole::Viewer),
    ("SecretRecipients", OperatorRole::Viewer),
];

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
    let key: String = key.iter().map(|b| format!("{b:02x}")).collect();
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
