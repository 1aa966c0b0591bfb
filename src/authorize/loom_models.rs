//! Loom models of a token that changes while services read it through their caches. `.ci/loom` runs them.

use http::{HeaderMap, header::AUTHORIZATION};
use loom::thread;
use std::sync::Arc;

use super::{
    header_cache::{HeaderCache, SharedHeader},
    header_config::HeaderConfig,
};
use crate::refresh::loom_models::{ModelRefresher, explore};

/// A service with its own cache, and the one that all clones share.
struct Reader {
    model: ModelRefresher,
    shared: Arc<SharedHeader>,
    own: HeaderCache,
}

impl Reader {
    fn uncached(model: &ModelRefresher, shared: Arc<SharedHeader>) -> Self {
        Self { model: model.clone(), shared, own: HeaderCache::default() }
    }

    fn new(model: &ModelRefresher) -> Self {
        let mut reader = Self::uncached(model, Arc::default());
        // From the second use on, a service has a cache of its own.
        assert_eq!([reader.call(), reader.call()], [Some(1), Some(1)]);
        reader
    }

    /// A clone shares one cache, and has used its own already.
    fn clone_with_own_cache(&self) -> Self {
        let mut clone = Self::uncached(&self.model, self.shared.clone());
        assert_eq!([clone.call(), clone.call()], [Some(1), Some(1)]);
        clone
    }

    /// Returns the generation of the token that a request gets. The header must agree with it.
    fn call(&mut self) -> Option<u32> {
        let mut headers = HeaderMap::new();
        let id = self.own.insert_current(
            &self.model.0,
            &self.shared,
            &HeaderConfig::default(),
            &mut headers,
        );
        let secret = headers
            .get(AUTHORIZATION)
            .map(|value| value.to_str().unwrap()["Bearer ".len()..].parse().unwrap());
        assert_eq!(id.map(|id| id.generation()), secret, "the header is not that of the token");
        secret
    }
}

#[test]
fn services_never_return_to_an_older_token() {
    explore(|| {
        let (model, mut worker) = ModelRefresher::refreshing();
        let mut writer = Reader::new(&model);
        let mut reader = writer.clone_with_own_cache();
        let reading = thread::spawn(move || {
            let (first, second) = (reader.call(), reader.call());
            assert!(first <= second, "{first:?}, then {second:?}");
            reader
        });
        model.finish_login(&mut worker, 2);
        assert_eq!(writer.call(), Some(2), "a published token is used at once");
        let mut reader = reading.join().unwrap();
        assert_eq!(reader.call(), Some(2));
    });
}

#[test]
fn clones_for_one_call_each_never_return_to_an_older_token() {
    explore(|| {
        let (model, mut worker) = ModelRefresher::refreshing();
        let writer = Reader::new(&model);
        let clone = |reader: &Reader| Reader::uncached(&reader.model, reader.shared.clone());
        let reader = clone(&writer);
        let reading = thread::spawn(move || {
            let (first, second) = (clone(&reader).call(), clone(&reader).call());
            assert!(first <= second, "{first:?}, then {second:?}");
        });
        model.finish_login(&mut worker, 2);
        assert_eq!(clone(&writer).call(), Some(2), "a published token is used at once");
        reading.join().unwrap();
        assert_eq!(clone(&writer).call(), Some(2));
    });
}

#[test]
fn service_never_returns_to_an_older_token_after_another_has_read_the_cell() {
    explore(|| {
        let (model, mut worker) = ModelRefresher::refreshing();
        let mut cached = Reader::new(&model);
        let mut uncached = Reader::uncached(&model, Arc::default());
        let reading = thread::spawn(move || {
            let (first, second) = (uncached.call(), cached.call());
            assert!(first <= second, "{first:?}, then {second:?}");
        });
        model.finish_login(&mut worker, 2);
        reading.join().unwrap();
    });
}

#[test]
fn withdrawn_token_is_not_used() {
    explore(|| {
        let (model, _worker) = ModelRefresher::with_token();
        let mut writer = Reader::new(&model);
        let mut reader = writer.clone_with_own_cache();
        let reading = thread::spawn(move || {
            let (first, second) = (reader.call(), reader.call());
            assert!(first >= second, "{first:?}, then {second:?}");
            reader
        });
        model.0.invalidate();
        assert_eq!(writer.call(), None);
        let mut reader = reading.join().unwrap();
        assert_eq!(reader.call(), None);
    });
}
