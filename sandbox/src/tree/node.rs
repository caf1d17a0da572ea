//! What a name leads to: a node of a tree, of the instance's own files, or a device.

/// A node of what the guest sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Node {
    /// A node of a tree, by the tree's index and the node's number.
    Base(u8, u32),
    /// A scratch file or directory.
    Scratch(u32),
    /// A device.
    Device(Device),
}

/// What lies under `/dev`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Device {
    Null,
    Zero,
    Random,
    Stdin,
    Stdout,
    Stderr,
}

impl Device {
    pub(crate) const ALL: [(&'static [u8], Device); 7] = [
        (b"null", Device::Null),
        (b"zero", Device::Zero),
        (b"urandom", Device::Random),
        (b"random", Device::Random),
        (b"stdin", Device::Stdin),
        (b"stdout", Device::Stdout),
        (b"stderr", Device::Stderr),
    ];

    /// Its inode number.
    pub(crate) fn number(self) -> u64 {
        Device::ALL
            .iter()
            .position(|(_, device)| *device == self)
            .unwrap_or(0) as u64
            + 1
    }
}
