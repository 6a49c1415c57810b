//! A tree for members that do not reach each other by themselves: cut from the whole view.

use petgraph::graph::NodeIndex;

use crate::graph::LinkGraph;
use crate::tree::{Class, Tree, shortest_path_tree};

/// The tree from `origin` to those of `members` that it reaches in the whole view. It contains
/// them and the relays on the paths to them: the shortest-path tree of the view without the
/// branches that no member is on. Indices outside the view are ignored; the origin need not be a
/// member. [`crate::redundant_mesh`] takes the result: further parents come from the peers that
/// the tree contains, so one relay's death may still cut off members that no other relay on the
/// tree borders.
pub fn relay_tree(
    view: &LinkGraph,
    members: impl IntoIterator<Item = NodeIndex>,
    origin: NodeIndex,
    class: Class,
) -> Tree {
    let mut is_member = vec![false; view.node_count()];
    for member in members {
        if let Some(flag) = is_member.get_mut(member.index()) {
            *flag = true;
        }
    }
    shortest_path_tree(view, origin, class).pruned(|node| is_member[node.index()])
}
