//! What a peer remembers: its key, what its engine stores, other peers, the groups it was told to keep.
//!
//! Each is a file of its own, replaced as a whole, so that a crash leaves the old or the new.

mod entries;
mod files;

use crate::{NodeError, transport};
use entries::{EntryFiles, file_name};
use files::DataDir;
use hedgerow_protocol::{
    Address, GroupName, Keypair, Namespace, PeerKey, SettingsPatch, StoreOp, Stored,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The key, as libp2p's protobuf encoding of an ed25519 key pair.
const IDENTITY: &str = "identity.key";
/// Peers with their addresses, JSON.
const PEERS: &str = "peers.json";
/// Kept groups with their settings, JSON. It is there before the engine stores anything.
const GROUPS: &str = "groups.json";

/// What to do about a directory that has lost something.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Lost {
    /// Take a new identity where the key is missing, though a peer has used the directory.
    pub(crate) new_identity: bool,
    /// Forget the kept groups where they cannot be read.
    pub(crate) forget_groups: bool,
}

/// A peer's memory, in a directory or for this process only. Calls block on the disk.
#[derive(Debug)]
pub(crate) struct Store {
    identity: Keypair,
    dir: Option<DataDir>,
    /// Held while writing, so that the last change is what stays on disk.
    state: Mutex<State>,
    /// Held while the disk is tried.
    probing: Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    entries: EntryFiles,
    groups: BTreeMap<GroupName, SettingsPatch>,
    peers: Vec<KnownPeer>,
}

/// A peer and where it was last known to be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct KnownPeer {
    peer: PeerKey,
    addresses: Vec<Address>,
}

impl Store {
    /// Remembers for this process only.
    pub(crate) fn in_memory(identity: Option<Keypair>) -> Result<Self, NodeError> {
        let identity = identity.map_or_else(new_identity, Ok)?;
        Ok(Self {
            identity,
            dir: None,
            state: Mutex::default(),
            probing: Mutex::default(),
        })
    }

    /// Opens or creates a data directory and holds it until dropped.
    pub(crate) fn open(
        path: &Path,
        identity: Option<Keypair>,
        lost: Lost,
    ) -> Result<Self, NodeError> {
        let dir = DataDir::open(path)?;
        let identity = match identity {
            Some(identity) => identity,
            None => load_identity(&dir, lost.new_identity)?,
        };
        let groups = load_groups(&dir, lost.forget_groups)?;
        let state = State {
            entries: EntryFiles::load(&dir)?,
            groups,
            peers: load_peers(&dir)?,
        };
        Ok(Self {
            identity,
            dir: Some(dir),
            state: Mutex::new(state),
            probing: Mutex::default(),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who this peer is.
    pub(crate) fn identity(&self) -> &Keypair {
        &self.identity
    }

    /// What the engine has stored.
    pub(crate) fn stored(&self) -> Stored {
        self.state().entries.stored().clone()
    }

    /// Stores a batch of the engine's changes, all of them or none.
    pub(crate) fn apply(&self, namespace: Namespace, ops: Vec<StoreOp>) -> Result<(), NodeError> {
        let mut state = self.state();
        state.entries.apply(self.dir.as_ref(), namespace, ops)
    }

    /// Addresses of peers known from before, naming their peers.
    pub(crate) fn peer_addresses(&self) -> Vec<Address> {
        let state = self.state();
        let known = state.peers.iter();
        known
            .flat_map(|known| known.addresses.iter().map(|address| (address, known.peer)))
            .filter_map(|(address, peer)| transport::with_peer(address, peer))
            .collect()
    }

    /// Stores the peers worth a try at the next start.
    pub(crate) fn save_peers(&self, peers: Vec<(PeerKey, Vec<Address>)>) -> Result<(), NodeError> {
        let peers: Vec<KnownPeer> = peers
            .into_iter()
            .map(|(peer, addresses)| KnownPeer { peer, addresses })
            .collect();
        let mut state = self.state();
        // An empty network is no reason to forget the peers that were there yesterday.
        if !peers.is_empty() && peers != state.peers {
            self.write_json(PEERS, &peers)?;
            state.peers = peers;
        }
        Ok(())
    }

    /// The groups to rejoin, and their settings as last known.
    pub(crate) fn groups(&self) -> Vec<(GroupName, SettingsPatch)> {
        self.state()
            .groups
            .iter()
            .map(|(group, settings)| (group.clone(), *settings))
            .collect()
    }

    /// Whether a group is to be rejoined.
    pub(crate) fn has_group(&self, group: &GroupName) -> bool {
        self.state().groups.contains_key(group)
    }

    /// Whether the disk takes what is to be stored: writes something and removes it.
    pub(crate) fn probe(&self) -> Result<(), NodeError> {
        let _probing = self.probing.lock().unwrap_or_else(PoisonError::into_inner);
        self.dir.as_ref().map_or(Ok(()), DataDir::probe)
    }

    /// Stores new settings of a group that is to be rejoined, if it still is.
    pub(crate) fn update_group(
        &self,
        group: &GroupName,
        settings: SettingsPatch,
    ) -> Result<(), NodeError> {
        self.change_groups(|groups| match groups.get_mut(group) {
            Some(known) if *known != settings => {
                *known = settings;
                true
            }
            _ => false,
        })
    }

    /// Stores a group to be rejoined, or its new settings.
    pub(crate) fn save_group(
        &self,
        group: GroupName,
        settings: SettingsPatch,
    ) -> Result<(), NodeError> {
        self.change_groups(|groups| groups.insert(group, settings) != Some(settings))
    }

    /// Stores that a group is not to be rejoined.
    pub(crate) fn remove_group(&self, group: &GroupName) -> Result<(), NodeError> {
        self.change_groups(|groups| groups.remove(group).is_some())
    }

    fn change_groups(
        &self,
        change: impl FnOnce(&mut BTreeMap<GroupName, SettingsPatch>) -> bool,
    ) -> Result<(), NodeError> {
        let mut state = self.state();
        let mut groups = state.groups.clone();
        if change(&mut groups) {
            self.write_json(GROUPS, &groups)?;
            state.groups = groups;
        }
        Ok(())
    }

    fn write_json(&self, name: &str, value: &impl Serialize) -> Result<(), NodeError> {
        self.dir
            .as_ref()
            .map_or(Ok(()), |dir| write_json(dir, name, value))
    }
}

fn write_json(dir: &DataDir, name: &str, value: &impl Serialize) -> Result<(), NodeError> {
    let mut bytes = serde_json::to_vec_pretty(value)
        .map_err(|error| NodeError::data_dir(name)(error.into()))?;
    bytes.push(b'\n');
    dir.write_checked(name, &bytes)
}

fn new_identity() -> Result<Keypair, NodeError> {
    let mut secret = [0; 32];
    getrandom::fill(&mut secret)
        .map_err(|error| NodeError::Setup(format!("no randomness for a key: {error}")))?;
    Ok(Keypair::from_secret(secret))
}

/// A file in which an engine has stored something, if there is one.
fn entry_file(dir: &DataDir) -> Option<String> {
    let mut names = Namespace::ALL.into_iter().map(file_name);
    names.find(|name| dir.has(name))
}

fn load_identity(dir: &DataDir, new: bool) -> Result<Keypair, NodeError> {
    let Some(bytes) = dir.read_secret(IDENTITY)? else {
        // The key is the first that a directory gets.
        let state = entry_file(dir).or_else(|| {
            let state = [GROUPS, PEERS].into_iter().find(|name| dir.has(name));
            state.map(str::to_owned)
        });
        if let Some(state) = state
            && !new
        {
            return Err(NodeError::IdentityMissing {
                path: dir.file(IDENTITY),
                state,
            });
        }
        let identity = new_identity()?;
        let encoded = to_libp2p(&identity)?
            .to_protobuf_encoding()
            .map_err(|error| NodeError::Setup(error.to_string()))?;
        dir.write(IDENTITY, &encoded)?;
        tracing::info!(peer = %identity.peer(), "created a new identity");
        return Ok(identity);
    };
    let damaged = |why: String| dir.damaged(IDENTITY, why);
    if bytes.is_empty() {
        return Err(damaged("it is empty".to_owned()));
    }
    // What the library says of another kind of key is advice about its own features.
    let decoded = libp2p::identity::Keypair::from_protobuf_encoding(&bytes)
        .map_err(|_| damaged("it holds no ed25519 key in libp2p's encoding".to_owned()))?;
    let decoded = decoded
        .try_into_ed25519()
        .map_err(|_| damaged("a key of another kind than ed25519".to_owned()))?;
    let secret = decoded.secret();
    let secret = secret
        .as_ref()
        .try_into()
        .map_err(|_| damaged("a key of another length".to_owned()))?;
    Ok(Keypair::from_secret(secret))
}

/// The same key in libp2p's type.
pub(crate) fn to_libp2p(identity: &Keypair) -> Result<libp2p::identity::Keypair, NodeError> {
    libp2p::identity::Keypair::ed25519_from_bytes(identity.secret())
        .map_err(|error| NodeError::Setup(error.to_string()))
}

/// The stored groups. Where they cannot be read, starting without them would leave them in silence.
fn load_groups(
    dir: &DataDir,
    forget: bool,
) -> Result<BTreeMap<GroupName, SettingsPatch>, NodeError> {
    let lost = |why: String| NodeError::GroupsLost {
        path: dir.file(GROUPS),
        why,
    };
    let read = match dir.read_checked(GROUPS) {
        Ok(Some(bytes)) => serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|error| lost(format!("is damaged: {error}"))),
        Ok(None) if entry_file(dir).is_some() => Err(lost(
            "is missing, but a peer has used this directory before".to_owned(),
        )),
        Ok(None) => Ok(None),
        Err(NodeError::Damaged { why, .. }) => Err(lost(format!("is damaged: {why}"))),
        Err(error) => Err(error),
    };
    let groups = match read {
        Ok(groups) => groups,
        Err(error @ NodeError::GroupsLost { .. }) if forget => {
            tracing::warn!(%error, "forgetting the kept groups, as asked for");
            None
        }
        Err(error) => return Err(error),
    };
    if let Some(groups) = groups {
        return Ok(groups);
    }
    let none = BTreeMap::new();
    write_json(dir, GROUPS, &none)?;
    Ok(none)
}

/// The stored peers. Damaged ones cost only a slower start.
fn load_peers(dir: &DataDir) -> Result<Vec<KnownPeer>, NodeError> {
    let read = match dir.read_checked(PEERS) {
        Ok(None) => return Ok(Vec::new()),
        Ok(Some(bytes)) => serde_json::from_slice(&bytes).map_err(|error| error.to_string()),
        Err(NodeError::Damaged { why, .. }) => Err(why),
        Err(error) => return Err(error),
    };
    Ok(read.unwrap_or_else(|why| {
        tracing::warn!(
            file = PEERS,
            why,
            "the remembered peers are damaged; forgetting them"
        );
        Vec::new()
    }))
}

#[cfg(test)]
mod tests;
