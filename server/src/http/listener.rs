//! Listening sockets, and connections that do not wait for ever for a client to read.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustix::net::{self, AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::time::{Instant, Sleep};

use crate::http::address::Address;
use crate::http::proxy::Ends;
use crate::http::target::Targets;

/// Connections that may wait to be accepted; the kernel takes its own limit where that is less.
const BACKLOG: i32 = 1024;

/// An address that is taken and not listened on yet: who comes is refused, as if nobody were there.
#[derive(Debug)]
pub(crate) struct Bound {
    socket: OwnedFd,
    file: Option<SocketFile>,
}

/// A socket's file, removed with it: left behind, it would only be replaced at the next start.
#[derive(Debug)]
pub(crate) struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

impl Bound {
    /// Takes an address; a socket file that nobody listens on any more is replaced.
    pub(crate) fn take(address: &Address) -> io::Result<Bound> {
        let family = match address {
            Address::Tcp(SocketAddr::V4(_)) => AddressFamily::INET,
            Address::Tcp(SocketAddr::V6(_)) => AddressFamily::INET6,
            Address::Unix(_) => AddressFamily::UNIX,
        };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = net::socket_with(family, SocketType::STREAM, flags, None)?;
        let file = match address {
            Address::Tcp(address) => {
                // A server that starts again does not wait for connections of the one before to be forgotten.
                net::sockopt::set_socket_reuseaddr(&socket, true)?;
                net::bind(&socket, address)?;
                None
            }
            Address::Unix(path) => {
                if is_abandoned(path) {
                    std::fs::remove_file(path)?;
                }
                net::bind(&socket, &SocketAddrUnix::new(path)?)?;
                Some(SocketFile(path.clone()))
            }
        };
        Ok(Bound { socket, file })
    }

    /// Takes connections from now on. Must be called within a tokio runtime.
    pub(crate) fn listen(self) -> io::Result<Listener> {
        net::listen(&self.socket, BACKLOG)?;
        Ok(match self.file {
            None => Listener::Tcp(TcpListener::from_std(self.socket.into())?),
            Some(file) => Listener::Unix(UnixListener::from_std(self.socket.into())?, file),
        })
    }
}

/// A listening socket.
#[derive(Debug)]
pub(crate) enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener, SocketFile),
}

/// An accepted connection.
pub(crate) struct Connection {
    pub(crate) stream: Patient,
    pub(crate) ends: Ends,
}

impl Listener {
    /// Where it listens, with the port that was chosen.
    pub(crate) fn address(&self) -> Address {
        match self {
            Listener::Tcp(listener) => Address::Tcp(
                listener
                    .local_addr()
                    .unwrap_or_else(|_| ([0, 0, 0, 0], 0).into()),
            ),
            Listener::Unix(_, file) => Address::Unix(file.0.clone()),
        }
    }

    /// Takes the next connection. A write that makes no progress for `write_timeout` ends it.
    pub(crate) async fn accept(&self, write_timeout: Duration) -> io::Result<Connection> {
        match self {
            Listener::Tcp(listener) => {
                let (stream, remote) = listener.accept().await?;
                stream.set_nodelay(true)?;
                let local = stream.local_addr()?;
                let ends = Ends {
                    remote: Some(remote.ip()),
                    remote_port: remote.port(),
                    local: (local.ip().to_string(), local.port()),
                };
                Ok(Connection {
                    stream: Patient::new(Stream::Tcp(stream), write_timeout),
                    ends,
                })
            }
            Listener::Unix(listener, _) => {
                let (stream, _) = listener.accept().await?;
                let ends = Ends {
                    remote: None,
                    remote_port: 0,
                    local: ("127.0.0.1".to_owned(), 80),
                };
                Ok(Connection {
                    stream: Patient::new(Stream::Unix(stream), write_timeout),
                    ends,
                })
            }
        }
    }
}

fn is_abandoned(path: &Path) -> bool {
    use std::os::unix::fs::FileTypeExt;
    let is_socket = path
        .symlink_metadata()
        .is_ok_and(|meta| meta.file_type().is_socket());
    is_socket
        && std::os::unix::net::UnixStream::connect(path)
            .is_err_and(|e| e.kind() == io::ErrorKind::ConnectionRefused)
}

enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// A stream whose writer gives up on a client that does not read.
pub(crate) struct Patient {
    stream: Stream,
    timeout: Duration,
    /// Set while a write waits.
    stalled: Option<Pin<Box<Sleep>>>,
    /// Bytes that were looked at and not read yet.
    ahead: Vec<u8>,
    /// Finds request targets in what is read.
    targets: Targets,
}

/// How a client of HTTP/2 begins (RFC 9113, 3.4).
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

impl Patient {
    fn new(stream: Stream, timeout: Duration) -> Patient {
        Patient {
            stream,
            timeout,
            stalled: None,
            ahead: Vec::new(),
            targets: Targets::new(),
        }
    }

    /// Looks at the first bytes, which are read again afterwards, until they tell what the client speaks.
    pub(crate) async fn begins_with_http2(&mut self) -> io::Result<bool> {
        let mut ahead = Vec::with_capacity(4096);
        loop {
            let count = self.read_buf(&mut ahead).await?;
            let common = ahead.len().min(HTTP2_PREFACE.len());
            let is_preface = ahead[..common] == HTTP2_PREFACE[..common];
            if count == 0 || !is_preface || common == HTTP2_PREFACE.len() {
                // What did not fit in there any more comes behind it.
                ahead.append(&mut self.ahead);
                self.ahead = ahead;
                return Ok(is_preface && common == HTTP2_PREFACE.len());
            }
        }
    }

    /// Looks at the clock when a write waits, and forgets it when it goes on.
    fn watch<T>(
        &mut self,
        context: &mut Context<'_>,
        polled: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.stalled = None;
            return polled;
        }
        let deadline = Instant::now() + self.timeout;
        let sleep = self
            .stalled
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        match sleep.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncRead for Patient {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.ahead.is_empty() {
            let count = self.ahead.len().min(buf.remaining());
            buf.put_slice(&self.ahead[..count]);
            self.ahead.drain(..count);
            if self.ahead.is_empty() {
                // A connection that stays must not keep the room.
                self.ahead = Vec::new();
            }
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        ready!(match &mut self.stream {
            Stream::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Stream::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
        })?;
        if let Some(mut encoded) = self.targets.pass(&buf.filled()[before..]) {
            buf.set_filled(before);
            let fits = encoded.len().min(buf.remaining());
            buf.put_slice(&encoded[..fits]);
            self.ahead = encoded.split_off(fits);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Patient {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = match &mut self.stream {
            Stream::Tcp(stream) => Pin::new(stream).poll_write(cx, buf),
            Stream::Unix(stream) => Pin::new(stream).poll_write(cx, buf),
        };
        self.watch(cx, polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = match &mut self.stream {
            Stream::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Stream::Unix(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        };
        self.watch(cx, polled)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Unix(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
