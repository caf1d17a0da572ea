//! The requests that instances answer at this moment, for `/-/instances`.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// One of them.
#[derive(Clone, Debug)]
pub(crate) struct Underway {
    pub(crate) site: String,
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) remote: String,
    pub(crate) request_id: String,
    pub(crate) since: Instant,
}

/// All of them, the oldest first.
#[derive(Debug, Default)]
pub(crate) struct Instances {
    next: AtomicU64,
    running: Arc<Mutex<BTreeMap<u64, Underway>>>,
}

/// Takes a request off the list when it is dropped.
#[derive(Debug)]
pub(crate) struct Listed {
    running: Arc<Mutex<BTreeMap<u64, Underway>>>,
    number: u64,
}

fn lock(running: &Mutex<BTreeMap<u64, Underway>>) -> MutexGuard<'_, BTreeMap<u64, Underway>> {
    running.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Instances {
    /// Lists a request while the result lives.
    pub(crate) fn list(&self, running: Underway) -> Listed {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        lock(&self.running).insert(number, running);
        Listed {
            running: Arc::clone(&self.running),
            number,
        }
    }

    /// The list as JSON, one object for each.
    pub(crate) fn json(&self) -> serde_json::Value {
        let row = |running: &Underway| {
            serde_json::json!({
                "site": running.site, "method": running.method, "target": running.target,
                "remote": running.remote, "request_id": running.request_id,
                "ms": u64::try_from(running.since.elapsed().as_millis()).unwrap_or(u64::MAX),
            })
        };
        lock(&self.running).values().map(row).collect()
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        lock(&self.running).remove(&self.number);
    }
}
