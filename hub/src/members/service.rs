//! The gRPC service for clusters that are not members yet, or whose certificate has to be renewed.

use nave_proto::v1::{self, enrol_response, enrolment_server};
use tonic::{Request, Response, Status};

use super::{MemberError, Members};
use crate::listener::Peer;

/// The gRPC service; the one that is served without a client certificate.
pub struct EnrolmentService(pub Members);

fn address<T>(request: &Request<T>) -> String {
    request.extensions().get::<Peer>().map(|p| p.address.clone()).unwrap_or_default()
}

fn status(error: &MemberError) -> Status {
    match error {
        MemberError::Token => Status::permission_denied(error.to_string()),
        MemberError::Certificate(_) => Status::unauthenticated(error.to_string()),
        MemberError::Authority(_) => Status::invalid_argument(error.to_string()),
        MemberError::Unknown(_) => Status::not_found(error.to_string()),
        MemberError::Exists(_) | MemberError::Refused(_) => Status::failed_precondition(error.to_string()),
        MemberError::Commit(_) => Status::unavailable("the hub's store does not answer; try again"),
    }
}

#[tonic::async_trait]
impl enrolment_server::Enrolment for EnrolmentService {
    async fn enrol(&self, request: Request<v1::EnrolRequest>) -> Result<Response<v1::EnrolResponse>, Status> {
        let from = address(&request);
        let identity = self.0.enrol(request.get_ref(), &from).await.map_err(|e| status(&e))?;
        Ok(Response::new(v1::EnrolResponse { result: Some(enrol_response::Result::Identity(identity)) }))
    }

    async fn challenge(
        &self,
        _: Request<v1::ChallengeRequest>,
    ) -> Result<Response<v1::ChallengeResponse>, Status> {
        Ok(Response::new(v1::ChallengeResponse { nonce: self.0.challenge() }))
    }

    async fn renew(&self, request: Request<v1::RenewRequest>) -> Result<Response<v1::RenewResponse>, Status> {
        let from = address(&request);
        let identity = self.0.renew(request.get_ref(), &from).await.map_err(|e| status(&e))?;
        Ok(Response::new(v1::RenewResponse { identity: Some(identity) }))
    }
}
