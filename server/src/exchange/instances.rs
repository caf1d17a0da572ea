//! The requests that instances answer at this moment, for `/-/instances`.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
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
    running: Mutex<BTreeMap<u64, Underway>>,
}

/// Takes a request off the list when it is dropped.
#[derive(Debug)]
pub(crate) struct Listed<'a> {
    instances: &'a Instances,
    number: u64,
}

impl Instances {
    fn running(&self) -> MutexGuard<'_, BTreeMap<u64, Underway>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lists a request while the result lives.
    pub(crate) fn list(&self, running: Underway) -> Listed<'_> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.running().insert(number, running);
        Listed {
            instances: self,
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
        self.running().values().map(row).collect()
    }
}

impl Drop for Listed<'_> {
    fn drop(&mut self) {
        self.instances.running().remove(&self.number);
    }
}
