//! `hub cluster remove`: orders a cluster out, and tells whether its spoke acknowledged; exit code 3 if it did not yet.

use std::time::Duration;

use nave_proto::v1;
use tokio::time::Instant;
use tonic::Code;

use super::super::Outcome;
use super::super::client::{Client, Refused, document, request};
use super::super::output::print;
use crate::operator::views::ClusterView;
use crate::state::records::Standing;

/// How long the spoke's acknowledgement is waited for.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often the hub is asked meanwhile.
const PAUSE: Duration = Duration::from_millis(250);

/// Orders it out.
pub async fn run(client: &mut Client, asked: v1::ClusterRemoveRequest) -> anyhow::Result<Outcome> {
    let (name, delete) = (asked.cluster.clone(), asked.delete_workloads);
    document(client.cluster_remove(request(asked)).await)?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let Some(view) = member(client, &name).await? else {
            let workloads = if delete { "its workloads are deleted" } else { "what runs there stays" };
            print(&format!("Cluster {name} has left the fleet; {workloads}.\n"))?;
            return Ok(Outcome::Done);
        };
        if !view.row.connected {
            let order = if delete { "deletes its workloads and detaches" } else { "detaches" };
            print(&format!(
                "The spoke of cluster {name} is not connected: it {order} when it connects. If it is lost for good, \
                 `hub cluster revoke {name}` refuses its certificate now.\n"
            ))?;
            return Ok(Outcome::Different);
        }
        if Instant::now() >= deadline {
            let under_way = match view.row.standing {
                Some(Standing::Emptying) => "is still deleting its workloads",
                _ => "has not acknowledged",
            };
            print(&format!(
                "The spoke of cluster {name} {under_way} after {} s; the hub goes on by itself, and \
                 `hub cluster show {name}` tells how far it is.\n",
                PATIENCE.as_secs()
            ))?;
            return Ok(Outcome::Different);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// The cluster, as long as it is a member.
async fn member(client: &mut Client, name: &str) -> anyhow::Result<Option<ClusterView>> {
    let asked = v1::ClusterRequest { cluster: name.to_owned(), reason: String::new() };
    match document(client.cluster_show(request(asked)).await) {
        Ok(answer) => Ok(Some(answer.view::<ClusterView>()?).filter(|view| view.row.standing.is_some())),
        Err(error)
            if error.downcast_ref::<Refused>().is_some_and(|refused| refused.code == Code::NotFound) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
