//! The link between front and worker, with threads in place of processes.

use super::*;
use crate::answer::{Answer, Ending};
use crate::fake::Fake;
use crate::stream::{Piece, Stream};

const WALL: Duration = Duration::from_secs(5);
const WAIT: Duration = Duration::from_secs(10);

fn link(fake: &Fake, output_max: u64) -> Link {
    Link::new(fake.clone(), output_max, u64::MAX, |_| ())
}

async fn ask(link: &Link, uri: &str, wall: Duration) -> Result<Answer, NoAnswer> {
    match first(link, uri, wall).await? {
        Reply::Whole(answer) => Ok(answer),
        Reply::Begun(begun) => panic!("{uri} began with {begun:?}"),
    }
}

async fn first(link: &Link, uri: &str, wall: Duration) -> Result<Reply, NoAnswer> {
    let variables = vec![(b"REQUEST_URI".to_vec(), uri.as_bytes().to_vec())];
    link.ask(&variables, b"body", wall, WAIT).await
}

async fn begun(link: &Link, uri: &str) -> Stream {
    match first(link, uri, WALL).await.unwrap() {
        Reply::Begun(begun) => begun.stream,
        Reply::Whole(answer) => panic!("{uri} did not flush: {answer:?}"),
    }
}

async fn next(stream: &mut Stream) -> Result<Piece, NoAnswer> {
    std::future::poll_fn(|context| stream.poll_next(context)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_flushed_comes_before_the_end() {
    let link = link(&Fake::default(), 64 << 20);
    let mut stream = begun(&link, "/flush").await;
    for expected in [b'0', b'1'] {
        let Ok(Piece::Part(part)) = next(&mut stream).await else {
            panic!("no piece")
        };
        assert_eq!(part, vec![expected; 1000]);
    }
    let Ok(Piece::End(answer)) = next(&mut stream).await else {
        panic!("no end")
    };
    assert_eq!(
        (answer.ending, &answer.body[..]),
        (Ending::Answered, &b"rest"[..])
    );
    assert_eq!(link.shared.owed.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_takes_nothing_holds_one_piece_and_may_go() {
    let fake = Fake::default();
    let link = link(&fake, 64 << 20);
    let mut stream = begun(&link, "/flow").await;
    assert!(matches!(next(&mut stream).await, Ok(Piece::Part(_))));
    tokio::time::sleep(Duration::from_millis(100)).await;
    // One was taken, and the next one waits for it to be.
    assert_eq!(fake.pieces.load(Ordering::SeqCst), 2);
    drop(stream);
    for _ in 0..200 {
        if fake.cancelled.load(Ordering::SeqCst) == 1 && link.shared.owed.len() == 0 {
            assert_eq!(link.restarts(), 0);
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("not cancelled");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_streams_more_than_it_may_is_ended() {
    let fake = Fake::default();
    let link = link(&fake, 2500);
    let mut stream = begun(&link, "/flow").await;
    for _ in 0..2 {
        assert!(matches!(next(&mut stream).await, Ok(Piece::Part(_))));
    }
    assert!(matches!(next(&mut stream).await, Err(NoAnswer::Died)));
    assert_eq!(ask(&link, "/a", WALL).await.unwrap().body, "/a:body");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_requests_are_answered_each_with_its_own() {
    let link = Arc::new(link(&Fake::default(), 64 << 20));
    let tasks: Vec<_> = (0..200)
        .map(|number| {
            let link = Arc::clone(&link);
            tokio::spawn(async move {
                let uri = if number % 10 == 0 {
                    "/large".to_owned()
                } else {
                    format!("/{number}")
                };
                let answer = ask(&link, &uri, WALL).await.unwrap();
                let expected = if uri == "/large" {
                    "x".repeat(3 << 20)
                } else {
                    format!("{uri}:body")
                };
                assert!(answer.body == expected.as_bytes(), "{uri}");
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(link.restarts(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_worker_loses_its_requests_and_is_followed_by_another() {
    let fake = Fake::default();
    let link = link(&fake, 64 << 20);
    for round in 1..=3 {
        let (lost, died) = tokio::join!(ask(&link, "/loop", WALL), async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            ask(&link, "/die", WALL).await
        });
        assert_eq!(
            (lost, died),
            (Err(NoAnswer::Died), Err(NoAnswer::Died)),
            "round {round}"
        );
        assert_eq!(ask(&link, "/a", WALL).await.unwrap().body, "/a:body");
        assert_eq!(fake.starts.load(Ordering::SeqCst), round + 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_costs_one_request_only() {
    let fake = Fake::default();
    let link = link(&fake, 64 << 20);
    for _ in 0..10 {
        assert_eq!(
            ask(&link, "/panic", WALL).await.unwrap().ending,
            Ending::HostBug
        );
    }
    assert_eq!(ask(&link, "/a", WALL).await.unwrap().body, "/a:body");
    assert_eq!(fake.starts.load(Ordering::SeqCst), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_nobody_waits_for_is_cancelled() {
    let fake = Fake::default();
    let link = link(&fake, 64 << 20);
    let gone = tokio::time::timeout(Duration::from_millis(50), ask(&link, "/loop", WALL)).await;
    assert!(gone.is_err());
    for _ in 0..200 {
        // The worker says that it has ended it, and that is no answer to nobody.
        if fake.cancelled.load(Ordering::SeqCst) == 1 && link.shared.owed.len() == 0 {
            assert_eq!(ask(&link, "/a", WALL).await.unwrap().body, "/a:body");
            assert_eq!(link.restarts(), 0);
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("not cancelled");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_talks_nonsense_is_ended() {
    let fake = Fake::default();
    let link = link(&fake, 64 << 20);
    assert_eq!(ask(&link, "/garbage", WALL).await, Err(NoAnswer::Died));
    assert_eq!(ask(&link, "/a", WALL).await.unwrap().body, "/a:body");
    assert_eq!(fake.starts.load(Ordering::SeqCst), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_answers_more_than_it_may_is_ended() {
    let fake = Fake::default();
    let link = link(&fake, 1 << 20);
    assert_eq!(ask(&link, "/large", WALL).await, Err(NoAnswer::Died));
    assert_eq!(ask(&link, "/a", WALL).await.unwrap().body, "/a:body");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_does_not_end_a_request_in_time_is_ended() {
    let fake = Fake::default();
    let link = link(&fake, 64 << 20);
    assert_eq!(
        ask(&link, "/loop", Duration::ZERO).await,
        Err(NoAnswer::Overdue)
    );
    assert_eq!(ask(&link, "/a", WALL).await.unwrap().body, "/a:body");
    assert_eq!(fake.starts.load(Ordering::SeqCst), 2);
}

/// A worker that was broken into: each answers its first request with what nobody asked for.
struct Hostile;

impl Start for Hostile {
    fn start(&self) -> std::io::Result<Started> {
        let (ours, theirs) = UnixStream::pair()?;
        std::thread::spawn(move || {
            let piece = vec![b'x'; wire::PIECE];
            let answer = Answer {
                body: [&piece[..], &piece].concat().into(),
                ..Answer::ended(Ending::Answered)
            };
            let send = |frame: &[u8]| std::io::Write::write_all(&mut &theirs, frame);
            send(&wire::frame(Kind::Ready, 0, &[])).unwrap();
            std::io::Read::read(&mut &theirs, &mut [0]).unwrap();
            // The first frame alone of each, as long as somebody reads.
            for id in 0..4000 {
                let frames = wire::answer((1 << 40) + id, &answer);
                if send(&frames[0]).is_err() {
                    break;
                }
            }
        });
        Ok(Started {
            socket: ours,
            child: None,
        })
    }
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1));
    kib.unwrap().parse().unwrap()
}

// case limits-08-worker-frames
#[tokio::test(flavor = "multi_thread")]
async fn answers_that_nobody_asked_for_end_the_worker_and_are_not_kept() {
    let told: Arc<std::sync::Mutex<Vec<String>>> = Arc::default();
    let heard = Arc::clone(&told);
    let link = Link::new(Hostile, 64 << 20, u64::MAX, move |news| {
        heard.lock().unwrap().push(format!("{news:?}"));
    });
    let before = resident_kib();
    assert_eq!(ask(&link, "/a", WALL).await, Err(NoAnswer::Died));
    let grown = resident_kib().saturating_sub(before);
    assert!(grown < 200 << 10, "{grown} KiB were kept");
    for _ in 0..100 {
        if told
            .lock()
            .unwrap()
            .iter()
            .any(|news| news.contains("Ended"))
        {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let told = told.lock().unwrap();
    assert!(
        told.iter().any(|news| news.contains("was not asked")),
        "{told:?}"
    );
}

// The front puts one answer together at a time, and a worker that sends several at once must know it.
#[tokio::test(flavor = "multi_thread")]
async fn large_answers_at_once_do_not_end_the_worker() {
    let link = Arc::new(link(&Fake::default(), 64 << 20));
    let asked: Vec<_> = (0..40)
        .map(|_| {
            let link = Arc::clone(&link);
            tokio::spawn(async move { ask(&link, "/large", WALL).await.unwrap().body.len() })
        })
        .collect();
    for asked in asked {
        assert_eq!(asked.await.unwrap(), 3 << 20);
    }
    assert_eq!(link.restarts(), 0);
}
