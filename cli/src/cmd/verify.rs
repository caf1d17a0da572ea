//! `zapp verify`: proves programs confined, or names the first instruction that is not.

use std::io::Write;
use std::path::PathBuf;

use anyhow::Context;
use imagefs::{Image, Ino, Kind};
use serde_json::{Value, json};
use verifier::{Policy, ProgramError, verify_program};

use crate::output::Output;
use crate::status::Status;

/// Proves that machine code cannot leave its sandbox
///
/// Takes guest programs, and images, in which every file that begins like a program is verified. Exit code 1 when one is
/// refused; the refusal names the rule, the address, the bytes and the instruction.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Guest programs and images
    #[arg(value_name = "PROGRAM|IMAGE", required = true)]
    files: Vec<PathBuf>,
    /// One JSON document for each program
    #[arg(long)]
    json: bool,
}

/// First bytes of an ELF file.
pub(crate) const ELF: &[u8] = b"\x7fELF";

pub(crate) fn run(args: &Args) -> anyhow::Result<Status> {
    let mut out = Output::new();
    let mut status = Status::Done;
    for file in &args.files {
        let shown = super::shown(file.as_os_str());
        let bytes = std::fs::read(file).with_context(|| shown.clone())?;
        if bytes.starts_with(ELF) {
            one(args, &mut out, &mut status, &shown, &bytes)?;
            continue;
        }
        let image = super::open(file)?;
        let mut found = 0;
        for (path, ino) in programs(&image) {
            found += 1;
            let bytes = image.bytes(ino).with_context(|| shown.clone())?;
            let name = format!("{shown}:{}", imagefs::printable(&path));
            one(args, &mut out, &mut status, &name, &bytes)?;
        }
        if found == 0 {
            eprintln!("zapp: {shown}: no program in this image");
            status = Status::Negative;
        }
    }
    out.flush()?;
    Ok(status)
}

fn one(
    args: &Args,
    out: &mut Output,
    status: &mut Status,
    name: &str,
    bytes: &[u8],
) -> anyhow::Result<()> {
    let result = verify_program(bytes, &Policy::DEFAULT);
    if result.is_err() {
        *status = Status::Negative;
    }
    if args.json {
        out.json(&document(name, &result.map(|(_, verdict)| verdict)))?;
        return Ok(());
    }
    match result {
        Ok((_, verdict)) => writeln!(
            out,
            "{name}: confined ({} instructions)",
            verdict.instructions()
        )?,
        Err(error) => writeln!(out, "{name}: refused: {error}")?,
    }
    Ok(())
}

fn document(name: &str, result: &Result<verifier::Verdict, ProgramError>) -> Value {
    match result {
        Ok(verdict) => json!({
            "program": name,
            "confined": true,
            "instructions": verdict.instructions(),
            "text_hash": hex(&verdict.text_hash()),
            "policy": hex(&Policy::DEFAULT.id()),
        }),
        Err(ProgramError::Rejected(rejection)) => json!({
            "program": name,
            "confined": false,
            "rule": rejection.rule.to_string(),
            "address": rejection.address,
            "bytes": hex(&rejection.bytes),
            "text": rejection.text,
        }),
        Err(error) => json!({ "program": name, "confined": false, "error": error.to_string() }),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// All files of an image that begin like a program, with their paths.
pub(crate) fn programs(image: &Image) -> Vec<(Vec<u8>, Ino)> {
    let mut found = Vec::new();
    let mut walk = image.walk(image.root());
    while let Some(entry) = walk.next() {
        let mut head = [0; 4];
        if entry.kind == Kind::Regular
            && image.read_at(entry.ino, 0, &mut head).is_ok_and(|n| n == 4)
            && head == ELF
        {
            found.push((walk.path().to_vec(), entry.ino));
        }
    }
    found.sort();
    found
}
