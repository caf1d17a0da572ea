//! The slow twin of the verifier: the same rules, thought out a second time.
//!
//! It re-encodes every instruction and compares bytes, asks iced which registers and memory an
//! instruction uses, recognises macros by their decoded instructions, and decides by processor
//! feature and a list of exceptions what is allowed. Any one rule can be left out, to show that a
//! refusal is owed to that rule alone.

use std::collections::BTreeSet;

use iced_x86::{
    Code, CpuidFeature, Decoder, DecoderOptions, Encoder, EncodingKind, FlowControl, Instruction,
    InstructionInfoFactory, Mnemonic, OpAccess, OpKind, Register,
};
use verifier::{Policy, Rule};

/// The multi-byte no-operations of the manuals, and those with one and two prefixes 66 more.
const NOPS: [&str; 11] = [
    "90",
    "6690",
    "0f1f00",
    "0f1f4000",
    "0f1f440000",
    "660f1f440000",
    "0f1f8000000000",
    "0f1f840000000000",
    "660f1f840000000000",
    "662e0f1f840000000000",
    "66662e0f1f840000000000",
];

/// Verifies as [`verifier::verify`] does, except for the rule `without`. An error is the rule that
/// is broken first, and where.
pub(crate) fn verify(
    text: &[u8],
    base: u32,
    policy: &Policy,
    without: Option<Rule>,
) -> Result<(), (Rule, u64)> {
    let mut twin = Twin {
        text,
        base,
        policy,
        without,
        factory: InstructionInfoFactory::new(),
    };
    let mut starts = BTreeSet::new();
    let mut branches = Vec::new();
    let mut position = 0;
    while position < text.len() {
        let address = twin.address(position);
        let fail = |rule| Err((rule, address));
        let bundle = policy.bundle().size() as usize;
        let (len, call) = match twin.macro_at(position) {
            Some(found) => found,
            None => {
                let instruction = twin.decode(position);
                if let Err(rule) = twin.ordinary(&instruction, position) {
                    return fail(rule);
                }
                if !instruction.is_invalid() && instruction.op0_kind() == OpKind::NearBranch64 {
                    let target = instruction.near_branch64();
                    let end = twin.address(text.len());
                    let inside = (u64::from(base)..end).contains(&target);
                    if twin.checks(Rule::BranchTarget) && !inside {
                        return fail(Rule::BranchTarget);
                    }
                    branches.push((address, target));
                }
                (
                    instruction.len().max(1),
                    instruction.mnemonic() == Mnemonic::Call,
                )
            }
        };
        if call && position + len == text.len() && twin.checks(Rule::LastCall) {
            return fail(Rule::LastCall);
        }
        if position / bundle != (position + len - 1) / bundle && twin.checks(Rule::Bundle) {
            return fail(Rule::Bundle);
        }
        starts.insert(address);
        position += len;
    }
    let wrong = branches
        .iter()
        .filter(|(_, target)| !starts.contains(target));
    // The verifier blames the lowest target, and among its branches the first.
    match wrong.min_by_key(|(address, target)| (*target, *address)) {
        Some((address, _)) if twin.checks(Rule::BranchTarget) => {
            Err((Rule::BranchTarget, *address))
        }
        _ => Ok(()),
    }
}

struct Twin<'a> {
    text: &'a [u8],
    base: u32,
    policy: &'a Policy,
    without: Option<Rule>,
    factory: InstructionInfoFactory,
}

impl Twin<'_> {
    fn checks(&self, rule: Rule) -> bool {
        self.without != Some(rule)
    }

    fn address(&self, position: usize) -> u64 {
        u64::from(self.base) + position as u64
    }

    fn decode(&self, position: usize) -> Instruction {
        let bytes = &self.text[position.min(self.text.len())..];
        Decoder::with_ip(64, bytes, self.address(position), DecoderOptions::NONE).decode()
    }

    /// Length of the macro that starts here, and whether it ends in a call.
    fn macro_at(&self, position: usize) -> Option<(usize, bool)> {
        let mut parts = Vec::new();
        let mut end = position;
        for _ in 0..5 {
            let part = self.decode(end);
            if part.is_invalid() {
                break;
            }
            end += part.len();
            parts.push(part);
        }
        let (len, call) = self
            .indirect(&parts, position)
            .or_else(|| self.trap(&parts, position))
            .or_else(|| {
                let bytes = &self.text[position..];
                string(&parts).filter(|(len, _)| canonical_string(&bytes[..*len]))
            })?;
        let bundle = self.policy.bundle().size() as usize;
        let whole = position / bundle == (position + len - 1) / bundle;
        (whole || !self.checks(Rule::Bundle)).then_some((len, call))
    }

    fn indirect(&self, parts: &[Instruction], position: usize) -> Option<(usize, bool)> {
        let [and, add, branch, ..] = parts else {
            return None;
        };
        let x = branch.op0_register();
        let branch_size = 2 + usize::from(x.number() >= 8);
        let ok = and.code() == Code::And_rm32_imm8
            && and.op0_kind() == OpKind::Register
            && and.op0_register().full_register() == x
            && and.immediate8to32() == -i32::try_from(self.policy.bundle().size()).ok()?
            && and.len() == branch_size + 1
            && add.code() == Code::Add_rm64_r64
            && add.op0_kind() == OpKind::Register
            && add.op0_register() == x
            && add.op1_register() == Register::R14
            && add.len() == 3
            && matches!(branch.code(), Code::Jmp_rm64 | Code::Call_rm64)
            && branch.op0_kind() == OpKind::Register
            && branch.len() == branch_size
            && x != Register::RSP
            && x != Register::R14;
        // Each part is written as iced would write it.
        let mut broken = Vec::new();
        let mut at = position;
        for part in [and, add, branch] {
            let bytes = &self.text[at..at + part.len()];
            reencode(part, bytes, self.address(at), &mut broken);
            at += part.len();
        }
        let ok = ok && broken.is_empty();
        ok.then_some((
            and.len() + 3 + branch.len(),
            branch.code() == Code::Call_rm64,
        ))
    }

    fn trap(&self, parts: &[Instruction], position: usize) -> Option<(usize, bool)> {
        let call = parts.first()?;
        let entry = call.memory_displacement64().checked_sub(0xF000)?;
        let ok = call.code() == Code::Call_rm64
            && call.op0_kind() == OpKind::Memory
            && call.memory_base() == Register::R14
            && call.memory_index() == Register::None
            && call.memory_displ_size() == 8
            && call.len() == 7
            && self.text[position] == 0x41
            && call.segment_prefix() == Register::None
            && entry % 8 == 0
            && (entry / 8 < u64::from(self.policy.traps()) || !self.checks(Rule::Trap));
        ok.then_some((7, true))
    }

    /// Everything that one instruction must satisfy by itself.
    fn ordinary(&mut self, instruction: &Instruction, position: usize) -> Result<(), Rule> {
        if instruction.is_invalid() {
            return if self.checks(Rule::Decode) {
                Err(Rule::Decode)
            } else {
                Ok(())
            };
        }
        let bytes = &self.text[position..position + instruction.len()];
        let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
        if NOPS.contains(&hex.as_str()) {
            return Ok(());
        }
        let mut broken = Vec::new();
        self.allowed(instruction, &mut broken);
        self.registers(instruction, &mut broken);
        self.memory(instruction, &mut broken);
        reencode(instruction, bytes, self.address(position), &mut broken);
        match broken.into_iter().find(|&rule| self.checks(rule)) {
            Some(rule) => Err(rule),
            None => Ok(()),
        }
    }

    /// Which instructions exist for a guest at all.
    fn allowed(&self, instruction: &Instruction, broken: &mut Vec<Rule>) {
        use Mnemonic::*;
        match instruction.flow_control() {
            FlowControl::IndirectBranch | FlowControl::IndirectCall => {
                let table = instruction.op0_kind() == OpKind::Memory
                    && instruction.memory_base() == Register::R14
                    && instruction.memory_index() == Register::None;
                return broken.push(if table { Rule::Trap } else { Rule::Indirect });
            }
            _ => {}
        }
        let code = instruction.code();
        if matches!(code, Code::Retnq | Code::Call_rel32_64) {
            return;
        }
        if is_string(instruction) {
            return broken.push(Rule::String);
        }
        if instruction.is_stack_instruction() || instruction.flow_control() == FlowControl::Return {
            return broken.push(Rule::ReturnStack);
        }
        use CpuidFeature::*;
        let legacy = code.encoding() == EncodingKind::Legacy;
        let features = instruction
            .cpuid_features()
            .iter()
            .all(|feature| match feature {
                BMI1 => self.policy.features().tzcnt,
                LZCNT => self.policy.features().lzcnt,
                INTEL8086 | INTEL186 | INTEL286 | INTEL386 | INTEL486 | X64 | CMOV | CX8
                | CMPXCHG16B | FPU | FPU287 | FPU387 | PAUSE | POPCNT | SSE | SSE2 | SSE3
                | SSSE3 | SSE4_1 | SSE4_2 => true,
                _ => false,
            });
        let name = format!("{code:?}");
        // Undocumented twins carry their opcode in iced's name.
        let twin = [
            "_DCD0", "_DCD8", "_DDC8", "_DED0", "_DFC8", "_DFD0", "_DFD8", "_F6r1", "_F7r1",
        ]
        .iter()
        .any(|mark| name.ends_with(mark))
            || (name.contains("fence_"))
            || name.starts_with("Sal_");
        let media = (0..instruction.op_count()).any(|i| {
            instruction.op_kind(i) == OpKind::Register
                && (instruction.op_register(i).is_mm()
                    || instruction.op_register(i).is_segment_register()
                    || instruction.op_register(i).is_cr()
                    || instruction.op_register(i).is_dr())
        }) || name.contains("_mm_")
            || name.contains("mmm64") && !name.contains("xmmm64");
        let mnemonic = matches!(
            instruction.mnemonic(),
            // Control and system state.
            In | Out | Insb | Insw | Insd | Outsb | Outsw | Outsd | Int | Int1 | Into | Iretq
            | Cli | Sti | Std | Clts | Invd | Wbinvd | Invlpg | Lmsw | Smsw | Lldt | Ltr | Sldt
            | Str | Lgdt | Lidt | Sgdt | Sidt | Lar | Lsl | Verr | Verw | Swapgs | Lfs | Lgs | Lss
            // Undefined on purpose, but with a length that vendors disagree on.
            | Ud0 | Ud1
            // Hidden addresses or branches.
            | Xlatb | Loop | Loope | Loopne | Jcxz | Jecxz | Jrcxz | Maskmovdqu | Maskmovq
            // Non-temporal.
            | Movntdq | Movntdqa | Movnti | Movntpd | Movntps | Movntq
            // Control words and environments of the floating-point units.
            | Ldmxcsr | Fldcw | Fldenv | Fnstenv | Frstor | Fnsave | Fninit | Fbld | Fbstp
            | Fstpnce | Ffreep | Fincstp | Fdecstp | Ffree | Fneni | Fndisi | Fnsetpm
            | Emms
        );
        let form = matches!(
            code,
            Code::Movsxd_r16_rm16
                | Code::Movsxd_r32_rm32
                | Code::Bswap_r16
                | Code::Crc32_r64_rm8
                | Code::Pcmpestri64_xmm_xmmm128_imm8
                | Code::Pcmpestrm64_xmm_xmmm128_imm8
                | Code::Pextrw_r64_xmm_imm8
                | Code::Pmovmskb_r64_xmm
                | Code::Movmskps_r64_xmm
                | Code::Movmskpd_r64_xmm
        ) || name.contains("r64m8")
            || name.contains("r64m16")
            || name.contains("r64m32")
            || name.contains("moffs")
            || name.contains("Sreg")
            || name.contains("_rel16")
            || name.starts_with("Nop")
            || name.starts_with("Reservednop");
        if !legacy || !features || twin || media || mnemonic || form {
            broken.push(Rule::AllowList);
        }
    }

    /// By what iced says about registers, and by what stands in the operands.
    fn registers(&mut self, instruction: &Instruction, broken: &mut Vec<Rule>) {
        let moves_rsp = matches!(instruction.code(), Code::Retnq | Code::Call_rel32_64);
        let info = self.factory.info(instruction);
        let named = (0..instruction.op_count())
            .filter(|&i| instruction.op_kind(i) == OpKind::Register)
            .map(|i| instruction.op_register(i))
            .chain([instruction.memory_base(), instruction.memory_index()])
            .any(|r| r.full_register() == Register::RSP);
        let used = info
            .used_registers()
            .iter()
            .any(|r| r.register().full_register() == Register::RSP && !moves_rsp);
        if named || used {
            broken.push(Rule::ReturnStack);
        }
        let reads_only = |access| {
            matches!(
                access,
                OpAccess::Read | OpAccess::CondRead | OpAccess::NoMemAccess | OpAccess::None
            )
        };
        let operand = (0..instruction.op_count()).any(|i| {
            instruction.op_kind(i) == OpKind::Register
                && instruction.op_register(i).full_register() == Register::R14
                && !reads_only(info.op_access(i))
        });
        let implicit = info
            .used_registers()
            .iter()
            .any(|r| r.register().full_register() == Register::R14 && !reads_only(r.access()));
        if operand || implicit {
            broken.push(Rule::BaseRegister);
        }
    }

    /// By the memory iced says is used, and by the operand's form.
    fn memory(&mut self, instruction: &Instruction, broken: &mut Vec<Rule>) {
        use Mnemonic::*;
        let explicit =
            (0..instruction.op_count()).any(|i| instruction.op_kind(i) == OpKind::Memory);
        let stack = matches!(instruction.code(), Code::Retnq | Code::Call_rel32_64);
        let implicit = self.factory.info(instruction).used_memory().len();
        if !explicit {
            if implicit != 0 && !stack && !is_string(instruction) {
                broken.push(Rule::Memory);
            }
            return;
        }
        let (base, index) = (instruction.memory_base(), instruction.memory_index());
        let narrow = base.is_gpr32() || index.is_gpr32();
        let gs = instruction.segment_prefix() == Register::GS;
        let bits = matches!(instruction.mnemonic(), Bt | Bts | Btr | Btc)
            && instruction.op1_kind() == OpKind::Register;
        if instruction.mnemonic() == Lea {
            if base == Register::EIP {
                broken.push(Rule::Memory);
            }
            return;
        }
        let none = base == Register::None && index == Register::None;
        let disp = instruction.memory_displacement64();
        let wraps = gs && (narrow || none && instruction.memory_displ_size() == 4);
        let absolute = gs && none && instruction.memory_displ_size() == 8 && disp < 1 << 31;
        let relative = base == Register::RIP
            && instruction.segment_prefix() == Register::None
            && disp >= 0x1_0000
            && disp
                .checked_add(64)
                .is_some_and(|end| end <= (1 << 32) - 0x1_0000);
        let form = (wraps && base != Register::EIP) || absolute || relative;
        if !form || implicit > 1 || bits || instruction.mnemonic() == Xchg {
            broken.push(Rule::Memory);
        }
    }
}

/// The string instructions, whose mnemonics are also those of scalar moves and compares.
fn is_string(instruction: &Instruction) -> bool {
    use OpKind::*;
    instruction.is_string_instruction()
        && (0..instruction.op_count()).any(|i| {
            matches!(
                instruction.op_kind(i),
                MemoryESEDI | MemoryESRDI | MemorySegESI | MemorySegRSI
            )
        })
}

/// The bytes are the ones that iced would write, but for the order of legacy prefixes.
fn reencode(instruction: &Instruction, bytes: &[u8], ip: u64, broken: &mut Vec<Rule>) {
    let split = |bytes: &[u8]| {
        let is_prefix = |b: &&u8| {
            [
                0x65, 0x67, 0x66, 0xF2, 0xF3, 0xF0, 0x26, 0x2E, 0x36, 0x3E, 0x64,
            ]
            .contains(*b)
        };
        let count = bytes.iter().take_while(is_prefix).count();
        let (prefixes, rest) = bytes.split_at(count);
        let mut prefixes = prefixes.to_vec();
        prefixes.sort_unstable();
        (prefixes, rest.to_vec())
    };
    // iced remembers prefixes that mean nothing where they stand; without them it writes the
    // canonical form.
    let mut bare = *instruction;
    bare.set_has_rep_prefix(false);
    bare.set_has_repne_prefix(false);
    bare.set_has_lock_prefix(false);
    let accesses = instruction.mnemonic() != Mnemonic::Lea
        && (0..instruction.op_count()).any(|i| instruction.op_kind(i) == OpKind::Memory);
    if !accesses {
        bare.set_segment_prefix(Register::None);
    }
    if bare.memory_index() == Register::None {
        bare.set_memory_index_scale(1);
    }
    let mut encoder = Encoder::new(64);
    let Ok(_) = encoder.encode(&bare, ip) else {
        return broken.push(Rule::Encoding);
    };
    let (canonical, actual) = (split(&encoder.take_buffer()), split(bytes));
    if canonical.0 != actual.0 {
        broken.push(Rule::Prefix);
    }
    if canonical.1 != actual.1 {
        broken.push(Rule::Encoding);
    }
}

/// Whether the parts are a string macro: its length.
fn string(parts: &[Instruction]) -> Option<(usize, bool)> {
    let confine = |narrow: &Instruction, add: &Instruction, half: Register, full: Register| {
        narrow.code() == Code::Mov_rm32_r32
            && narrow.op0_register() == half
            && narrow.op1_register() == half
            && add.code() == Code::Lea_r64_m
            && add.op0_register() == full
            && add.memory_base() == Register::R14
            && add.memory_index() == full
            && add.memory_index_scale() == 1
            && add.memory_displ_size() == 0
    };
    let [a, b, rest @ ..] = parts else {
        return None;
    };
    if !confine(a, b, Register::EDI, Register::RDI) {
        return None;
    }
    use Code::*;
    let stores = [Stosb_m8_AL, Stosd_m32_EAX, Stosq_m64_RAX];
    let copies = [Movsb_m8_m8, Movsd_m32_m32, Movsq_m64_m64];
    let parts: Vec<&Instruction> = match rest {
        [store, ..] if stores.contains(&store.code()) => vec![a, b, store],
        [c, d, copy, ..]
            if copies.contains(&copy.code()) && confine(c, d, Register::ESI, Register::RSI) =>
        {
            vec![a, b, c, d, copy]
        }
        _ => return None,
    };
    Some((parts.iter().map(|p| p.len()).sum(), false))
}

/// The string macros have one encoding each: mov as 89, lea without displacement, no prefix but
/// rep and REX.W before the operation.
fn canonical_string(bytes: &[u8]) -> bool {
    let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
    let store = hex.strip_prefix("89ff498d3c3e");
    let copy = store.and_then(|rest| rest.strip_prefix("89f6498d3436"));
    match (store, copy) {
        (_, Some(tail)) => ["a4", "a5", "48a5", "f3a4", "f3a5", "f348a5"].contains(&tail),
        (Some(tail), None) => ["aa", "ab", "48ab", "f3aa", "f3ab", "f348ab"].contains(&tail),
        _ => false,
    }
}
