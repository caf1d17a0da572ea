//! Builds the guests of `tests/guests` and drives them.

use sandbox::{
    Config, Error, Finished, Input, Instance, Limits, Mounts, Outcome, Sandbox, Snapshot,
};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, OnceLock};

/// Where the test's own memory starts in the guest `calls`.
pub(crate) const AREA: u64 = 0x31000;

/// One sandbox for all tests of the process, as an embedder would have.
pub(crate) fn sandbox() -> &'static Sandbox {
    static SANDBOX: OnceLock<Sandbox> = OnceLock::new();
    SANDBOX.get_or_init(|| Sandbox::new(Config::default()).expect("this process can host guests"))
}

/// The ELF file of the guest in `tests/guests/<name>.s`.
pub(crate) fn guest(name: &str) -> Arc<Vec<u8>> {
    static BUILT: Mutex<Option<HashMap<String, Arc<Vec<u8>>>>> = Mutex::new(None);
    let mut built = BUILT.lock().expect("no panic while held");
    let built = built.get_or_insert_default();
    Arc::clone(
        built
            .entry(name.to_owned())
            .or_insert_with(|| Arc::new(assemble(name))),
    )
}

fn assemble(name: &str) -> Vec<u8> {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/guests");
    let target = tempfile::tempdir().expect("temporary directory");
    let object = target.path().join("guest.o");
    let program = target.path().join("guest");
    let source = sources.join(name).with_extension("s");
    run(Command::new("as")
        .arg("-I")
        .arg(&sources)
        .arg("-o")
        .arg(&object)
        .arg(source));
    run(Command::new("ld")
        .args([
            "-static",
            "-z",
            "noexecstack",
            "--no-warn-rwx-segments",
            "-T",
        ])
        .arg(sources.join("guest.ld"))
        .arg("-o")
        .arg(&program)
        .arg(object));
    std::fs::read(program).expect("ld wrote the program")
}

fn run(command: &mut Command) {
    let status = command
        .status()
        .expect("binutils are installed wherever Rust can link");
    assert!(status.success(), "{command:?}: {status}");
}

/// What instances of the guest start from.
pub(crate) fn snapshot(name: &str, limits: &Limits, mounts: &Mounts) -> Snapshot {
    let program = sandbox().load(&guest(name)).expect("the guest is verified");
    sandbox()
        .start(&program, limits, mounts)
        .expect("the guest fits")
}

/// A temporary directory that is removed with its owner.
pub(crate) fn directory() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().expect("temporary directory");
    let path = directory.path().to_owned();
    (directory, path)
}

/// A list of calls for the guest `calls`.
#[derive(Debug, Default, Clone)]
pub(crate) struct Script {
    input: Vec<u8>,
    steps: Vec<usize>,
}

/// What came back: for each step the result, and the bytes it showed.
#[derive(Debug)]
pub(crate) struct Played {
    pub(crate) results: Vec<i64>,
    pub(crate) shown: Vec<Vec<u8>>,
    pub(crate) finished: Finished,
}

impl Script {
    pub(crate) fn new() -> Script {
        Script::default()
    }

    /// Makes a call; missing arguments are zero.
    pub(crate) fn call<const N: usize>(mut self, number: i64, arguments: [u64; N]) -> Script {
        self.record(number, &arguments);
        self.steps.push(0);
        self
    }

    /// Puts bytes into guest memory.
    pub(crate) fn poke(mut self, at: u64, bytes: impl AsRef<[u8]>) -> Script {
        let bytes = bytes.as_ref();
        self.record(libc::SYS_read, &[0, at, bytes.len() as u64]);
        self.input.extend_from_slice(bytes);
        self.steps.push(0);
        self
    }

    /// Puts a NUL-terminated string into guest memory.
    pub(crate) fn path(self, at: u64, text: &str) -> Script {
        self.poke(at, [text.as_bytes(), b"\0"].concat())
    }

    /// Shows bytes of guest memory.
    pub(crate) fn peek(mut self, at: u64, len: u64) -> Script {
        self.record(libc::SYS_write, &[1, at, len]);
        self.steps.push(usize::try_from(len).expect("small"));
        self
    }

    /// Makes the calls of another script after these.
    #[must_use]
    pub(crate) fn then(mut self, next: &Script) -> Script {
        self.input.extend_from_slice(&next.input);
        self.steps.extend_from_slice(&next.steps);
        self
    }

    /// What the guest reads from its standard input.
    pub(crate) fn input(&self) -> &[u8] {
        &self.input
    }

    fn record(&mut self, number: i64, arguments: &[u64]) {
        self.input.extend_from_slice(&number.to_le_bytes());
        for index in 0..6 {
            let word = arguments.get(index).copied().unwrap_or(0);
            self.input.extend_from_slice(&word.to_le_bytes());
        }
    }

    /// Runs the calls and requires that the guest came to its end.
    pub(crate) fn play(&self, snapshot: &Snapshot) -> Played {
        let played = self.try_play(snapshot);
        assert_eq!(
            played.finished.report.outcome,
            Outcome::Exited { status: 0 }
        );
        assert_eq!(played.results.len(), self.steps.len());
        played
    }

    /// An instance that will make the calls.
    pub(crate) fn instance(&self, snapshot: &Snapshot) -> Instance {
        self.try_instance(snapshot)
            .expect("there is room for an instance")
    }

    /// The same, if there is room for it.
    pub(crate) fn try_instance(&self, snapshot: &Snapshot) -> Result<Instance, Error> {
        Instance::builder(snapshot)
            .arg("calls")
            .stdin(Input::Bytes(self.input.clone()))
            .build()
    }

    /// Runs the calls; the guest may end early.
    pub(crate) fn try_play(&self, snapshot: &Snapshot) -> Played {
        let finished = self.instance(snapshot).run();
        let mut rest = finished.stdout.as_slice();
        let (mut results, mut shown) = (Vec::new(), Vec::new());
        for len in &self.steps {
            let mut len = *len;
            if rest.len() < 8 {
                break;
            }
            // A peek that failed shows nothing but its error.
            if len > 0 && rest.len() < len + 8 {
                len = 0;
            }
            let (bytes, tail) = rest.split_at(len);
            let (result, tail) = tail.split_first_chunk::<8>().expect("checked");
            shown.push(bytes.to_vec());
            results.push(i64::from_le_bytes(*result));
            rest = tail;
        }
        Played {
            results,
            shown,
            finished,
        }
    }
}
