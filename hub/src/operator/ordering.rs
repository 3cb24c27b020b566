//! Ordering: what operators order about members, from their requests to what came of it.
//!
//! In: requests whose role was checked. Out: views.
//! Never: takes an order for nobody in particular: clusters are named, or selected.

use std::collections::{BTreeMap, BTreeSet};

use nave_placement::ClusterName;
use nave_placement::fleet::{Effect, Taint};
use nave_placement::select::Selector;
use nave_proto::v1;
use tonic::Status;

use super::look::Selection;
use super::service::{Answer, OperatorService, argument, document, member_status};
use super::views::{JoinView, OrderView};
use crate::members::{MemberError, Order, Ordered};
use crate::state::{Audit, rfc3339};

impl OperatorService {
    /// The clusters that are meant.
    fn meant(&self, members: v1::Members, cluster: String) -> Result<BTreeSet<ClusterName>, Status> {
        let v1::Members { clusters, selector } = members;
        let named = clusters.iter().chain(Some(&cluster).filter(|name| !name.is_empty()));
        let named: BTreeSet<ClusterName> =
            named.map(|name| name.parse().map_err(argument)).collect::<Result<_, _>>()?;
        if selector.is_empty() {
            if named.is_empty() {
                return Err(argument("no cluster is named: name some, or select them by labels with -l"));
            }
            named.iter().try_for_each(|cluster| self.known(cluster))?;
            return Ok(named);
        }
        if !named.is_empty() {
            return Err(argument("clusters are named, or selected by labels, not both"));
        }
        let selector: Selector = selector.parse().map_err(argument)?;
        let selection = Selection { selector, ..Selection::default() };
        let chosen: BTreeSet<ClusterName> = self.look(|look| look.selected(&selection).cloned().collect());
        if chosen.is_empty() {
            return Err(Status::not_found(format!("no cluster has labels {}", selection.selector)));
        }
        Ok(chosen)
    }

    async fn order(&self, order: Order, clusters: BTreeSet<ClusterName>, done: &str, audit: Audit) -> Answer {
        order.check().map_err(argument)?;
        let declared: BTreeMap<_, _> = self.look(|look| {
            clusters.iter().filter_map(|name| Some((name.clone(), look.declared(name)?))).collect()
        });
        let ordered = self.rooms.members.order(&order, &clusters, &declared, &audit).await;
        let Ordered { changed, unchanged } = ordered.map_err(|e| member_status(&e))?;
        document(&OrderView { done: done.to_owned(), changed, unchanged })
    }

    pub(super) async fn label(&self, request: v1::ClusterLabelRequest, audit: Audit) -> Answer {
        let v1::ClusterLabelRequest { cluster, set, remove, members, overwrite, reason } = request;
        let clusters = self.meant(members.unwrap_or_default(), cluster)?;
        let order = Order::Label { set, remove: remove.into_iter().collect(), overwrite };
        self.order(order, clusters, "labelled", Audit { why: reason, ..audit }).await
    }

    pub(super) async fn taint(&self, request: v1::ClusterTaintRequest, audit: Audit) -> Answer {
        let v1::ClusterTaintRequest { members, add, remove, overwrite, reason } = request;
        let clusters = self.meant(members.unwrap_or_default(), String::new())?;
        let add = add.into_iter().map(|taint| {
            let effect: Effect = taint.effect.parse().map_err(argument)?;
            Ok(Taint { key: taint.key, value: taint.value.unwrap_or_default(), effect })
        });
        let remove = remove.into_iter().map(|taint| match taint.effect.as_str() {
            "" => Ok((taint.key, None)),
            effect => Ok((taint.key, Some(effect.parse().map_err(argument)?))),
        });
        let order = Order::Taint {
            add: add.collect::<Result<_, Status>>()?,
            remove: remove.collect::<Result<_, Status>>()?,
            overwrite,
        };
        self.order(order, clusters, "tainted", Audit { why: reason, ..audit }).await
    }

    pub(super) async fn cordon(&self, request: v1::ClusterCordonRequest, audit: Audit) -> Answer {
        use v1::cluster_cordon_request::Order as Wanted;
        let (order, done) = match request.order() {
            Wanted::Cordon => (Order::Cordon, "cordoned"),
            Wanted::Drain => (Order::Drain, "draining"),
            Wanted::Uncordon => (Order::Uncordon, "uncordoned"),
            Wanted::Unspecified => return Err(argument("this version does not know the order")),
        };
        let clusters = self.meant(request.members.unwrap_or_default(), String::new())?;
        self.order(order, clusters, done, Audit { why: request.reason, ..audit }).await
    }

    pub(super) async fn maintain(&self, request: v1::ClusterMaintainRequest, audit: Audit) -> Answer {
        let v1::ClusterMaintainRequest { members, for_ms, reason } = request;
        let clusters = self.meant(members.unwrap_or_default(), String::new())?;
        let (order, done) = match for_ms {
            0 => (Order::EndMaintenance, "maintained no longer"),
            for_ms => (Order::Maintain(for_ms), "maintained"),
        };
        self.order(order, clusters, done, Audit { why: reason, ..audit }).await
    }

    pub(super) async fn replace(&self, request: v1::ClusterReplaceRequest, audit: Audit) -> Answer {
        let cluster: ClusterName = request.cluster.parse().map_err(argument)?;
        let audit = Audit { why: request.reason, ..audit };
        let replaced = self.rooms.members.replace(&cluster, request.valid_ms, &audit).await;
        joining(cluster, replaced, None)
    }

    pub(super) fn export(&self, request: v1::ClusterExportRequest) -> Answer {
        let members = request.members.unwrap_or_default();
        let all = members.clusters.is_empty() && members.selector.is_empty();
        let clusters: BTreeSet<ClusterName> = match all {
            true => self.look(|look| look.selected(&Selection::default()).cloned().collect()),
            false => self.meant(members, String::new())?,
        };
        document(&self.look(|look| look.export(&clusters)))
    }
}

/// The token that starts a spoke, and how.
pub(super) fn joining(
    cluster: ClusterName,
    token: Result<(v1::JoinToken, u64), MemberError>,
    warning: Option<String>,
) -> Answer {
    let (token, expires_ms) = token.map_err(|e| member_status(&e))?;
    let token = token.to_text();
    let command = format!("spoke run --join {token} --state-dir /var/lib/nave/spoke");
    document(&JoinView { cluster, token, expires: rfc3339(expires_ms), command, warning })
}
