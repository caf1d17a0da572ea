//! An HTTP/1.1 client that knows what these servers answer: a length or chunks, and connections that stay.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};

pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

pub(crate) struct Connection {
    address: SocketAddr,
    stream: Option<BufReader<TcpStream>>,
}

impl Connection {
    pub(crate) fn new(address: SocketAddr) -> Connection {
        Connection {
            address,
            stream: None,
        }
    }

    /// Asks once more on a new connection when the old one was closed.
    pub(crate) fn get(&mut self, path: &str) -> Reply {
        if let Some(mut stream) = self.stream.take()
            && let Ok((reply, stays)) = exchange(&mut stream, self.address, path)
        {
            self.stream = stays.then_some(stream);
            return reply;
        }
        let stream = TcpStream::connect(self.address).expect("the server listens");
        let mut stream = BufReader::with_capacity(1 << 16, stream);
        let (reply, stays) = exchange(&mut stream, self.address, path).expect("the server answers");
        self.stream = stays.then_some(stream);
        reply
    }
}

/// The host is the server's own: a site that knows where it is redirects others.
fn exchange(
    stream: &mut BufReader<TcpStream>,
    host: SocketAddr,
    path: &str,
) -> std::io::Result<(Reply, bool)> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: bench\r\n\r\n");
    stream.get_mut().write_all(request.as_bytes())?;
    let mut line = String::new();
    stream.read_line(&mut line)?;
    let status = line.split(' ').nth(1).and_then(|s| s.parse().ok());
    let status = status.ok_or_else(|| std::io::Error::other("no status line"))?;
    let (mut length, mut chunked, mut stays) = (None, false, true);
    loop {
        line.clear();
        stream.read_line(&mut line)?;
        let header = line.trim_end().to_ascii_lowercase();
        match header
            .split_once(':')
            .map(|(name, value)| (name, value.trim()))
        {
            None => break,
            Some(("content-length", value)) => length = value.parse::<usize>().ok(),
            Some(("transfer-encoding", "chunked")) => chunked = true,
            Some(("connection", "close")) => stays = false,
            Some(_) => {}
        }
    }
    let mut body = Vec::new();
    if chunked {
        loop {
            line.clear();
            stream.read_line(&mut line)?;
            let size = usize::from_str_radix(line.trim(), 16).map_err(std::io::Error::other)?;
            let from = body.len();
            body.resize(from + size + 2, 0);
            stream.read_exact(&mut body[from..])?;
            body.truncate(from + size);
            if size == 0 {
                break;
            }
        }
    } else if let Some(length) = length {
        body.resize(length, 0);
        stream.read_exact(&mut body)?;
    } else {
        stays = false;
        stream.read_to_end(&mut body)?;
    }
    Ok((Reply { status, body }, stays))
}
