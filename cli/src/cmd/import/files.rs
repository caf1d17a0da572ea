//! The files of the site that is made: those of the old one, the plugin, and what tells WordPress of it.

use std::fs::{self, FileTimes};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, bail, ensure};

/// Where the plugin lies below the site, and what shows that it is of version 3.
const PLUGIN: &str = "wp-content/plugins/sqlite-database-integration";
const DRIVER: &str = "wp-includes/database/load.php";

/// What wp-config.php gets, behind its first line.
const CONSTANTS: &str = "\
\n// The database is SQLite's: wp-content/db.php leads to it.
if (!defined('DB_ENGINE')) { define('DB_ENGINE', 'sqlite'); }
if (!defined('DB_DIR')) { define('DB_DIR', __DIR__ . '/wp-content/database/'); }
if (!defined('DB_FILE')) { define('DB_FILE', '.ht.sqlite'); }\n";

/// The folder of the plugin: the one named, the site's own when it has the driver, or the pinned one.
pub(super) fn plugin(named: Option<&Path>, site: &Path) -> anyhow::Result<PathBuf> {
    let own = site.join(PLUGIN);
    if let Some(named) = named {
        let has_driver = named.join(DRIVER).is_file();
        ensure!(
            has_driver,
            "{}: no sqlite-database-integration of version 3: there is no {DRIVER}",
            named.display()
        );
        return Ok(named.to_owned());
    }
    if own.join(DRIVER).is_file() {
        return Ok(own);
    }
    let script = toolchain::guest::source_tree().join("fixtures/sqlite-plugin");
    let fetched = Command::new(&script)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| script.display().to_string())?;
    let text = String::from_utf8(fetched.stdout).context("the plugin's folder")?;
    match text.lines().last() {
        Some(line) if fetched.status.success() => Ok(line.into()),
        _ => bail!(
            "the plugin sqlite-database-integration could not be fetched; name its folder with --plugin"
        ),
    }
}

/// Copies a folder with everything below it; links stay links. The old database files of the plugin stay behind.
pub(super) fn copy(source: &Path, target: &Path, stop: &AtomicBool) -> anyhow::Result<()> {
    let mut pending = vec![PathBuf::new()];
    while let Some(folder) = pending.pop() {
        let (from, to) = (source.join(&folder), target.join(&folder));
        fs::create_dir(&to).with_context(|| to.display().to_string())?;
        let entries = fs::read_dir(&from).with_context(|| from.display().to_string())?;
        for entry in entries {
            let entry = entry.with_context(|| from.display().to_string())?;
            let path = entry.path();
            let shown = || path.display().to_string();
            if stop.load(Ordering::Relaxed) {
                return Err(imagefs::Error::Interrupted.into());
            }
            let kind = entry.file_type().with_context(shown)?;
            let below = folder.join(entry.file_name());
            if kind.is_dir() {
                let is_old =
                    below == Path::new("wp-content/database") || below == Path::new(PLUGIN);
                if !is_old {
                    pending.push(below);
                }
            } else if kind.is_symlink() {
                symlink(
                    fs::read_link(&path).with_context(shown)?,
                    target.join(below),
                )
                .with_context(shown)?;
            } else if kind.is_file() {
                copy_file(&path, &target.join(below)).with_context(shown)?;
            }
        }
    }
    Ok(())
}

fn copy_file(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::copy(from, to)?;
    let modified = fs::metadata(from)?.modified()?;
    let file = fs::OpenOptions::new().append(true).open(to);
    // A file that may not be written keeps the time of the copy.
    file.map_or(Ok(()), |file| {
        file.set_times(FileTimes::new().set_modified(modified))
    })
}

/// Adds the plugin, `db.php` and the constants to the copied site. Returns where its database belongs.
pub(super) fn dress(site: &Path, plugin: &Path) -> anyhow::Result<PathBuf> {
    let target = site.join(PLUGIN);
    let plugins = target.parent().expect("it lies in the folder of plugins");
    fs::create_dir_all(plugins).with_context(|| plugins.display().to_string())?;
    copy(plugin, &target, &AtomicBool::new(false))?;
    let drop_in = fs::read_to_string(target.join("db.copy")).context("db.copy of the plugin")?;
    // A path that does not exist makes it look beside itself, so that the site may be moved anywhere.
    let drop_in = drop_in
        .replace(
            "{SQLITE_IMPLEMENTATION_FOLDER_PATH}",
            "/nonexistent/sqlite-database-integration",
        )
        .replace("{SQLITE_PLUGIN}", "sqlite-database-integration/load.php");
    fs::write(site.join("wp-content/db.php"), drop_in).context("wp-content/db.php")?;

    let path = config(site)?;
    let config = fs::read(&path).with_context(|| path.display().to_string())?;
    let open = b"<?php";
    let at = memchr::memmem::find(&config, open).context("wp-config.php is no PHP")? + open.len();
    let mut file = fs::File::create(&path).with_context(|| path.display().to_string())?;
    file.write_all(&config[..at])?;
    file.write_all(CONSTANTS.as_bytes())?;
    file.write_all(&config[at..])?;

    let folder = site.join("wp-content/database");
    fs::create_dir(&folder).with_context(|| folder.display().to_string())?;
    Ok(folder.join(".ht.sqlite"))
}

fn config(site: &Path) -> anyhow::Result<PathBuf> {
    let path = site.join("wp-config.php");
    ensure!(
        path.is_file(),
        "--files: there is no wp-config.php; put the site's own there, it may lie one folder up"
    );
    Ok(path)
}

/// What the names of the site's tables begin with.
pub(super) fn table_prefix(site: &Path) -> anyhow::Result<String> {
    let config = fs::read(config(site)?)?;
    let config = String::from_utf8_lossy(&config);
    let assigned = config.split_once("$table_prefix").and_then(|(_, rest)| {
        let quote = rest.find(['\'', '"'])?;
        let (mark, rest) = rest[quote..].split_at(1);
        Some(rest.split_once(mark)?.0.to_owned())
    });
    Ok(assigned.unwrap_or_else(|| "wp_".to_owned()))
}
