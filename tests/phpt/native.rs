//! PHP as an ordinary process.

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use super::PATIENCE;
use super::plan::{Capture, Start};

/// The native build of PHP, started in the source tree.
#[derive(Debug)]
pub(super) struct Native {
    pub(super) program: PathBuf,
    pub(super) root: PathBuf,
}

impl Native {
    /// Runs PHP; what it printed, and how it ended if not by itself.
    pub(super) fn run(&self, start: &Start) -> Vec<u8> {
        let mut command = Command::new(&self.program);
        command
            .args(start.arguments.iter().map(|word| OsStr::from_bytes(word)))
            .env_clear()
            .envs(
                start
                    .environment
                    .iter()
                    .map(|(name, value)| (name, OsStr::from_bytes(value))),
            )
            .current_dir(&self.root)
            .stdin(Stdio::piped())
            .process_group(0);
        let (reader, writer) =
            rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).expect("a pipe can be made");
        let twin = || Stdio::from(writer.try_clone().expect("a descriptor can be duplicated"));
        let (stdout, stderr) = match start.capture {
            Capture::Both => (twin(), twin()),
            Capture::Stdout => (twin(), Stdio::null()),
            Capture::Stderr => (Stdio::null(), twin()),
        };
        let mut child = command
            .stdout(stdout)
            .stderr(stderr)
            .spawn()
            .expect("PHP starts");
        // Only the child may hold the writing end, or reading would never end.
        drop((command, writer));
        let mut stdin = child.stdin.take().expect("it is a pipe");
        let body = start.stdin.clone();
        // A program that does not read is no concern of ours.
        std::thread::spawn(move || stdin.write_all(&body));
        let (sender, output) = mpsc::channel();
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            let _ = std::fs::File::from(reader).read_to_end(&mut bytes);
            sender.send(bytes)
        });
        let group = Pid::from_child(&child);
        let status = wait(&mut child, group);
        // A server that a test has left behind would keep the pipe open.
        let patience = Duration::from_secs(5);
        let mut output = output.recv_timeout(patience).unwrap_or_else(|_| {
            let _ = kill_process_group(group, Signal::KILL);
            output.recv_timeout(patience).unwrap_or_default()
        });
        match status {
            None => output.extend_from_slice(b"\n ** ERROR: process timed out **\n"),
            Some(status) => {
                if let Some(signal) = status.signal() {
                    output.extend_from_slice(format!("\nTermsig={signal}\n").as_bytes());
                }
            }
        }
        output
    }

    /// What a piece of PHP prints.
    pub(super) fn evaluate(&self, code: &str) -> String {
        let output = Command::new(&self.program)
            .args(["-n", "-r", code])
            .current_dir(&self.root)
            .output()
            .expect("PHP starts");
        assert!(output.status.success(), "{code}: {output:?}");
        String::from_utf8(output.stdout).expect("text")
    }
}

/// Waits for the end, but not for ever.
fn wait(child: &mut Child, group: Pid) -> Option<ExitStatus> {
    let deadline = Instant::now() + PATIENCE;
    let mut pause = Duration::from_micros(500);
    loop {
        if let Some(status) = child.try_wait().expect("the child is ours") {
            return Some(status);
        }
        if Instant::now() > deadline {
            let _ = kill_process_group(group, Signal::KILL);
            child.wait().expect("the child is ours");
            return None;
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(10));
    }
}
