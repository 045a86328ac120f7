//! Routes of requests, remembered.

use foldhash::fast::RandomState;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use why502_facts::{RequestKey, RouteOf};

/// How many requests a generation of the memory holds.
const MAX_KEYS: usize = 8192;

/// A route by its place in [`Routes`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct RouteId(usize);

/// The entry of a route in a list that grows with the routes.
pub(super) fn at_route<T>(list: &mut Vec<T>, route: RouteId, new: impl FnMut() -> T) -> &mut T {
    if list.len() <= route.0 {
        list.resize_with(route.0 + 1, new);
    }
    &mut list[route.0]
}

/// Asks the caller for the route of a request, and remembers the answers.
///
/// Two generations of bounded size: what is asked for again moves to the young one, and the old one is dropped when the
/// young one is full. A million distinct paths cost a million questions, but no memory.
pub(super) struct Routes<'a> {
    route_of: Option<&'a RouteOf<'a>>,
    young: HashMap<Box<[u8]>, RouteId, RandomState>,
    old: HashMap<Box<[u8]>, RouteId, RandomState>,
    key: Vec<u8>,
    names: Vec<Option<Arc<str>>>,
    ids: BTreeMap<Option<Arc<str>>, RouteId>,
}

impl std::fmt::Debug for Routes<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Routes").field("names", &self.names).finish_non_exhaustive()
    }
}

impl<'a> Routes<'a> {
    pub(super) fn new(route_of: Option<&'a RouteOf<'a>>) -> Self {
        Self {
            route_of,
            young: HashMap::default(),
            old: HashMap::default(),
            key: Vec::new(),
            names: Vec::new(),
            ids: BTreeMap::new(),
        }
    }

    /// The route of all requests, if nobody is asked for it.
    pub(super) fn only(&mut self) -> Option<RouteId> {
        match (self.route_of, self.names.is_empty()) {
            (Some(_), _) => None,
            (None, true) => Some(self.id(None)),
            (None, false) => Some(RouteId(0)),
        }
    }

    /// The route of a request.
    pub(super) fn find(&mut self, key: &RequestKey<'_>) -> RouteId {
        self.spell(key);
        if let Some(&id) = self.young.get(self.key.as_slice()) {
            return id;
        }
        let id = match self.old.remove(self.key.as_slice()) {
            Some(id) => id,
            None => self.id(self.route_of.and_then(|route_of| route_of(key))),
        };
        if self.young.len() >= MAX_KEYS {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(self.key.as_slice().into(), id);
        id
    }

    /// The place of a name.
    pub(super) fn id(&mut self, name: Option<Arc<str>>) -> RouteId {
        let Self { names, ids, .. } = self;
        *ids.entry(name).or_insert_with_key(|name| {
            names.push(name.clone());
            RouteId(names.len() - 1)
        })
    }

    pub(super) fn name(&self, id: RouteId) -> Option<&Arc<str>> {
        self.names[id.0].as_ref()
    }

    /// All names, by their places.
    pub(super) fn names(&self) -> &[Option<Arc<str>>] {
        &self.names
    }

    /// Writes the request down so that different ones differ: every part with its length.
    fn spell(&mut self, key: &RequestKey<'_>) {
        let RequestKey { log, server, host, method, path, scheme, peer, sent } = *key;
        self.key.clear();
        for part in [Some(log), server, host, Some(method), Some(path), scheme, peer, sent] {
            let length = part.map_or(usize::MAX, str::len);
            self.key.extend_from_slice(&length.to_ne_bytes());
            self.key.extend_from_slice(part.unwrap_or_default().as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn a_request_is_asked_for_once() {
        let n_asked = AtomicUsize::new(0);
        let route_of = |key: &RequestKey<'_>| {
            n_asked.fetch_add(1, Ordering::Relaxed);
            key.path.starts_with("/api").then(|| Arc::from("api"))
        };
        let mut routes = Routes::new(Some(&route_of));
        let key = |path| RequestKey { log: "l", method: "GET", path, ..RequestKey::default() };
        let (first, again) = (routes.find(&key("/api/1")), routes.find(&key("/api/1")));
        assert_eq!((first, n_asked.load(Ordering::Relaxed)), (again, 1));
        assert_eq!(routes.find(&key("/api/2")), first);
        assert_eq!(routes.name(first).map(|name| &**name), Some("api"));
        let other = routes.find(&key("/"));
        assert_eq!(routes.name(other), None);
    }

    #[test]
    fn distinct_paths_do_not_grow_the_memory() {
        let route_of = |_: &RequestKey<'_>| None;
        let mut routes = Routes::new(Some(&route_of));
        for n in 0..50_000 {
            let path = format!("/{n}");
            routes.find(&RequestKey { path: &path, ..RequestKey::default() });
        }
        assert!(routes.young.len() + routes.old.len() <= 2 * MAX_KEYS);
        assert_eq!(routes.names.len(), 1);
    }
}
