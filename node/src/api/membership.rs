//! Who keeps this peer in a group: streams, for as long as they are open, and those who said
//! "stay".

use crate::{Node, NodeError, Subscription};
use hedgerow_protocol::{GroupName, JoinOptions};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tokio::runtime::Handle;
use tokio::sync::Mutex;

/// All memberships held through the API.
pub(super) struct Memberships {
    node: Node,
    // Held across joining and leaving, so that a stream that ends cannot leave behind the back
    // of one that begins.
    holders: Mutex<Holders>,
}

#[derive(Default)]
struct Holders {
    /// Open streams by group.
    streams: BTreeMap<GroupName, usize>,
    /// Groups to stay in without any stream.
    held: BTreeSet<GroupName>,
}

impl Holders {
    fn holds(&self, group: &GroupName) -> bool {
        self.held.contains(group) || self.streams.contains_key(group)
    }
}

impl Memberships {
    pub(super) fn new(node: Node) -> Self {
        Self {
            node,
            holders: Mutex::default(),
        }
    }

    /// Joins until [`Memberships::leave`]; with `keep`, across restarts.
    pub(super) async fn hold(
        &self,
        group: &GroupName,
        options: JoinOptions,
        keep: bool,
    ) -> Result<Subscription, NodeError> {
        let mut holders = self.holders.lock().await;
        let was_in = holders.holds(group) || self.node.is_kept(group).await?;
        let (_, subscription) = self.node.join(group, options).await?.into_subscription();
        if keep && let Err(error) = self.node.keep(group).await {
            // What is refused changes nothing.
            if !was_in && let Err(error) = self.node.leave(group).await {
                tracing::warn!(%group, %error, "joined, although that could not be stored");
            }
            return Err(error);
        }
        holders.held.insert(group.clone());
        Ok(subscription)
    }

    /// Joins for as long as the attachment lives.
    pub(super) async fn attach(
        self: &Arc<Self>,
        group: &GroupName,
        options: JoinOptions,
    ) -> Result<(Subscription, Attachment), NodeError> {
        let mut holders = self.holders.lock().await;
        let (_, subscription) = self.node.join(group, options).await?.into_subscription();
        *holders.streams.entry(group.clone()).or_default() += 1;
        let attachment = Attachment {
            memberships: self.clone(),
            group: group.clone(),
            runtime: Handle::current(),
        };
        Ok((subscription, attachment))
    }

    /// Leaves, whoever holds it; streams end.
    pub(super) async fn leave(&self, group: &GroupName) -> Result<(), NodeError> {
        let mut holders = self.holders.lock().await;
        self.node.leave(group).await?;
        holders.held.remove(group);
        Ok(())
    }

    async fn detach(&self, group: &GroupName) {
        let mut holders = self.holders.lock().await;
        let Some(count) = holders.streams.get_mut(group) else {
            return;
        };
        *count -= 1;
        if *count > 0 {
            return;
        }
        holders.streams.remove(group);
        // Memberships of an earlier run are kept by the node, not by us.
        if holders.held.contains(group) || self.node.is_kept(group).await.unwrap_or(true) {
            return;
        }
        if let Err(error) = self.node.leave(group).await {
            tracing::debug!(%group, %error, "had left already");
        }
    }
}

/// A stream's share in a membership.
pub(super) struct Attachment {
    memberships: Arc<Memberships>,
    group: GroupName,
    runtime: Handle,
}

impl Drop for Attachment {
    fn drop(&mut self) {
        let memberships = self.memberships.clone();
        let group = self.group.clone();
        self.runtime
            .spawn(async move { memberships.detach(&group).await });
    }
}
