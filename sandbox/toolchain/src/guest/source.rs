//! Source archives from Debian, by apt's own client with a configuration of its own, pinned by SHA-256.

use std::fmt::Write as _;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::cache_folder;
use crate::cc::ensure_tools;
use crate::error::Error;
use crate::process::{read, run};

/// Suites that may hold a pinned version: the pool keeps a file as long as one suite names it.
const SUITES: [&str; 6] = [
    "bookworm",
    "bookworm-updates",
    "bookworm-security",
    "trixie",
    "trixie-updates",
    "trixie-security",
];

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// One file of a Debian source package.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pin<'a> {
    /// Source package.
    pub package: &'a str,
    /// Its version.
    pub version: &'a str,
    /// The file's name in the archive.
    pub file: &'a str,
    /// SHA-256 of the file, in hexadecimal.
    pub sha256: &'a str,
}

/// Returns the file, downloading it when the cache does not have it.
pub fn fetch(pin: &Pin<'_>) -> Result<PathBuf, Error> {
    let folder = cache_folder().join("downloads");
    let kept = folder.join(format!(
        "{}-{}",
        &pin.sha256[..16.min(pin.sha256.len())],
        pin.file
    ));
    if kept.is_file() {
        check(&kept, pin)?;
        return Ok(kept);
    }
    std::fs::create_dir_all(&folder).map_err(Error::io(&folder))?;
    let scratch = tempfile::Builder::new()
        .prefix(".fetch-")
        .tempdir_in(&folder)
        .map_err(Error::io(&folder))?;
    download(pin, scratch.path())?;
    let file = scratch.path().join(pin.file);
    check(&file, pin)?;
    std::fs::rename(&file, &kept).map_err(Error::io(&kept))?;
    Ok(kept)
}

/// Lets apt download every file of the source package. Its lists are fetched at most twice: when there are none, and
/// when the version is not in them.
fn download(pin: &Pin<'_>, into: &Path) -> Result<(), Error> {
    ensure_tools(&["apt-get"])?;
    let config = configuration()?;
    // apt refuses to fetch its lists twice at once; a recipe's script takes the same lock.
    let lock = config.with_file_name("lock");
    let _held = super::lock(&lock)?;
    let apt = |args: &[&str]| {
        let mut command = Command::new("apt-get");
        command
            .env("APT_CONFIG", &config)
            .current_dir(into)
            .args(args);
        command
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null());
        run(&mut command)
    };
    if std::io::stderr().is_terminal() {
        eprintln!("zapp: fetching {} {} from Debian", pin.package, pin.version);
    }
    let wanted = format!("{}={}", pin.package, pin.version);
    let get = ["source", "--download-only", "-qq", &wanted];
    // apt's status covers every file of the package; only the pinned one is wanted.
    let first = apt(&get);
    if first.is_ok() || into.join(pin.file).is_file() {
        return Ok(());
    }
    apt(&["update", "-qq"])?;
    match apt(&get) {
        Err(_) if into.join(pin.file).is_file() => Ok(()),
        result => result,
    }
}

/// apt's settings under the cache folder: its own sources, lists and archives.
fn configuration() -> Result<PathBuf, Error> {
    let home = cache_folder().join("apt");
    for part in ["lists/partial", "cache/archives/partial"] {
        let folder = home.join(part);
        std::fs::create_dir_all(&folder).map_err(Error::io(&folder))?;
    }
    // Without Debian's keyring (another distribution) the pins alone vouch for the files.
    let trust = if Path::new(KEYRING).exists() {
        format!("signed-by={KEYRING}")
    } else {
        "trusted=yes".to_owned()
    };
    let mut sources = String::new();
    for suite in SUITES {
        let archive = if suite.ends_with("-security") {
            "debian-security"
        } else {
            "debian"
        };
        writeln!(
            sources,
            "deb-src [{trust}] http://deb.debian.org/{archive} {suite} main"
        )
        .expect("a String takes any text");
    }
    let list = home.join("sources.list");
    std::fs::write(&list, sources).map_err(Error::io(&list))?;
    let config = home.join("apt.conf");
    let text = format!(
        "Dir::Etc::sourcelist \"{list}\";\nDir::Etc::sourceparts \"/dev/null\";\nDir::State::lists \"{lists}\";\n\
         Dir::Cache \"{cache}\";\nAPT::Sandbox::User \"root\";\n",
        list = list.display(),
        lists = home.join("lists").display(),
        cache = home.join("cache").display(),
    );
    std::fs::write(&config, text).map_err(Error::io(&config))?;
    Ok(config)
}

fn check(file: &Path, pin: &Pin<'_>) -> Result<(), Error> {
    let found = sha256(file)?;
    if found == pin.sha256 {
        return Ok(());
    }
    Err(Error::Checksum {
        file: pin.file.to_owned(),
        found,
        pinned: pin.sha256.to_owned(),
    })
}

/// In hexadecimal, by the program that the recipes' scripts use as well: it is wherever a compiler is.
fn sha256(file: &Path) -> Result<String, Error> {
    let output = read(Command::new("sha256sum").arg("--").arg(file), |_| ())?;
    let printed = String::from_utf8_lossy(&output.out);
    // A name with odd characters has a backslash in front of the line.
    match printed.trim_start_matches('\\').split(' ').next() {
        Some(digits) if output.status.success() => Ok(digits.to_owned()),
        _ => Err(Error::Program {
            program: "sha256sum".to_owned(),
            status: output.status,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_pinned_bytes_pass() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        // RFC 6234's first test vector.
        let pin = Pin {
            package: "abc",
            version: "1",
            file: "abc",
            sha256: "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        };
        for name in ["abc", "a\\bc"] {
            let file = folder.path().join(name);
            std::fs::write(&file, "abc").expect("written");
            check(&file, &pin).expect("the pinned bytes");
            std::fs::write(&file, "abd").expect("written");
            assert!(matches!(check(&file, &pin), Err(Error::Checksum { .. })));
        }
    }
}
