//! GNU `as`, for cases written as text.

use std::io::Write;
use std::process::{Command, Stdio};

/// Assembles several fragments in one go; each becomes the bytes of a section of its own.
pub(crate) fn assemble(fragments: &[String]) -> Vec<Vec<u8>> {
    let mut source = String::new();
    for (number, fragment) in fragments.iter().enumerate() {
        source.push_str(&format!(
            ".section case{number},\"ax\",@progbits\n{fragment}\n"
        ));
    }
    let directory = tempfile::tempdir().expect("a scratch directory");
    let object = directory.path().join("cases.o");
    let mut child = Command::new("as")
        .args(["--64", "-o"])
        .arg(&object)
        .stdin(Stdio::piped())
        .spawn()
        .expect("GNU as is needed: apt-get install binutils");
    let mut stdin = child.stdin.take().expect("stdin is piped");
    stdin
        .write_all(source.as_bytes())
        .expect("as reads its input");
    drop(stdin);
    let status = child.wait().expect("as ends");
    assert!(
        status.success(),
        "as refused the cases; lines are those of:\n{source}"
    );
    let object = std::fs::read(&object).expect("as wrote its output");
    (0..fragments.len())
        .map(|n| section(&object, &format!("case{n}")))
        .collect()
}

/// The bytes of a section of an ELF64 object file.
fn section(object: &[u8], wanted: &str) -> Vec<u8> {
    let number = |at: usize, len: usize| {
        let mut bytes = [0; 8];
        bytes[..len].copy_from_slice(&object[at..at + len]);
        usize::try_from(u64::from_le_bytes(bytes)).expect("fits")
    };
    let (table, count, names) = (number(0x28, 8), number(0x3C, 2), number(0x3E, 2));
    let header = |index: usize| table + index * 64;
    let names = number(header(names) + 24, 8);
    for index in 0..count {
        let name = &object[names + number(header(index), 4)..];
        let name = name.split(|&b| b == 0).next().expect("at least one part");
        if name == wanted.as_bytes() {
            let (start, len) = (number(header(index) + 24, 8), number(header(index) + 32, 8));
            return object[start..start + len].to_vec();
        }
    }
    panic!("no section {wanted}");
}
