//! Bounded concurrency with a bounded queue before it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Lets so many requests in at once, and so many wait so long.
#[derive(Debug)]
pub(crate) struct Gate {
    permits: Arc<Semaphore>,
    waiting: AtomicUsize,
    queue_max: usize,
    wait_max: Duration,
}

/// The queue is full, or the wait was too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full;

impl Gate {
    pub(crate) fn new(concurrency: usize, queue_max: usize, wait_max: Duration) -> Gate {
        Gate {
            permits: Arc::new(Semaphore::new(concurrency)),
            waiting: AtomicUsize::new(0),
            queue_max,
            wait_max,
        }
    }

    /// Waits for a place.
    pub(crate) async fn enter(&self) -> Result<OwnedSemaphorePermit, Full> {
        if let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() {
            return Ok(permit);
        }
        let _queued = Queued::new(self).ok_or(Full)?;
        match tokio::time::timeout(self.wait_max, Arc::clone(&self.permits).acquire_owned()).await {
            Ok(Ok(permit)) => Ok(permit),
            _ => Err(Full),
        }
    }

    /// How many wait.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }
}

/// A place in the queue, given back however the wait ends.
struct Queued<'a>(&'a Gate);

impl<'a> Queued<'a> {
    fn new(gate: &'a Gate) -> Option<Queued<'a>> {
        let queued = Queued(gate);
        (gate.waiting.fetch_add(1, Ordering::Relaxed) < gate.queue_max).then_some(queued)
    }
}

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "current_thread")]
    async fn places_and_queue_are_bounded() {
        let gate = Gate::new(1, 1, Duration::from_millis(20));
        let inside = gate.enter().await.unwrap();
        let (first, second) = tokio::join!(gate.enter(), gate.enter());
        assert_eq!(first.map(|_| ()), Err(Full), "waits too long");
        assert_eq!(second.map(|_| ()), Err(Full), "finds the queue full");
        assert_eq!(gate.waiting(), 0);
        drop(inside);
        assert!(gate.enter().await.is_ok());
    }
}
