//! This peer's place in the overlays of a group: from whom it gets what an origin sends, and to
//! whom it passes it on.
//!
//! A place is a few keys, where the graph and the tree that it follows from hold something for every
//! peer. So places are kept for as long as the graph stays the same, and the rest is left to the
//! cache. Knows nothing of what is sent.

use super::Group;
use crate::base::identity::PeerKey;
use crate::base::name::GroupId;
use crate::base::time::Micros;
use crate::multicast::{CxRef, Multicast};
use crate::overlay::links::FED_MS;
use crate::overlay::records::GroupGraph;
use hedgerow_topology::petgraph::graph::NodeIndex;
use hedgerow_topology::{Class, Mesh};
use lru::LruCache;
use std::cell::{RefCell, RefMut};
use std::sync::Arc;

/// Places kept of a group, the latest used.
const ROUTES_MAX: usize = 1_024;

/// So long, in times that views wait for records to settle (`database.debounce_ms`), the overlays
/// of the graph before are followed as well: the others' views change within about one of them.
const FORMER_DEBOUNCES: u64 = 2;

/// This peer's place in the overlay of one origin.
#[derive(Debug)]
pub(crate) struct Route {
    /// Children, extra children, parents.
    keys: Box<[PeerKey]>,
    extra_from: usize,
    parents_from: usize,
    /// How long the tree's way from the origin takes, microseconds.
    pub(super) delay_us: Option<u64>,
}

impl Route {
    fn new(graph: &GroupGraph, mesh: &Mesh, me: NodeIndex) -> Self {
        let lists = [mesh.children(me), mesh.extra_children(me), mesh.parents(me)];
        let keys = lists.iter().flat_map(|nodes| nodes.iter());
        Self {
            keys: keys.map(|node| graph.key(*node)).collect(),
            extra_from: lists[0].len(),
            parents_from: lists[0].len() + lists[1].len(),
            delay_us: mesh.tree().delay_us(me),
        }
    }

    /// Children that the tree gives this peer.
    pub(crate) fn children(&self) -> impl Iterator<Item = PeerKey> + '_ {
        self.keys[..self.extra_from].iter().copied()
    }

    /// Children for whom this peer is a further parent.
    pub(crate) fn extra_children(&self) -> impl Iterator<Item = PeerKey> + '_ {
        self.keys[self.extra_from..self.parents_from]
            .iter()
            .copied()
    }

    /// Whether `peer` is a child of any kind.
    pub(crate) fn leads_to(&self, peer: PeerKey) -> bool {
        self.keys[..self.parents_from].contains(&peer)
    }

    /// Who feeds this peer, the tree's parent first.
    pub(crate) fn parents(&self) -> impl Iterator<Item = PeerKey> + '_ {
        self.keys[self.parents_from..].iter().copied()
    }
}

/// What follows from the group's graph as it is now.
#[derive(Debug)]
struct Places {
    /// The view that it was looked at in: the snapshot's hash, and the component.
    view: (u64, u32),
    redundancy: u8,
    graph: u64,
    members: usize,
    routes: Routes,
    /// Those of the graph before this one, and until when they are followed as well.
    former: Option<(Micros, Routes)>,
}

/// By origin and class; `None` where the graph lacks the origin or this peer.
type Routes = LruCache<(PeerKey, Class), Option<Arc<Route>>>;

/// A group's [`Places`]; looked up, and thereby made, where only a look is asked for.
#[derive(Debug, Default)]
pub(crate) struct Overlays(RefCell<Option<Places>>);

impl Multicast {
    /// The overlay from `origin` as this peer sees it; `None` while either is not in it.
    pub(crate) fn route(
        &self,
        cx: CxRef<'_>,
        id: GroupId,
        origin: PeerKey,
        class: Class,
    ) -> Option<Arc<Route>> {
        let mut places = self.places(cx, id)?;
        if let Some(route) = places.routes.get(&(origin, class)) {
            return route.clone();
        }
        let graph = self.group_graph(cx, id)?;
        let ends = graph.index(cx.core.me).zip(graph.index(origin));
        let route = ends.map(|(me, from)| {
            let mesh = graph.route(cx.net.cache(), from, class, places.redundancy);
            Arc::new(Route::new(&graph, &mesh, me))
        });
        places.routes.put((origin, class), route.clone());
        if places.routes.len() > ROUTES_MAX {
            places.routes.pop_lru();
        }
        route
    }

    /// This peer's place until its view changed, if that was a moment ago: others may follow the former overlay still, and whoever gets another parent has, for
    /// as long as views differ, none by both. So for this long both overlays are followed.
    pub(crate) fn former_route(
        &self,
        cx: CxRef<'_>,
        id: GroupId,
        origin: PeerKey,
        class: Class,
    ) -> Option<Arc<Route>> {
        let mut places = self.places(cx, id)?;
        let (until, routes) = places.former.as_mut()?;
        if *until <= cx.core.now.mono {
            places.former = None;
            return None;
        }
        routes.get(&(origin, class)).cloned().flatten()
    }

    /// The most children that this peer has in the trees of origins whose messages flow.
    pub(crate) fn most_children(&self, cx: CxRef<'_>) -> u16 {
        let flowing =
            |group: &Group| -> Vec<_> { group.flowing(cx.core.now.mono, FED_MS).collect() };
        let most = self
            .groups
            .iter()
            .flat_map(|(id, group)| flowing(group).into_iter().map(move |origin| (*id, origin)))
            .filter_map(|(id, origin)| self.route(cx, id, origin, Class::Normal))
            .map(|route| route.children().count())
            .max();
        most.map_or(0, |most| u16::try_from(most).unwrap_or(u16::MAX))
    }

    /// The hash of the group's graph: while it stays, so do all its overlays.
    pub(crate) fn graph_hash(&self, cx: CxRef<'_>, id: GroupId) -> Option<u64> {
        self.places(cx, id).map(|places| places.graph)
    }

    /// How many members the view shows, this peer included if it is one.
    pub(crate) fn members_in_view(&self, cx: CxRef<'_>, id: GroupId) -> usize {
        self.places(cx, id).map_or(0, |places| places.members)
    }

    fn places(&self, cx: CxRef<'_>, id: GroupId) -> Option<RefMut<'_, Places>> {
        let group = self.groups.get(&id)?;
        let view = cx.net.view_name()?;
        let redundancy = group.settings.values.redundancy;
        let mut places = group.overlays.0.borrow_mut();
        let is_new = |places: &Places| (places.view, places.redundancy) != (view, redundancy);
        if places.as_ref().is_none_or(is_new) {
            let graph = self.group_graph(cx, id)?;
            let (routes, former) = match places.take() {
                Some(places) if places.graph == graph.hash && places.redundancy == redundancy => {
                    (places.routes, places.former)
                }
                Some(places) => {
                    let debounce = Micros::from_millis(cx.core.config.database.debounce_ms);
                    let until = cx.core.now.mono + debounce.times(FORMER_DEBOUNCES);
                    (LruCache::unbounded(), Some((until, places.routes)))
                }
                None => (LruCache::unbounded(), None),
            };
            *places = Some(Places {
                view,
                redundancy,
                graph: graph.hash,
                members: graph.members,
                routes,
                former,
            });
        }
        RefMut::filter_map(places, Option::as_mut).ok()
    }
}
