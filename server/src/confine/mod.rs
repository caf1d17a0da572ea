//! The front's second line of defence. It parses manifests, patterns and compressed blocks of every tenant, and requests of
//! everybody, in the process that carries all traffic; this is what is left to whoever breaks that.
//!
//! [`front`] runs when the addresses are taken and the log is open, before the first thread and before any image is looked
//! at. From there on: no file is read but in the folders of the images, none written but in the folder of the access log, nothing
//! is started but this binary, nothing is connected to, and an allow-list of system calls holds. Workers inherit it and
//! add their own (`sandbox/worker/src/confine.rs`).
//!
//! A helper that opens and decodes images for the front was the other way. It would have kept a broken decoder from the
//! traffic of others, but each block of each file would have come through it; as it is, the front reads sealed memory.

mod calls;
mod folders;

use std::path::Path;

use anyhow::Context;
use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd,
    Ruleset, RulesetAttr, RulesetCreated, RulesetCreatedAttr, RulesetStatus, Scope,
};
use rustix::thread::{CapabilitySet, CapabilitySets};

/// What the server needs of the file system while it serves.
#[derive(Clone, Debug, Default)]
pub(crate) struct Needs<'a> {
    /// Images, which may be replaced.
    pub(crate) images: Vec<&'a Path>,
    /// The access log, which may be moved away and opened anew.
    pub(crate) log: Option<&'a Path>,
    /// Socket files, which are removed at the end.
    pub(crate) sockets: Vec<&'a Path>,
}

/// Confines this process and those it starts, for good. To be called while it has one thread. False where the kernel has no
/// landlock: then only the calls are looked at, and any file can be opened.
///
/// # Errors
/// When the kernel refuses what it can do.
pub(crate) fn front(needs: &Needs<'_>) -> anyhow::Result<bool> {
    // Debuggers and cores of the front would show everybody's requests; and no memory becomes executable. Old kernels know
    // neither this nor landlock.
    let _ = sandbox::refuse_new_code();
    keep_capabilities()?;
    let landlocked = files(needs)?;
    seccompiler::apply_filter(&calls::allowed()?.filter()?).context("seccomp")?;
    Ok(landlocked)
}

/// Of root's capabilities only those by which it opens images and logs of others; with the rest it could look into other processes.
fn keep_capabilities() -> anyhow::Result<()> {
    let have = rustix::thread::capabilities(None).context("capget")?;
    let wanted = CapabilitySet::DAC_OVERRIDE | CapabilitySet::DAC_READ_SEARCH;
    let kept = CapabilitySets {
        effective: have.effective & wanted,
        permitted: have.permitted & wanted,
        inheritable: CapabilitySet::empty(),
    };
    rustix::thread::set_capabilities(None, kept).context("capset")
}

fn files(needs: &Needs<'_>) -> anyhow::Result<bool> {
    let abi = ABI::V6;
    let read = BitFlags::from(AccessFs::ReadFile);
    let program = read | AccessFs::Execute;
    let rules = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(abi))?
        // No rule allows any of it: what listens was bound before.
        .handle_access(AccessNet::from_all(abi))?
        .scope(Scope::Signal)?
        .create()?;
    let mut rules = Rules(rules);
    rules.allow(Path::new("/proc/self/exe"), program)?;
    for folder in folders::of_libraries()? {
        rules.allow(&folder, program)?;
    }
    // The dynamic loader's index; where there is none it looks into the folders.
    rules.allow_if_there(Path::new("/etc/ld.so.cache"), read)?;
    // Workers look at their own entries, and this process at how much memory they have. What others' entries tell
    // of their memory and environment stays closed: landlock lets nobody look out of it.
    rules.allow(Path::new("/proc"), read)?;
    rules.allow(Path::new("/dev/null"), read | AccessFs::WriteFile)?;
    for image in &needs.images {
        for folder in folders::of_image(image) {
            rules.allow_if_there(&folder, read)?;
        }
    }
    if let Some(log) = needs.log {
        let write = AccessFs::WriteFile | AccessFs::MakeReg;
        match folders::of_log(log) {
            folders::Log::Folder(folder) => rules.allow_if_there(&folder, write)?,
            folders::Log::Device => rules.allow_if_there(log, AccessFs::WriteFile.into())?,
        }
    }
    for socket in &needs.sockets {
        let folder = folders::parent(socket);
        rules.allow_if_there(folder, AccessFs::RemoveFile.into())?;
    }
    let status = rules.0.restrict_self().context("landlock")?;
    Ok(status.ruleset != RulesetStatus::NotEnforced)
}

struct Rules(RulesetCreated);

impl Rules {
    /// Below a folder, or with a file.
    fn allow(&mut self, path: &Path, access: BitFlags<AccessFs>) -> anyhow::Result<()> {
        let opened = PathFd::new(path).with_context(|| path.display().to_string())?;
        // What is no folder has only the rights of files.
        let access = match path.is_dir() {
            true => access,
            false => access & AccessFs::from_file(ABI::V6),
        };
        (&mut self.0).add_rule(PathBeneath::new(opened, access))?;
        Ok(())
    }

    /// The same, where what is missing will be complained about by whoever wants it.
    fn allow_if_there(&mut self, path: &Path, access: BitFlags<AccessFs>) -> anyhow::Result<()> {
        match path.exists() {
            true => self.allow(path, access),
            false => Ok(()),
        }
    }
}

/// Confines this process as the front is, without one: for the test that tries what it may not.
#[doc(hidden)]
pub fn confine_front_for_a_test(image: &Path, log: &Path, socket: &Path) -> anyhow::Result<bool> {
    front(&Needs {
        images: vec![image],
        log: Some(log),
        sockets: vec![socket],
    })
}
