//! What the operator allows at most, whatever an image wishes.

use std::time::Duration;

use worker::RequestLimits;

use crate::site::manifest::{SnapshotLevel, Wishes};
use crate::site::units::{Size, Span};

/// Ceilings over every image's wishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ceilings {
    /// Of each request.
    pub limits: RequestLimits,
    /// How far programs have come in their snapshots, whatever the manifests say.
    pub snapshot: Option<SnapshotLevel>,
}

/// What is allowed when the operator says nothing.
impl Ceilings {
    /// Elapsed time of a request.
    pub const WALL: Span = Span(Duration::from_secs(30));
    /// CPU time of a request.
    pub const CPU: Span = Span(Duration::from_secs(10));
    /// Memory of an instance.
    pub const MEMORY: Size = Size(256 << 20);
    /// Bytes of an answer.
    pub const OUTPUT: Size = Size(64 << 20);
    /// Bytes of a request's body.
    pub const BODY: Size = Size(8 << 20);
    /// Scratch files and changed files of an instance.
    pub const SCRATCH: Size = Size(64 << 20);
    /// Open files of an instance.
    pub const FILES: u32 = 256;

    /// The smaller of what is allowed and what an image wishes.
    pub(crate) fn over(&self, wishes: &Wishes) -> RequestLimits {
        let ceiling = &self.limits;
        let time = |wish: Option<Span>, ceiling: u64| {
            wish.map_or(ceiling, |span| span.as_millis().min(ceiling))
        };
        let size =
            |wish: Option<Size>, ceiling: u64| wish.map_or(ceiling, |size| size.0.min(ceiling));
        RequestLimits {
            wall_ms: time(wishes.wall, ceiling.wall_ms),
            cpu_ms: time(wishes.cpu, ceiling.cpu_ms),
            memory_bytes: size(wishes.memory, ceiling.memory_bytes),
            output_bytes: size(wishes.output, ceiling.output_bytes),
            body_bytes: size(wishes.body, ceiling.body_bytes),
            scratch_bytes: size(wishes.tmp, ceiling.scratch_bytes),
            files: wishes
                .files
                .map_or(ceiling.files, |files| files.min(ceiling.files)),
        }
    }
}

impl Default for Ceilings {
    fn default() -> Ceilings {
        Ceilings {
            limits: RequestLimits {
                wall_ms: Ceilings::WALL.as_millis(),
                cpu_ms: Ceilings::CPU.as_millis(),
                memory_bytes: Ceilings::MEMORY.0,
                output_bytes: Ceilings::OUTPUT.0,
                body_bytes: Ceilings::BODY.0,
                scratch_bytes: Ceilings::SCRATCH.0,
                files: Ceilings::FILES,
            },
            snapshot: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_may_ask_for_less_and_never_for_more() {
        let wishes = Wishes {
            wall: Some(Span(Duration::from_secs(1))),
            memory: Some(Size(1 << 40)),
            files: Some(3),
            ..Wishes::default()
        };
        let limits = Ceilings::default().over(&wishes);
        let ceiling = Ceilings::default().limits;
        assert_eq!((limits.wall_ms, limits.files), (1000, 3));
        assert_eq!(limits.memory_bytes, ceiling.memory_bytes);
        assert_eq!(limits.cpu_ms, ceiling.cpu_ms);
    }
}
