//! A second, independent decoder: binutils' `objdump`. It must agree with iced on length,
//! operation, operands and their sizes, which are all in the text of an instruction.

use std::process::Command;

use iced_x86::{Decoder, DecoderOptions, Formatter, GasFormatter, Instruction};

const BASE: u64 = 0x2_0000;

/// Where the two decoders disagree: what iced says about which bytes, and what objdump says.
pub(crate) fn differences(encodings: &[Vec<u8>]) -> Vec<(String, String)> {
    let mut found = Vec::new();
    if encodings.is_empty() {
        return found;
    }
    let lines = objdump(&encodings.concat());
    let mut formatter = formatter();
    let mut lines = lines.iter();
    let mut address = BASE;
    for bytes in encodings {
        let instruction = Decoder::with_ip(64, bytes, address, DecoderOptions::NONE).decode();
        let ours = normal(&text(&instruction, &mut formatter));
        let Some((at, theirs)) = lines.next() else {
            found.push((ours, "objdump ends here".to_owned()));
            break;
        };
        if *at != address {
            found.push((
                format!("{bytes:02x?}"),
                "the lengths differ here, or before".to_owned(),
            ));
            break;
        }
        let theirs = normal(theirs);
        if ours != theirs {
            found.push((
                format!("{:?}", instruction.code()),
                format!("{bytes:02x?} {ours} | {theirs}"),
            ));
        }
        address += bytes.len() as u64;
    }
    found
}

/// Address and text of each instruction.
fn objdump(bytes: &[u8]) -> Vec<(u64, String)> {
    let directory = tempfile::tempdir().expect("a scratch directory");
    let file = directory.path().join("encodings.bin");
    std::fs::write(&file, bytes).expect("the scratch directory can be written");
    let output = Command::new("objdump")
        .args([
            "-D",
            "-b",
            "binary",
            "-m",
            "i386:x86-64",
            "--no-show-raw-insn",
        ])
        .arg(format!("--adjust-vma={BASE:#x}"))
        .arg(&file)
        .output()
        .expect("objdump is needed: apt-get install binutils");
    assert!(output.status.success(), "objdump failed");
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| {
            let (address, text) = line.split_once(":\t")?;
            Some((
                u64::from_str_radix(address.trim(), 16).ok()?,
                text.to_owned(),
            ))
        })
        .collect()
}

/// iced's writing, as close to that of binutils as its options allow.
fn formatter() -> GasFormatter {
    let mut formatter = GasFormatter::new();
    let options = formatter.options_mut();
    options.set_uppercase_hex(false);
    options.set_small_hex_numbers_in_decimal(false);
    options.set_rip_relative_addresses(true);
    options.set_branch_leading_zeros(false);
    options.set_gas_space_after_memory_operand_comma(false);
    options.set_hex_prefix("0x");
    formatter
}

fn text(instruction: &Instruction, formatter: &mut GasFormatter) -> String {
    let mut text = String::new();
    formatter.format(instruction, &mut text);
    text
}

/// Brings to one form what the two write differently.
fn normal(text: &str) -> String {
    // A comment tells the target of a rip-relative operand.
    let text = text.split(" # ").next().unwrap_or_default();
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    // Scale one, zero displacement, no index; the segment in the no-operations of ten bytes.
    let mut text = text
        .replace(",1)", ")")
        .replace("0x0(", "(")
        .replace("(,%eiz)", "")
        .replace("cs nopw", "nopw")
        .replace("movsxw ", "movsww ")
        .replace("movzxw ", "movzww ");
    if ["rol", "ror", "rcl", "rcr", "shl", "shr", "sar"]
        .iter()
        .any(|shift| text.starts_with(shift))
    {
        text = text.replace("$0x1,", "");
    }
    // The operands that the assembler's short forms stand for.
    match text.as_str() {
        "fcom" | "fcomp" | "fucom" | "fucomp" | "fxch" => text.push_str(" %st(1)"),
        "faddp" | "fmulp" | "fsubp" | "fsubrp" | "fdivp" | "fdivrp" => {
            text.push_str(" %st,%st(1)");
        }
        _ => {}
    }
    // Three operands of which the last two are one register.
    if text.starts_with("imul")
        && let Some((rest, last)) = text.rsplit_once(',')
        && rest.ends_with(&format!(",{last}"))
    {
        text = rest.to_owned();
    }
    text
}
