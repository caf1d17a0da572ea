//! PHP as a guest of the sandbox: verified once, then a fresh instance for each start.

use std::fs::File;
use std::io::{Read, Seek};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use imagefs::Image;
use sandbox::{
    Config, Finished, ImageTree, Input, Instance, Limits, MemoryTree, Mounts, Outcome, Output,
    Request, Sandbox, Snapshot,
};

use super::PATIENCE;
use super::plan::{Capture, Start};

/// The PHP guest with the source tree before it.
#[derive(Debug)]
pub(super) struct Guest {
    start: Snapshot,
    name: String,
}

impl Guest {
    /// Verifies `program` and shows it `image` at `root`, where it starts.
    pub(super) fn new(program: &Path, image: &Path, root: &Path) -> Guest {
        let sandbox = Sandbox::new(Config::default()).expect("a sandbox");
        let elf = std::fs::read(program).expect("the guest was built");
        let php = sandbox.load(&elf).expect("the guest is verified");
        let tree = ImageTree::new(Image::ingest(image).expect("an image")).expect("a tree");
        let root = root.as_os_str().as_encoded_bytes();
        let mounts = Mounts::new()
            .mount("/", Arc::new(etc()))
            .mount(root, Arc::new(tree))
            .working_directory(root);
        let limits = Limits {
            wall: Some(PATIENCE),
            ..Limits::default()
        };
        let start = sandbox.start(&php, &limits, &mounts).expect("a snapshot");
        let name = program.to_string_lossy().into_owned();
        Guest { start, name }
    }

    /// Runs PHP; what it printed, and how it ended if not by itself.
    pub(super) fn run(&self, start: &Start) -> Vec<u8> {
        // One file behind both streams keeps the order of what is written.
        let mut stream = tempfile::tempfile().expect("a temporary file");
        let output = || Output::Host(twin(&stream));
        let (stdout, stderr) = match start.capture {
            Capture::Both => (output(), output()),
            Capture::Stdout => (output(), Output::Discard),
            Capture::Stderr => (Output::Discard, output()),
        };
        let mut builder = Instance::builder(&self.start)
            .arg(self.name.as_bytes())
            .args(start.arguments.iter().cloned())
            .stdin(Input::Bytes(start.stdin.clone()))
            .stdout(stdout)
            .stderr(stderr);
        let mut request = Request::default();
        for (name, value) in &start.environment {
            builder = builder.env([name.as_bytes(), b"=", value].concat());
            request = request.variable(name.as_bytes(), value.as_slice());
        }
        if start.web {
            builder = builder.request(request);
        }
        let finished = builder.build().expect("an instance").run();
        let mut printed = Vec::new();
        stream.rewind().expect("a file");
        stream.read_to_end(&mut printed).expect("a file");
        let mut output = if start.web {
            head(&finished)
        } else {
            Vec::new()
        };
        output.append(&mut printed);
        match finished.report.outcome {
            Outcome::Exited { .. } => {}
            other => output.extend_from_slice(format!("\nended: {other:?}\n").as_bytes()),
        }
        output
    }
}

/// Lists that programs look into, and a usual directory; an image has them where a site needs them.
fn etc() -> MemoryTree {
    let names = ["passwd", "group", "services", "protocols", "hosts"];
    let tree = MemoryTree::new().directory("usr/local/bin");
    names.iter().fold(tree, |tree, name| {
        match std::fs::read(format!("/etc/{name}")) {
            Ok(bytes) => tree.file(&format!("etc/{name}"), bytes),
            // Then the native PHP does without as well.
            Err(_) => tree,
        }
    })
}

fn twin(file: &File) -> OwnedFd {
    file.try_clone()
        .expect("a descriptor can be duplicated")
        .into()
}

/// Status and headers as CGI has them.
fn head(finished: &Finished) -> Vec<u8> {
    let Some(response) = &finished.response else {
        return Vec::new();
    };
    let mut head = format!("Status: {}\r\n", response.status).into_bytes();
    for (name, value) in &response.headers {
        head.extend_from_slice(name.as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value);
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
    head
}
