//! `--buffers`: bodies that clients are slow to send or to take stay within one budget.

use std::io::Write;
use std::net::TcpStream;

use crate::serve_php::server;
use crate::support::wait_for;

#[test]
fn bodies_share_a_budget() {
    let server = server!("--buffers", "1M");
    let post = |len: usize| {
        let headers = format!("Content-Length: {len}\r\n");
        server.request("POST", "/echo", &headers, &"x".repeat(len))
    };
    assert_eq!(post(200 << 10).status, 200);
    // Answers count as well: four megabytes are too much, whoever asks.
    let large = server.get("/large");
    assert_eq!(
        (large.status, large.header("retry-after")),
        (503, Some("1"))
    );
    // Five clients that have sent nearly everything and wait.
    let head = format!(
        "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n",
        256 << 10
    );
    let slow: Vec<TcpStream> = (0..5)
        .map(|_| {
            let mut stream = TcpStream::connect(server.address).unwrap();
            stream.write_all(head.as_bytes()).unwrap();
            stream.write_all(&vec![b'x'; 200 << 10]).unwrap();
            stream
        })
        .collect();
    wait_for("their bodies", || {
        server.metrics().contains("zapp_buffered_bytes 1024000\n")
    });
    assert_eq!(post(200 << 10).status, 503);
    assert_eq!(server.get("/hello").body, "hello", "small things go on");
    drop(slow);
    wait_for("their end", || {
        server.metrics().contains("zapp_buffered_bytes 0\n")
    });
    assert_eq!(post(200 << 10).status, 200);
}
