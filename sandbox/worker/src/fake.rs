//! A stand-in for guests, for tests of everything between the HTTP side and them.
//!
//! The worker's real loop runs on a thread of the test; only what answers requests is replaced. The path of a request
//! says what happens to it.

use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::answer::{Answer, Ending};
use crate::backend::{Asked, Backend, Cancel};
use crate::line::Line;
use crate::link::{Start, Started};
use crate::serve;
use crate::wire::{self, Kind};

/// Starts workers that are threads.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fake {
    pub(crate) starts: Arc<AtomicU64>,
    pub(crate) cancelled: Arc<AtomicU64>,
    /// Pieces of answers that were sent before the end.
    pub(crate) pieces: Arc<AtomicU64>,
}

impl Start for Fake {
    fn start(&self) -> std::io::Result<Started> {
        self.starts.fetch_add(1, Ordering::SeqCst);
        let (ours, theirs) = UnixStream::pair()?;
        let fake = self.clone();
        std::thread::spawn(move || {
            std::io::Write::write_all(&mut &theirs, &wire::frame(Kind::Ready, 0, &[])).unwrap();
            let backend = FakeBackend {
                fake,
                socket: theirs.try_clone().unwrap(),
            };
            serve::serve(&Arc::new(theirs), &backend, 4);
        });
        Ok(Started {
            socket: ours,
            child: None,
        })
    }
}

struct FakeBackend {
    fake: Fake,
    socket: UnixStream,
}

impl Backend for FakeBackend {
    fn answer(&self, asked: Asked, started: &dyn Fn(Cancel), mut line: Line) -> Answer {
        let uri = asked
            .variables
            .iter()
            .find(|(name, _)| name == b"REQUEST_URI");
        let uri = uri
            .map(|(_, uri)| String::from_utf8_lossy(uri).into_owned())
            .unwrap_or_default();
        let cancel = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&cancel);
        started(Box::new(move || flag.store(true, Ordering::SeqCst)));
        match uri.as_str() {
            "/die" => {
                self.socket.shutdown(std::net::Shutdown::Both).unwrap();
                Answer::ended(Ending::HostBug)
            }
            "/panic" => panic!("asked to"),
            "/garbage" => {
                std::io::Write::write_all(&mut &self.socket, &[0xFF; 64]).unwrap();
                Answer::ended(Ending::HostBug)
            }
            "/loop" => {
                let since = Instant::now();
                while !cancel.load(Ordering::SeqCst) && since.elapsed() < Duration::from_secs(20) {
                    std::thread::sleep(Duration::from_millis(1));
                }
                self.fake.cancelled.fetch_add(1, Ordering::SeqCst);
                Answer::ended(Ending::Cancelled)
            }
            // Two pieces with a rest behind them, or pieces until nobody wants them.
            "/flush" | "/flow" => {
                let response = sandbox::Response {
                    status: 200,
                    headers: Vec::new(),
                    dropped: 0,
                };
                let pieces: &mut dyn Iterator<Item = u64> = match uri.as_str() {
                    "/flush" => &mut (0..2),
                    _ => &mut (0..u64::MAX),
                };
                for piece in pieces {
                    let piece = vec![b'0' + (piece % 10).to_le_bytes()[0]; 1000];
                    while sandbox::Live::offer(&mut line, &response, &piece).is_none() {
                        if cancel.load(Ordering::SeqCst) {
                            self.fake.cancelled.fetch_add(1, Ordering::SeqCst);
                            return Answer::ended(Ending::Cancelled);
                        }
                    }
                    self.fake.pieces.fetch_add(1, Ordering::SeqCst);
                }
                Answer {
                    status: 200,
                    body: b"rest".as_slice().into(),
                    ..Answer::ended(Ending::Answered)
                }
            }
            "/large" => Answer {
                status: 200,
                body: vec![b'x'; 3 << 20].into(),
                ..Answer::ended(Ending::Answered)
            },
            _ => Answer {
                status: 200,
                body: [uri.as_bytes(), b":", &asked.body].concat().into(),
                ..Answer::ended(Ending::Answered)
            },
        }
    }
}
