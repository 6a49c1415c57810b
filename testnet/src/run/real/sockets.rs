//! The TCP connections that peers really have, from `/proc`.

use super::node::Node;
use crate::check::Wire;
use crate::process::{Peer, ProcessId};
use hedgerow_protocol::PeerKey;
use std::collections::{BTreeMap, HashMap};

/// One end of a connection: its addresses as the system writes them, here and there.
type Ends = (String, String);

/// Connections of `nodes`: established ones, and those whose other end is gone.
pub(super) fn wires(all: &[Node], nodes: &[usize]) -> Vec<Wire> {
    // A namespace's table lists all sockets in it; on loopback it is one for all.
    let mut tables: BTreeMap<String, Vec<(Ends, u64)>> = BTreeMap::new();
    let mut owners: HashMap<Ends, usize> = HashMap::new();
    let mut ends: BTreeMap<usize, Vec<Ends>> = BTreeMap::new();
    for &node in nodes {
        let process = all[node].peer.as_ref().and_then(Peer::process);
        let Some(ProcessId { pid, .. }) = process else {
            continue;
        };
        let space = std::fs::read_link(format!("/proc/{pid}/ns/net")).unwrap_or_default();
        let table = tables
            .entry(space.to_string_lossy().into_owned())
            .or_insert_with(|| table(pid));
        let inodes = inodes(pid);
        let own: Vec<Ends> = table
            .iter()
            .filter(|(_, inode)| inodes.contains(inode))
            .map(|(ends, _)| ends.clone())
            .collect();
        owners.extend(own.iter().map(|ends| (ends.clone(), node)));
        ends.insert(node, own);
    }
    let wire = |node: &usize| {
        let own = ends.get(node).into_iter().flatten();
        let peers = own.map(|(here, there)| {
            // Nobody at the other end is nobody's key.
            let other = owners.get(&(there.clone(), here.clone()));
            other.map_or(PeerKey::default(), |&other| all[other].key)
        });
        Wire {
            peers: peers.collect(),
        }
    };
    nodes.iter().map(wire).collect()
}

/// Connections in a process's network namespace, and the inodes of their sockets.
fn table(pid: u32) -> Vec<(Ends, u64)> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/net/tcp")).unwrap_or_default();
    text.lines().skip(1).filter_map(row).collect()
}

/// proc(5): number, local and remote address, state, ..., and in the tenth field the inode.
fn row(line: &str) -> Option<(Ends, u64)> {
    const ESTABLISHED: &str = "01";
    const CLOSE_WAIT: &str = "08";
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let state = *fields.get(3)?;
    if state != ESTABLISHED && state != CLOSE_WAIT {
        return None;
    }
    let ends = ((*fields.get(1)?).to_owned(), (*fields.get(2)?).to_owned());
    Some((ends, fields.get(9)?.parse().ok()?))
}

/// Inodes of a process's sockets.
fn inodes(pid: u32) -> Vec<u64> {
    let Ok(entries) = std::fs::read_dir(format!("/proc/{pid}/fd")) else {
        return Vec::new();
    };
    let links = entries.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
    links
        .filter_map(|link| {
            let text = link.to_str()?;
            let inode = text.strip_prefix("socket:[")?.strip_suffix(']')?;
            inode.parse().ok()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_of_the_table_is_read_and_listeners_are_none() {
        let line = "   1: 0101027F:0FA1 0201027F:0FA1 01 00000000:00000000 00:00000000 00000000     0        0 4242 1 0000000000000000 20 4 30 10 -1";
        let (ends, inode) = row(line).expect("established");
        assert_eq!(
            ends,
            ("0101027F:0FA1".to_owned(), "0201027F:0FA1".to_owned())
        );
        assert_eq!(inode, 4242);
        assert_eq!(row(&line.replace(" 01 ", " 0A ")), None);
        assert_eq!(row("   1: 0101027F:0FA1"), None);
    }
}
