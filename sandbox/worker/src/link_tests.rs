//! The link between front and worker, with threads in place of processes.

use super::*;
use crate::answer::Ending;
use crate::fake::Fake;

const WALL: Duration = Duration::from_secs(5);
const WAIT: Duration = Duration::from_secs(10);

fn link(fake: &Fake, output_max: u64) -> Link {
    Link::new(fake.clone(), output_max, |_| ())
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
        if fake.cancelled.load(Ordering::SeqCst) == 1 {
            assert!(lock(&link.shared.pending).is_empty());
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
