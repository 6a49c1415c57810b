//! The API's share in memberships: streams, for as long as they are open, and clients that said
//! "stay".

use crate::delivery::Membership;
use crate::{Node, NodeError, Subscription};
use hedgerow_protocol::{GroupName, JoinOptions};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::runtime::Handle;

/// All memberships held through the API.
pub(super) struct Memberships {
    node: Node,
    /// Locked for a look only. A group's holder is locked across joining and leaving, so that a
    /// stream that ends cannot leave the group while another one begins; other groups go on.
    holders: Mutex<BTreeMap<GroupName, Holder>>,
}

type Holder = Arc<tokio::sync::Mutex<Holds>>;

/// What keeps this peer in one group.
#[derive(Default)]
struct Holds {
    /// Open streams.
    streams: usize,
    /// The membership in which to stay without any stream. Over when the group has been left,
    /// whether through the API or by the peer itself.
    held: Option<Membership>,
}

impl Holds {
    fn is_held(&self) -> bool {
        self.held.as_ref().is_some_and(|held| !held.is_over())
    }
}

impl Memberships {
    pub(super) fn new(node: Node) -> Self {
        Self {
            node,
            holders: Mutex::default(),
        }
    }

    fn holders(&self) -> MutexGuard<'_, BTreeMap<GroupName, Holder>> {
        self.holders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn holder(&self, group: &GroupName) -> Holder {
        let mut holders = self.holders();
        if let Some(holder) = holders.get(group) {
            return holder.clone();
        }
        // Another handle is about to change it. Without one, nobody has it locked.
        holders.retain(|_, holder| {
            let in_use = Arc::strong_count(holder) > 1;
            in_use || (holder.try_lock()).is_ok_and(|holds| holds.streams > 0 || holds.is_held())
        });
        holders.entry(group.clone()).or_default().clone()
    }

    /// Joins until [`Memberships::leave`]; with `keep`, across restarts.
    pub(super) async fn hold(
        self: &Arc<Self>,
        group: &GroupName,
        options: JoinOptions,
        keep: bool,
    ) -> Result<Subscription, NodeError> {
        let (this, group) = (self.clone(), group.clone());
        to_the_end(async move {
            let holder = this.holder(&group);
            let mut holds = holder.lock().await;
            let joined = if keep {
                this.node.join_kept(&group, options).await?
            } else {
                this.node.join(&group, options).await?
            };
            let (_, subscription) = joined.into_subscription();
            holds.held = Some(subscription.membership());
            Ok(subscription)
        })
        .await
    }

    /// Joins for as long as the attachment lives.
    pub(super) async fn attach(
        self: &Arc<Self>,
        group: &GroupName,
        options: JoinOptions,
    ) -> Result<(Subscription, Attachment), NodeError> {
        let (this, group) = (self.clone(), group.clone());
        to_the_end(async move {
            let holder = this.holder(&group);
            let mut holds = holder.lock().await;
            let joined = this.node.join(&group, options).await?;
            let (_, subscription) = joined.into_subscription();
            holds.streams += 1;
            drop(holds);
            let attachment = Attachment {
                memberships: this,
                group,
                runtime: Handle::current(),
            };
            Ok((subscription, attachment))
        })
        .await
    }

    /// Leaves, whoever holds it; streams end. If that cannot be stored, the peer stays a member
    /// and its holds stay with it.
    pub(super) async fn leave(self: &Arc<Self>, group: &GroupName) -> Result<(), NodeError> {
        let (this, group) = (self.clone(), group.clone());
        to_the_end(async move {
            let holder = this.holder(&group);
            let mut holds = holder.lock().await;
            this.node.leave(&group).await?;
            holds.held = None;
            Ok(())
        })
        .await
    }

    async fn detach(&self, group: &GroupName) {
        let holder = self.holder(group);
        let mut holds = holder.lock().await;
        holds.streams = holds.streams.saturating_sub(1);
        // Memberships of an earlier run are kept by the node, not by us.
        if holds.streams > 0 || holds.is_held() || self.node.is_kept(group).await.unwrap_or(true) {
            return;
        }
        if let Err(error) = self.node.leave(group).await {
            tracing::debug!(%group, %error, "had left already");
        }
    }
}

/// Does all of it, even if the client that waits for it goes: nothing stays half done.
async fn to_the_end<T: Send + 'static>(
    work: impl Future<Output = Result<T, NodeError>> + Send + 'static,
) -> Result<T, NodeError> {
    tokio::spawn(work).await.map_err(|_| NodeError::Stopped)?
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    async fn soon<T>(future: impl Future<Output = T>) -> T {
        let patience = Duration::from_secs(20);
        let done = tokio::time::timeout(patience, future).await;
        done.expect("in time")
    }

    fn group(name: &str) -> GroupName {
        GroupName::new(name).expect("valid")
    }

    async fn memberships() -> Arc<Memberships> {
        let node = Node::builder().spawn().await.expect("starts");
        Arc::new(Memberships::new(node))
    }

    async fn is_member(memberships: &Memberships, group: &GroupName) -> bool {
        let status = memberships.node.group(group).await.expect("answers");
        status.is_some()
    }

    /// Ends a stream.
    async fn detach(memberships: &Memberships, mut attachment: Attachment) {
        // Dropped, it does the same later.
        memberships.detach(&attachment.group).await;
        attachment.group = group("nothing");
    }

    #[tokio::test]
    async fn a_stream_leaves_unless_somebody_else_stays() {
        let (memberships, news) = (memberships().await, group("news"));
        let options = JoinOptions::default();
        let (_, first) = memberships.attach(&news, options).await.expect("joins");
        let (_, second) = memberships.attach(&news, options).await.expect("joins");
        detach(&memberships, first).await;
        assert!(is_member(&memberships, &news).await);
        memberships
            .hold(&news, options, false)
            .await
            .expect("stays");
        detach(&memberships, second).await;
        assert!(is_member(&memberships, &news).await);
        memberships.leave(&news).await.expect("leaves");
        assert!(!is_member(&memberships, &news).await);
    }

    #[tokio::test]
    async fn a_hold_ends_with_its_membership_whoever_ends_that() {
        let (memberships, news) = (memberships().await, group("news"));
        let options = JoinOptions::default();
        memberships
            .hold(&news, options, false)
            .await
            .expect("joins");
        // Past the API, as the peer itself leaves a group whose settings it does not support.
        memberships.node.leave(&news).await.expect("leaves");
        let error = memberships.leave(&news).await;
        assert!(matches!(error, Err(NodeError::Join(_))), "{error:?}");
        let (_, stream) = memberships.attach(&news, options).await.expect("joins");
        detach(&memberships, stream).await;
        assert!(!is_member(&memberships, &news).await);
    }

    #[tokio::test]
    async fn groups_do_not_wait_for_each_other() {
        let memberships = memberships().await;
        let options = JoinOptions::default();
        let busy = memberships.holder(&group("busy"));
        let _writing = busy.lock().await;
        let others = async {
            let (_, stream) = (memberships.attach(&group("news"), options).await).expect("joins");
            detach(&memberships, stream).await;
            memberships.hold(&group("sport"), options, true).await
        };
        soon(others).await.expect("joins");
    }

    #[tokio::test]
    async fn what_nobody_holds_takes_no_room() {
        let memberships = memberships().await;
        let options = JoinOptions::default();
        memberships
            .hold(&group("held"), options, false)
            .await
            .expect("joins");
        let (_, _stream) = (memberships.attach(&group("streamed"), options).await).expect("joins");
        for number in 0..100 {
            let strange = group(&format!("strange {number}"));
            memberships.leave(&strange).await.expect_err("no member");
        }
        assert!(memberships.holders().len() <= 3);
        assert!(memberships.holders().contains_key(&group("held")));
        assert!(memberships.holders().contains_key(&group("streamed")));
    }
}
