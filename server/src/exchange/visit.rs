//! A request that has found its site: who asks whom, under which name.

use std::sync::Arc;

use crate::exchange::peers::Peers;
use crate::hosting::Hosted;
use crate::ops::log::Level;
use crate::site::path::Host;
use crate::state::Server;

/// What stays the same while a request is answered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Visit<'a> {
    pub(crate) server: &'a Arc<Server>,
    pub(crate) hosted: &'a Arc<Hosted>,
    pub(crate) peers: &'a Peers,
    pub(crate) host: Option<&'a Host>,
    pub(crate) request_id: &'a str,
}

impl Visit<'_> {
    /// Writes an event about this request.
    pub(crate) fn event(&self, level: Level, message: &str, fields: &[(&str, String)]) {
        let id = ("request_id", self.request_id.to_owned());
        let fields: Vec<_> = std::iter::once(id).chain(fields.iter().cloned()).collect();
        self.server
            .log
            .event(level, &self.hosted.name, message, &fields);
    }

    /// Counts it among those for which there was no room.
    pub(crate) fn rejected(&self) {
        self.server.metrics.rejected(&self.hosted.name);
    }
}
