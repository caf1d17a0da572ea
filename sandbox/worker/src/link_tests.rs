//! The link between front and worker, with threads in place of processes.

use super::*;
use crate::answer::Ending;
use crate::fake::Fake;

const WALL: Duration = Duration::from_secs(5);
const WAIT: Duration = Duration::from_secs(10);

fn link(fake: &Fake, output_max: u64) -> Link {
    Link::new(fake.clone(), output_max, u64::MAX, |_| ())
}

async fn ask(link: &Link, uri: &str, wall: Duration) -> Result<Answer, NoAnswer> {
    let variables = vec![(b"REQUEST_URI".to_vec(), uri.as_bytes().to_vec())];
    link.ask(&variables, b"body", wall, WAIT).await
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
