//! Both ends of a connection, as the protocol at the edge knows them.

use std::net::IpAddr;

/// Who is at the two ends of a connection.
#[derive(Clone, Debug)]
pub(crate) struct Peers {
    /// Missing for a Unix socket.
    pub(crate) remote: Option<IpAddr>,
    pub(crate) remote_port: u16,
    pub(crate) local: (String, u16),
}
