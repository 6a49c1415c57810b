//! Starting nodes and waiting for what must come.

use futures::{Stream, StreamExt};
use hedgerow::status::Role;
use hedgerow::{Config, Event, Gap, Group, GroupName, JoinOptions, Node, NodeBuilder, Received};
use std::collections::BTreeMap;
use std::time::Duration;

pub(crate) const TCP: &str = "/ip4/127.0.0.1/tcp/0";
pub(crate) const QUIC: &str = "/ip4/127.0.0.1/udp/0/quic-v1";

/// Anything that takes longer has gone wrong.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// `future`'s output, or a failed test.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future)
        .await
        .unwrap_or_else(|_| panic!("waited in vain: {what}"))
}

pub(crate) fn group(name: &str) -> GroupName {
    GroupName::new(name).expect("a valid name")
}

/// A node on a free port of loopback.
pub(crate) fn builder() -> NodeBuilder {
    quick().listen(TCP.parse().expect("a valid address"))
}

/// A node that waits less than usual for others before it takes a group to be new.
pub(crate) fn quick() -> NodeBuilder {
    let mut config = Config::default();
    config.groups.baseline_ms = 500;
    Node::builder().engine(config)
}

pub(crate) async fn spawn(builder: NodeBuilder) -> Node {
    soon("a node starts", builder.spawn())
        .await
        .expect("a node starts")
}

/// A node that knows `first`.
pub(crate) async fn spawn_beside(first: &Node) -> Node {
    spawn(builder().connect(&first.listen_addresses())).await
}

pub(crate) async fn join(node: &Node, name: &str) -> Group {
    let joined = node
        .join(&group(name), JoinOptions::default())
        .await
        .expect("joins");
    assert!(soon("a group is joined", joined.joined()).await);
    joined
}

/// The next message.
pub(crate) async fn receive(
    group: &mut (impl Stream<Item = Result<Received, Gap>> + Unpin),
) -> Received {
    soon("a message", group.next())
        .await
        .expect("the group goes on")
        .expect("no gap")
}

/// The next `count` messages: their payloads by origin, in the order in which they came.
pub(crate) async fn receive_many(
    group: &mut (impl Stream<Item = Result<Received, Gap>> + Unpin),
    count: usize,
) -> BTreeMap<hedgerow::PeerKey, Vec<String>> {
    let mut got: BTreeMap<_, Vec<String>> = BTreeMap::new();
    for _ in 0..count {
        let message = receive(group).await;
        let text = String::from_utf8(message.payload.to_vec()).expect("text");
        got.entry(message.id.origin).or_default().push(text);
    }
    got
}

/// Waits until an event satisfies `wanted`.
pub(crate) async fn event(
    events: &mut (impl Stream<Item = Result<Event, hedgerow::EventsMissed>> + Unpin),
    what: &str,
    wanted: impl Fn(&Event) -> bool,
) -> Event {
    let search = async {
        while let Some(event) = events.next().await {
            if let Ok(event) = event
                && wanted(&event)
            {
                return event;
            }
        }
        panic!("the events ended before: {what}")
    };
    soon(what, search).await
}

/// Waits until `node` sees `count` peers, itself included.
pub(crate) async fn sees(node: &Node, count: usize) {
    until(&format!("{count} peers in the view"), async || {
        node.status().await.expect("answers").view_peers == count
    })
    .await;
}

/// Asks until the answer is yes.
pub(crate) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let asking = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    soon(what, asking).await;
}

/// The groups that `node` is a member of, by name; every peer carries `broadcast`.
pub(crate) async fn memberships(node: &Node) -> Vec<String> {
    let groups = node.groups().await.expect("answers");
    let names = groups
        .into_iter()
        .filter(|status| status.role == Role::Member)
        .filter_map(|status| status.group);
    names
        .filter(|name| !name.is_broadcast())
        .map(|name| name.to_string())
        .collect()
}

/// How many messages of `name` were handed out at `node`.
pub(crate) async fn delivered(node: &Node, name: &str) -> u64 {
    let groups = node.groups().await.expect("answers");
    let found = groups
        .into_iter()
        .find(|status| status.group == Some(group(name)));
    found.map_or(0, |status| status.delivered)
}
