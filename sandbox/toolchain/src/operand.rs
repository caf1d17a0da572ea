//! Operands: registers by number, memory operands taken apart, and the sandboxed way to write them.

use crate::error::Reason;

/// The fixed thread pointer of a guest, as a region offset; `%fs:x@tpoff` becomes `%gs:x@tpoff+THREAD_POINTER`.
/// The runtime maps the thread area around it and the libc lays its thread structure there.
pub(crate) const THREAD_POINTER: &str = "0x1F000";

/// General registers by number: 64, 32, 16 and 8 bits.
const NAMES: [[&str; 4]; 16] = [
    ["rax", "eax", "ax", "al"],
    ["rcx", "ecx", "cx", "cl"],
    ["rdx", "edx", "dx", "dl"],
    ["rbx", "ebx", "bx", "bl"],
    ["rsp", "esp", "sp", "spl"],
    ["rbp", "ebp", "bp", "bpl"],
    ["rsi", "esi", "si", "sil"],
    ["rdi", "edi", "di", "dil"],
    ["r8", "r8d", "r8w", "r8b"],
    ["r9", "r9d", "r9w", "r9b"],
    ["r10", "r10d", "r10w", "r10b"],
    ["r11", "r11d", "r11w", "r11b"],
    ["r12", "r12d", "r12w", "r12b"],
    ["r13", "r13d", "r13w", "r13b"],
    ["r14", "r14d", "r14w", "r14b"],
    ["r15", "r15d", "r15w", "r15b"],
];

/// A general register and the width it is named with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Gpr {
    pub(crate) number: usize,
    /// 64, 32, 16 or 8.
    pub(crate) bits: u32,
    /// `%ah` and its three kin, which no REX prefix can name.
    pub(crate) high: bool,
}

pub(crate) const RAX: usize = 0;
pub(crate) const RBX: usize = 3;
pub(crate) const RSP: usize = 4;
pub(crate) const RBP: usize = 5;
pub(crate) const R11: usize = 11;
pub(crate) const R14: usize = 14;

impl Gpr {
    /// `%rax`, `%eax`, …; `None` for anything else, also for vector and x87 registers.
    pub(crate) fn parse(text: &str) -> Option<Gpr> {
        let name = text.strip_prefix('%')?;
        if !matches!(name.as_bytes().first(), Some(b'a'..=b'e' | b'r' | b's')) {
            return None;
        }
        if let Some(number) = ["ah", "ch", "dh", "bh"]
            .iter()
            .position(|&high| high == name)
        {
            return Some(Gpr {
                number,
                bits: 8,
                high: true,
            });
        }
        NAMES.iter().enumerate().find_map(|(number, names)| {
            let column = names.iter().position(|&candidate| candidate == name)?;
            Some(Gpr {
                number,
                bits: [64, 32, 16, 8][column],
                high: false,
            })
        })
    }

    /// The same register in another width, with its `%`.
    pub(crate) fn named(number: usize, bits: u32) -> String {
        let column = match bits {
            64 => 0,
            32 => 1,
            16 => 2,
            _ => 3,
        };
        format!("%{}", NAMES[number][column])
    }
}

/// A memory operand: `%seg:disp(base,index,scale)`, every part as written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mem<'a> {
    pub(crate) segment: Option<&'a str>,
    pub(crate) disp: &'a str,
    pub(crate) base: Option<&'a str>,
    pub(crate) index: Option<&'a str>,
    pub(crate) scale: &'a str,
}

impl<'a> Mem<'a> {
    /// Takes an operand apart that is neither a register nor an immediate.
    pub(crate) fn parse(text: &'a str) -> Result<Mem<'a>, Reason> {
        let (segment, rest) = match text.strip_prefix('%') {
            Some(tail) => {
                let (segment, rest) = tail
                    .split_once(':')
                    .ok_or(Reason::Syntax("memory operand expected"))?;
                (Some(segment.trim()), rest.trim())
            }
            None => (None, text),
        };
        let mut mem = Mem {
            segment,
            disp: rest,
            base: None,
            index: None,
            scale: "1",
        };
        let Some((disp, group)) = split_group(rest) else {
            return Ok(mem);
        };
        mem.disp = disp.trim();
        let mut parts = group.split(',').map(str::trim);
        mem.base = parts.next().filter(|part| !part.is_empty());
        mem.index = parts.next().filter(|part| !part.is_empty());
        if let Some(scale) = parts.next().filter(|part| !part.is_empty()) {
            mem.scale = scale;
        }
        Ok(mem)
    }

    pub(crate) fn base_is(&self, number: usize) -> bool {
        self.base
            .and_then(Gpr::parse)
            .is_some_and(|gpr| gpr.number == number)
    }

    pub(crate) fn is_rip(&self) -> bool {
        self.base == Some("%rip")
    }
}

/// The trailing `(base,index,scale)` of an operand, if it has one: `(1+2)` alone is a displacement.
fn split_group(text: &str) -> Option<(&str, &str)> {
    let open = text.strip_suffix(')')?.rfind('(')?;
    let group = text[open + 1..text.len() - 1].trim_start();
    (group.starts_with('%') || group.starts_with(',')).then(|| (&text[..open], group))
}

/// A displacement as a number, for plain decimal and hexadecimal numbers only.
pub(crate) fn number(text: &str) -> Option<i64> {
    if text.is_empty() {
        return Some(0);
    }
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    let value = match digits.strip_prefix("0x") {
        Some(hex) => i64::from_str_radix(hex, 16).ok()?,
        None => digits.parse::<i64>().ok()?,
    };
    Some(if negative { -value } else { value })
}

/// `disp + offset` as text; expressions the assembler must evaluate stay expressions.
pub(crate) fn displaced(disp: &str, offset: i64) -> String {
    match number(disp) {
        Some(value) if value + offset == 0 => String::new(),
        Some(value) => (value + offset).to_string(),
        None if offset == 0 => disp.to_owned(),
        None => format!("({disp}){offset:+}"),
    }
}

/// The memory operand in sandboxed form. `stack` is the distance by which the data stack pointer lies above the stack
/// pointer that the source means.
///
/// Accepted forms (docs of the verifier): M1 `%gs:disp(%e..,%e..,s)`, M2 `%gs:disp32`, M4 `disp(%rip)`.
pub(crate) fn sandboxed(mem: &Mem<'_>, stack: i64) -> Result<String, Reason> {
    let mut disp = mem.disp.to_owned();
    match mem.segment {
        None => {}
        Some("fs") => {
            disp = if disp.is_empty() {
                THREAD_POINTER.into()
            } else {
                format!("{disp}+{THREAD_POINTER}")
            };
        }
        Some(_) => return Err(Reason::Refused("a segment register")),
    }
    if mem.is_rip() {
        return match mem.segment {
            None => Ok(format!("{}(%rip)", mem.disp)),
            Some(_) => Err(Reason::Refused("a segment register with %rip")),
        };
    }
    if mem.base_is(RSP) {
        disp = displaced(&disp, -stack);
    }
    let base = mem
        .base
        .map(|name| address_register(name, 32))
        .transpose()?;
    let index = mem
        .index
        .map(|name| address_register(name, 32))
        .transpose()?;
    Ok(match (base, index) {
        (None, None) => absolute(&disp),
        (Some(base), None) => format!("%gs:{disp}({base})"),
        (base, Some(index)) => format!(
            "%gs:{disp}({},{index},{})",
            base.unwrap_or_default(),
            mem.scale
        ),
    })
}

/// An address without registers. M2 wants 0 <= disp < 2^31; other numbers go through a SIB byte without base and index.
fn absolute(disp: &str) -> String {
    match number(disp) {
        Some(value) if !(0..=0x7FFF_FFFF).contains(&value) => format!("%gs:{value}(,%eiz,1)"),
        _ if disp.is_empty() => "%gs:0".into(),
        _ => format!("%gs:{disp}"),
    }
}

/// An address register in the wanted width; the stack pointer becomes the data stack pointer.
pub(crate) fn address_register(name: &str, bits: u32) -> Result<String, Reason> {
    let gpr = Gpr::parse(name).ok_or(Reason::Syntax("address register expected"))?;
    match gpr.number {
        RSP => Ok(Gpr::named(RBX, bits)),
        _ if gpr.bits < 32 => Err(Reason::Syntax("address register is too narrow")),
        number => Ok(Gpr::named(number, bits)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(text: &str) -> String {
        sandboxed(&Mem::parse(text).expect("a memory operand"), 24).expect("has a form")
    }

    #[test]
    fn each_addressing_form_has_its_sandboxed_twin() {
        for (source, target) in [
            ("(%rax)", "%gs:(%eax)"),
            ("8(%rsp)", "%gs:-16(%ebx)"),
            ("24(%rsp,%rcx,4)", "%gs:(%ebx,%ecx,4)"),
            (".L4(,%rdx,8)", "%gs:.L4(,%edx,8)"),
            ("(-1-2)(%rdi,%rdx)", "%gs:(-1-2)(%edi,%edx,1)"),
            ("x+4(%rip)", "x+4(%rip)"),
            ("32", "%gs:32"),
            ("-8", "%gs:-8(,%eiz,1)"),
            ("%fs:x@tpoff", "%gs:x@tpoff+0x1F000"),
            ("%fs:(%rax)", "%gs:0x1F000(%eax)"),
            ("%fs:x@tpoff(,%rax,4)", "%gs:x@tpoff+0x1F000(,%eax,4)"),
        ] {
            assert_eq!(form(source), target, "{source}");
        }
    }

    #[test]
    fn segments_other_than_fs_are_refused() {
        let mem = Mem::parse("%gs:(%rax)").expect("a memory operand");
        assert_eq!(
            sandboxed(&mem, 0),
            Err(Reason::Refused("a segment register"))
        );
    }
}
