//! Both ends of a request, as the protocol at the edge knows them.

/// Who asks, and where the request came in.
#[derive(Clone, Debug)]
pub(crate) struct Peers {
    pub(crate) client: Client,
    /// Address and port of this server.
    pub(crate) local: (String, u16),
}

/// A client, as far as it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Client {
    pub(crate) address: String,
    /// Zero for a client behind a proxy.
    pub(crate) port: u16,
    pub(crate) https: bool,
}
