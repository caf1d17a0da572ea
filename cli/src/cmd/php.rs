//! `zapp php`: the command line of a site's PHP, among the files of the site.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;

use anyhow::{Context, ensure};
use imagefs::scan::{ScanOptions, scan};
use sandbox::{HostTree, ImageTree, Limits, Mounts};
use server::{Home, Manifest, PROGRAM_PATH, Size};
use toolchain::guest::Guest;
use toolchain::guest::php::Extensions;

use super::run::{Launch, NoEntry, ingest, on_a_thread, tell_of_lost};
use crate::in_tree::InTree;

/// Runs the PHP of a site on the command line
///
/// An image brings its PHP along; for a folder, and for an image that was packed without, it is the one of `zapp guest build php`.
/// PHP starts in the folder that the site is in and sees the site's files, an empty /tmp and nothing else. What it
/// writes is private and vanishes, and stderr says so.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    caps: Caps,
    /// An image or the folder of a site, then what PHP is given: a script with its arguments, -r CODE, -m, -v, -i;
    /// with nothing, the script comes from stdin
    #[arg(
        value_names = ["IMAGE|DIR", "ARG"],
        num_args = 1..,
        required = true,
        trailing_var_arg = true
    )]
    line: Vec<OsString>,
}

/// What a command may use up.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Caps {
    /// Writable memory
    #[arg(long, value_name = "SIZE")]
    memory: Option<Size>,
    /// Scratch files and changed files
    #[arg(long, value_name = "SIZE")]
    tmp_size: Option<Size>,
}

impl Caps {
    fn limits(&self) -> Limits {
        let default = Limits::default();
        Limits {
            memory_bytes: self.memory.map_or(default.memory_bytes, |size| size.0),
            scratch_bytes: self.tmp_size.map_or(default.scratch_bytes, |size| size.0),
            ..default
        }
    }
}

pub(crate) fn run(args: Args) -> ExitCode {
    on_a_thread(move || {
        let site = Site::open(Path::new(&args.line[0]))?;
        let words = args.line[1..].iter().cloned().map(OsStringExt::into_vec);
        site.run(&args.caps, Vec::new(), words.collect())
    })
}

/// A site whose PHP can be run.
pub(super) struct Site {
    shown: String,
    mounts: Mounts,
    /// The path of PHP in the site and its bytes.
    program: (Vec<u8>, Vec<u8>),
    manifest: Manifest,
}

impl Site {
    /// The site in an image or a folder.
    pub(super) fn open(path: &Path) -> anyhow::Result<Site> {
        let shown = super::shown(path.as_os_str());
        let metadata = std::fs::metadata(path).with_context(|| shown.clone())?;
        match metadata.is_dir() {
            true => Site::in_folder(path, shown),
            false => Site::in_image(path, shown),
        }
    }

    fn in_image(path: &Path, shown: String) -> anyhow::Result<Site> {
        let image = ingest(path)?;
        let manifest = Manifest::of_image(&image).with_context(|| shown.clone())?;
        let entry = manifest.entry().unwrap_or(PROGRAM_PATH);
        let program = match image.resolve(image.root(), entry.as_bytes(), true) {
            Ok(ino) => {
                let elf = image.bytes(ino).with_context(|| shown.clone())?;
                (
                    manifest.home().outside(entry).into_bytes(),
                    elf.into_owned(),
                )
            }
            Err(error) if manifest.entry().is_some() => {
                return Err(NoEntry(format!("{shown}: {entry}: {error}")).into());
            }
            Err(_) => built()?,
        };
        let tree = Arc::new(ImageTree::new(image)?);
        Ok(Site {
            mounts: Mounts::new().mount(manifest.home().path(), tree),
            shown,
            program,
            manifest,
        })
    }

    fn in_folder(path: &Path, shown: String) -> anyhow::Result<Site> {
        // The names tell what kind of site it is; nothing is read but a manifest.
        let options = ScanOptions {
            skip_special: true,
            ..ScanOptions::default()
        };
        let scanned = scan(path, &options)?;
        let in_tree = InTree {
            tree: &scanned.tree,
            at: None,
        };
        let manifest = Manifest::of(&in_tree).with_context(|| shown.clone())?;
        let tree = HostTree::open(path).with_context(|| shown.clone())?;
        Ok(Site {
            mounts: Mounts::new().mount(manifest.home().path(), Arc::new(tree)),
            shown,
            program: built()?,
            manifest,
        })
    }

    /// Shows a folder of the host to PHP.
    pub(super) fn show(&mut self, host: &Path, at: &str) -> anyhow::Result<()> {
        let tree = HostTree::open(host).with_context(|| host.display().to_string())?;
        self.mounts = std::mem::take(&mut self.mounts).mount(at, Arc::new(tree));
        Ok(())
    }

    /// Runs PHP with these words, and says so when what it wrote is gone. The exit code is PHP's.
    pub(super) fn run(
        self,
        caps: &Caps,
        env: Vec<String>,
        words: Vec<Vec<u8>>,
    ) -> anyhow::Result<u8> {
        let (name, elf) = self.program;
        let settings = self.manifest.php_lines().into_iter();
        let settings = settings.flat_map(|line| [b"-d".to_vec(), line.into_bytes()]);
        let root = Home::new(&self.manifest.document_root());
        let report = Launch {
            elf,
            mounts: self.mounts.working_directory(root.path()),
            words: [name].into_iter().chain(settings).chain(words).collect(),
            env,
            limits: caps.limits(),
            trace: false,
            stats: false,
            shown: self.shown.clone(),
        }
        .run()?;
        tell_of_lost(&report, &self.shown);
        Ok(report.exit_code())
    }
}

/// PHP from the cache, built when it has never been: its name and bytes.
fn built() -> anyhow::Result<(Vec<u8>, Vec<u8>)> {
    let path = built_path()?;
    let elf = std::fs::read(&path).with_context(|| path.display().to_string())?;
    Ok((b"php".to_vec(), elf))
}

/// Where that is. A process of its own builds: it handles signals, which a process that runs guests must not.
pub(super) fn built_path() -> anyhow::Result<PathBuf> {
    if let Some(path) = Guest::Php.path(&Extensions::full())? {
        return Ok(path);
    }
    let build = Command::new(std::env::current_exe()?)
        .args(["guest", "build", "php"])
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .context("zapp guest build php")?;
    ensure!(build.status.success(), "PHP could not be built");
    let line = build.stdout.trim_ascii_end();
    let line = line.rsplit(|&b| b == b'\n').next().unwrap_or(line);
    Ok(OsStr::from_bytes(line).into())
}
