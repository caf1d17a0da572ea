//! A child under the real confinement of the front tries what it may not. Alone in its binary: the child is this binary once
//! more.

#[path = "../../../sandbox/worker/tests/confined/sys.rs"]
mod sys;

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use sys::call;

const EPERM: i64 = -1;
/// The folder of the child's files.
const FOLDER: &str = "ZAPP_TEST_CONFINED";
/// A port that somebody listens on.
const PORT: &str = "ZAPP_TEST_PORT";

/// Calls that a web server has no use for, by their numbers, each with what it would open.
const CALLS: &[(i64, &str)] = &[
    (29, "shmget"),
    (42, "connect"),
    (49, "bind"),
    (57, "fork"),
    (58, "vfork"),
    (70, "msgrcv"),
    (82, "rename"),
    (83, "mkdir"),
    (85, "creat"),
    (86, "link"),
    (88, "symlink"),
    (90, "chmod"),
    (92, "chown"),
    (101, "ptrace"),
    (105, "setuid"),
    (106, "setgid"),
    (116, "setgroups"),
    (117, "setresuid"),
    (133, "mknod"),
    (135, "personality"),
    (155, "pivot_root"),
    (161, "chroot"),
    (165, "mount"),
    (166, "umount2"),
    (167, "swapon"),
    (169, "reboot"),
    (175, "init_module"),
    (188, "setxattr"),
    (200, "tkill"),
    (206, "io_setup"),
    (222, "timer_create"),
    (246, "kexec_load"),
    (248, "add_key"),
    (250, "keyctl"),
    (264, "renameat"),
    (265, "linkat"),
    (272, "unshare"),
    (298, "perf_event_open"),
    (304, "open_by_handle_at"),
    (308, "setns"),
    (310, "process_vm_readv"),
    (311, "process_vm_writev"),
    (312, "kcmp"),
    (313, "finit_module"),
    (316, "renameat2"),
    (321, "bpf"),
    (322, "execveat"),
    (323, "userfaultfd"),
    (425, "io_uring_setup"),
    (428, "open_tree"),
    (438, "pidfd_getfd"),
    (440, "process_madvise"),
    (447, "memfd_secret"),
];

/// Runs a test once more in a child with `folder`; what it prints comes back.
fn confined(test: &str, folder: &Path, port: u16) -> BTreeMap<String, String> {
    let output: Output = Command::new(std::env::current_exe().expect("a test has a file"))
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(FOLDER, folder)
        .env(PORT, port.to_string())
        .output()
        .expect("this binary runs");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| line.strip_prefix("tried "))
        .filter_map(|line| line.rsplit_once(' '))
        .map(|(name, result)| (name.to_owned(), result.to_owned()))
        .collect()
}

/// In the child: its folder, when it has been confined.
fn task() -> Option<std::path::PathBuf> {
    let folder = std::path::PathBuf::from(std::env::var_os(FOLDER)?);
    let at = |path: &str| folder.join(path);
    let landlocked = server::confine_front_for_a_test(
        &at("sites/site.zapp"),
        &at("log/access.log"),
        &at("run/socket"),
    );
    println!(
        "\ntried landlock {}",
        landlocked.expect("it can be confined")
    );
    Some(folder)
}

fn tell<T>(name: &str, result: std::io::Result<T>) {
    let word = match result {
        Ok(_) => "done".to_owned(),
        Err(error) => match error.kind() {
            ErrorKind::PermissionDenied => "refused".to_owned(),
            kind => format!("{kind:?}"),
        },
    };
    println!("tried {name} {word}");
}

#[test]
fn calls_that_a_server_has_no_use_for_are_refused() {
    if task().is_some() {
        for (number, name) in CALLS {
            println!("tried {name} {}", call(*number, [0; 6]));
        }
        std::process::exit(0);
    }
    let folder = tempfile::tempdir().expect("a folder");
    let name = "calls_that_a_server_has_no_use_for_are_refused";
    let mut results = confined(name, folder.path(), 0);
    results.remove("landlock");
    assert_eq!(results.len(), CALLS.len(), "{results:?}");
    for (name, result) in results {
        assert_eq!(result, EPERM.to_string(), "{name}");
    }
}

#[test]
fn files_programs_and_hosts_are_out_of_reach() {
    if let Some(folder) = task() {
        let at = |path: &str| folder.join(path);
        let write = |path: &str| OpenOptions::new().append(true).create(true).open(at(path));
        tell("read passwd", std::fs::read("/etc/passwd"));
        tell("read beside", std::fs::read(at("secret")));
        tell("read image", std::fs::read(at("sites/site.zapp")));
        tell("read another image", std::fs::read(at("sites/new.zapp")));
        tell("list images", std::fs::read_dir(at("sites")));
        tell("write image", write("sites/site.zapp"));
        tell("make image", write("sites/own.zapp"));
        tell("remove image", std::fs::remove_file(at("sites/new.zapp")));
        tell("write log", write("log/access.log"));
        tell("make log", write("log/access.log.new"));
        tell("read log", std::fs::read(at("log/access.log")));
        tell("remove log", std::fs::remove_file(at("log/access.log")));
        tell("remove socket", std::fs::remove_file(at("run/socket")));
        tell("make beside socket", write("run/other"));
        tell("read own maps", std::fs::read("/proc/self/maps"));
        let parent = std::os::unix::process::parent_id();
        tell(
            "read parent's memory",
            std::fs::read(format!("/proc/{parent}/maps")),
        );
        tell(
            "start shell",
            Command::new("/bin/sh").arg("-c").arg("exit").status(),
        );
        let own = Command::new("/proc/self/exe")
            .arg("--list")
            .env_remove(FOLDER)
            .stdout(Stdio::null())
            .status();
        tell("start itself", own);
        let port: u16 = std::env::var(PORT)
            .expect("a port")
            .parse()
            .expect("a number");
        tell("connect", TcpStream::connect(("127.0.0.1", port)));
        tell("listen", TcpListener::bind("127.0.0.1:0"));
        tell("datagram", std::net::UdpSocket::bind("127.0.0.1:0"));
        let parent = i64::from(parent).cast_unsigned();
        println!("tried kill {}", call(62, [parent, 0, 0, 0, 0, 0]));
        std::process::exit(0);
    }
    let folder = tempfile::tempdir().expect("a folder");
    for name in ["sites", "log", "run"] {
        std::fs::create_dir(folder.path().join(name)).expect("a folder");
    }
    for name in [
        "secret",
        "sites/site.zapp",
        "sites/new.zapp",
        "log/access.log",
        "run/socket",
    ] {
        std::fs::write(folder.path().join(name), name).expect("a file");
    }
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("its own").port();
    let name = "files_programs_and_hosts_are_out_of_reach";
    let results = confined(name, folder.path(), port);
    if results["landlock"] != "true" {
        eprintln!("this kernel has no landlock: nothing to see");
        return;
    }
    let done = [
        "read image",
        "read another image",
        "write log",
        "make log",
        "remove socket",
        "read own maps",
        "start itself",
    ];
    assert_eq!(results.len(), 23, "{results:?}");
    for (name, result) in &results {
        let want = match name.as_str() {
            "landlock" => "true",
            "kill" => "-1",
            name if done.contains(&name) => "done",
            _ => "refused",
        };
        assert_eq!(result, want, "{name}: {results:?}");
    }
}
