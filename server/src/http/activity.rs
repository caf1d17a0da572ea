//! What a connection that carries several requests at once is doing, and when that has to end.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper::body::{Body, Frame, SizeHint};

/// So many requests may be dropped by a client that waits for fewer.
const DROPPED_MAX: u64 = 100;

/// What a connection of HTTP/2 is doing.
#[derive(Debug, Default)]
pub(crate) struct Activity(Mutex<State>);

#[derive(Debug)]
struct State {
    /// Requests that have no response yet, responses whose next bytes are to be taken by the client, and those whose next
    /// bytes are still being made.
    asking: usize,
    sending: usize,
    making: usize,
    answered: u64,
    dropped: u64,
    /// When the last request came or the last response ended, and when bytes of a response were last taken.
    busy: Instant,
    taken: Instant,
}

impl Default for State {
    fn default() -> State {
        State {
            asking: 0,
            sending: 0,
            making: 0,
            answered: 0,
            dropped: 0,
            busy: Instant::now(),
            taken: Instant::now(),
        }
    }
}

/// Why a connection has to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Over {
    /// Nothing has been asked for long.
    Idle,
    /// Nothing is taken, or too much is dropped.
    Abuse,
}

impl Activity {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its idle time begins now.
    pub(crate) fn rest(&self) {
        self.state().busy = Instant::now();
    }

    /// A response begins.
    fn begin(&self) {
        let mut state = self.state();
        if state.sending == 0 {
            state.taken = Instant::now();
        }
        state.sending += 1;
    }

    /// The connection took a piece of a response.
    fn take(&self) {
        self.state().taken = Instant::now();
    }

    /// The connection asked for a piece that is not there yet: the client is not what a response waits for.
    fn wait(&self) {
        let mut state = self.state();
        state.sending -= 1;
        state.making += 1;
    }

    /// The piece is there.
    fn go_on(&self) {
        self.state().making -= 1;
        self.begin();
    }

    /// A response is over.
    fn end(&self, is_waiting: bool) {
        let mut state = self.state();
        if is_waiting {
            state.making -= 1;
        } else {
            state.sending -= 1;
        }
        state.busy = Instant::now();
    }

    fn over(&self, idle_max: Duration, stall_max: Duration) -> Option<Over> {
        let state = self.state();
        let is_stalled = state.sending > 0 && state.taken.elapsed() > stall_max;
        if is_stalled || (state.dropped > DROPPED_MAX && state.dropped > state.answered) {
            return Some(Over::Abuse);
        }
        let is_idle =
            state.asking + state.sending + state.making == 0 && state.busy.elapsed() > idle_max;
        is_idle.then_some(Over::Idle)
    }

    /// Waits until the connection has to end.
    pub(crate) async fn is_over(&self, idle_max: Duration, stall_max: Duration) -> Over {
        let every = (idle_max.min(stall_max) / 4)
            .clamp(Duration::from_millis(20), Duration::from_millis(250));
        loop {
            if let Some(over) = self.over(idle_max, stall_max) {
                return over;
            }
            tokio::time::sleep(every).await;
        }
    }
}

/// A request without response; dropped so, its client has dropped it.
pub(crate) struct Asking(Option<Arc<Activity>>);

impl Asking {
    pub(crate) fn new(activity: &Arc<Activity>) -> Asking {
        let mut state = activity.state();
        state.asking += 1;
        state.busy = Instant::now();
        drop(state);
        Asking(Some(Arc::clone(activity)))
    }

    /// Its response is there, and its body is watched from here on.
    pub(crate) fn answered<B>(mut self, body: B) -> Watched<B> {
        let activity = self.0.take().expect("taken only here");
        let mut state = activity.state();
        state.asking -= 1;
        state.answered += 1;
        drop(state);
        activity.begin();
        Watched {
            body,
            activity,
            is_waiting: false,
        }
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        if let Some(activity) = &self.0 {
            let mut state = activity.state();
            state.asking -= 1;
            state.dropped += 1;
        }
    }
}

/// A body whose progress is watched.
pub(crate) struct Watched<B> {
    body: B,
    activity: Arc<Activity>,
    is_waiting: bool,
}

impl<B: Body + Unpin> Body for Watched<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if polled.is_pending() != self.is_waiting {
            self.is_waiting = polled.is_pending();
            if self.is_waiting {
                self.activity.wait();
            } else {
                self.activity.go_on();
            }
        }
        if matches!(polled, Poll::Ready(Some(Ok(_)))) {
            self.activity.take();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<B> Drop for Watched<B> {
    fn drop(&mut self) {
        self.activity.end(self.is_waiting);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_millis(20);
    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn idle_stalled_and_fickle_connections_end() {
        let activity = Arc::new(Activity::default());
        assert_eq!(activity.over(SHORT, LONG), None);
        std::thread::sleep(SHORT * 2);
        assert_eq!(activity.over(SHORT, LONG), Some(Over::Idle));
        let asking = Asking::new(&activity);
        std::thread::sleep(SHORT * 2);
        assert_eq!(activity.over(SHORT, SHORT), None, "a request runs");
        let body = asking.answered(());
        assert_eq!(activity.over(SHORT, SHORT), None, "its response begins");
        std::thread::sleep(SHORT * 2);
        assert_eq!(activity.over(LONG, SHORT), Some(Over::Abuse), "stalled");
        activity.take();
        assert_eq!(activity.over(LONG, SHORT), None, "it goes on");
        activity.wait();
        std::thread::sleep(SHORT * 2);
        assert_eq!(activity.over(SHORT, SHORT), None, "its guest is silent");
        activity.go_on();
        assert_eq!(activity.over(SHORT, SHORT), None, "and speaks again");
        drop(body);
        for _ in 0..=DROPPED_MAX {
            assert_eq!(activity.over(LONG, LONG), None);
            drop(Asking::new(&activity));
        }
        assert_eq!(activity.over(LONG, LONG), Some(Over::Abuse), "fickle");
        for _ in 0..=DROPPED_MAX {
            Asking::new(&activity).answered(());
        }
        assert_eq!(activity.over(LONG, LONG), None, "it waits for most");
    }
}
