//! The allow-list: every instruction a guest may contain, and the facts about it that the rules
//! use. What is not here is refused.
//!
//! A row is a set of facts and the iced `Code`s they hold for. A `Code` names one opcode with one
//! operand size, so aliases (`shl /6`, `test /1`, x87 twins) are Codes of their own and absent.
//! A test compares each fact with iced's own tables.

use iced_x86::Code::{self, *};

/// Facts about a Code, a set of the bits below.
pub(crate) type Facts = u16;

/// Nothing written, no prefix.
const PLAIN: Facts = 0;
/// Prefix 65, the gs segment. Never a fact of a Code: the memory form demands it.
pub(crate) const P65: Facts = 1 << 0;
/// Prefix 67, 32-bit addresses. Never a fact of a Code: the memory form demands it.
pub(crate) const P67: Facts = 1 << 1;
/// Prefix 66 belongs to the encoding.
pub(crate) const P66: Facts = 1 << 2;
/// Prefix F3 belongs to the encoding.
pub(crate) const PF3: Facts = 1 << 3;
/// Prefix F2 belongs to the encoding.
pub(crate) const PF2: Facts = 1 << 4;
/// All prefix bits.
pub(crate) const PREFIXES: Facts = P65 | P67 | P66 | PF3 | PF2;
/// REX.W belongs to the encoding.
pub(crate) const WIDE: Facts = 1 << 5;
/// The first operand is written.
pub(crate) const OUT0: Facts = 1 << 6;
/// The second operand is written.
pub(crate) const OUT1: Facts = 1 << 7;
/// A memory operand is refused.
pub(crate) const REGS: Facts = 1 << 8;
/// The processor ignores the reg field of ModRM: it must be zero.
pub(crate) const REG0: Facts = 1 << 9;
/// The memory operand is an address that is not accessed.
pub(crate) const LEA: Facts = 1 << 10;
/// A direct branch.
pub(crate) const BRANCH: Facts = 1 << 11;
/// Only where the policy admits `tzcnt`.
pub(crate) const TZCNT: Facts = 1 << 12;
/// Only where the policy admits `lzcnt`.
pub(crate) const LZCNT: Facts = 1 << 13;
/// The Code is on the list at all.
pub(crate) const LISTED: Facts = 1 << 15;

/// Codes that iced knows; a Code is an index below it.
const CODES: usize = 4936;

/// The facts of each Code; zero for what is not listed.
static TABLE: [Facts; CODES] = spread();

/// The facts of `code`, or zero.
pub(crate) fn facts(code: Code) -> Facts {
    TABLE.get(code as usize).copied().unwrap_or(0)
}

/// The whole list, for a hash that names it. A Code's number belongs to the version of iced, which
/// the lock file pins: a record that outlives the build must name the build too.
pub(crate) fn table() -> &'static [Facts] {
    &TABLE
}

/// Spreads the rows over a table. A Code listed twice does not compile.
const fn spread() -> [Facts; CODES] {
    let mut table = [0; CODES];
    let mut row = 0;
    while row < ROWS.len() {
        let (facts, codes) = ROWS[row];
        let mut code = 0;
        while code < codes.len() {
            let entry = &mut table[codes[code] as usize];
            assert!(*entry == 0, "a Code is listed twice");
            *entry = facts | LISTED;
            code += 1;
        }
        row += 1;
    }
    table
}

/// The list itself. Laid out by hand: one Code a line would hide the families.
#[rustfmt::skip]
const ROWS: &[(Facts, &[Code])] = &[
    // Add, subtract and logic: the first operand is written.
    (OUT0, &[
        Add_rm8_r8, Add_rm32_r32, Add_r8_rm8, Add_r32_rm32, Add_AL_imm8, Add_EAX_imm32,
        Or_rm8_r8, Or_rm32_r32, Or_r8_rm8, Or_r32_rm32, Or_AL_imm8, Or_EAX_imm32,
        Adc_rm8_r8, Adc_rm32_r32, Adc_r8_rm8, Adc_r32_rm32, Adc_AL_imm8, Adc_EAX_imm32,
        Sbb_rm8_r8, Sbb_rm32_r32, Sbb_r8_rm8, Sbb_r32_rm32, Sbb_AL_imm8, Sbb_EAX_imm32,
        And_rm8_r8, And_rm32_r32, And_r8_rm8, And_r32_rm32, And_AL_imm8, And_EAX_imm32,
        Sub_rm8_r8, Sub_rm32_r32, Sub_r8_rm8, Sub_r32_rm32, Sub_AL_imm8, Sub_EAX_imm32,
        Xor_rm8_r8, Xor_rm32_r32, Xor_r8_rm8, Xor_r32_rm32, Xor_AL_imm8, Xor_EAX_imm32,
        Add_rm8_imm8, Or_rm8_imm8, Adc_rm8_imm8, Sbb_rm8_imm8, And_rm8_imm8, Sub_rm8_imm8,
        Xor_rm8_imm8, Add_rm32_imm32, Or_rm32_imm32, Adc_rm32_imm32, Sbb_rm32_imm32,
        And_rm32_imm32, Sub_rm32_imm32, Xor_rm32_imm32, Add_rm32_imm8, Or_rm32_imm8,
        Adc_rm32_imm8, Sbb_rm32_imm8, And_rm32_imm8, Sub_rm32_imm8, Xor_rm32_imm8, Not_rm8,
        Neg_rm8, Not_rm32, Neg_rm32, Inc_rm8, Dec_rm8, Inc_rm32, Dec_rm32,
    ]),
    (P66 | OUT0, &[
        Add_rm16_r16, Add_r16_rm16, Add_AX_imm16, Or_rm16_r16, Or_r16_rm16, Or_AX_imm16,
        Adc_rm16_r16, Adc_r16_rm16, Adc_AX_imm16, Sbb_rm16_r16, Sbb_r16_rm16, Sbb_AX_imm16,
        And_rm16_r16, And_r16_rm16, And_AX_imm16, Sub_rm16_r16, Sub_r16_rm16, Sub_AX_imm16,
        Xor_rm16_r16, Xor_r16_rm16, Xor_AX_imm16, Add_rm16_imm16, Or_rm16_imm16,
        Adc_rm16_imm16, Sbb_rm16_imm16, And_rm16_imm16, Sub_rm16_imm16, Xor_rm16_imm16,
        Add_rm16_imm8, Or_rm16_imm8, Adc_rm16_imm8, Sbb_rm16_imm8, And_rm16_imm8,
        Sub_rm16_imm8, Xor_rm16_imm8, Not_rm16, Neg_rm16, Inc_rm16, Dec_rm16,
    ]),
    (WIDE | OUT0, &[
        Add_rm64_r64, Add_r64_rm64, Add_RAX_imm32, Or_rm64_r64, Or_r64_rm64, Or_RAX_imm32,
        Adc_rm64_r64, Adc_r64_rm64, Adc_RAX_imm32, Sbb_rm64_r64, Sbb_r64_rm64,
        Sbb_RAX_imm32, And_rm64_r64, And_r64_rm64, And_RAX_imm32, Sub_rm64_r64,
        Sub_r64_rm64, Sub_RAX_imm32, Xor_rm64_r64, Xor_r64_rm64, Xor_RAX_imm32,
        Add_rm64_imm32, Or_rm64_imm32, Adc_rm64_imm32, Sbb_rm64_imm32, And_rm64_imm32,
        Sub_rm64_imm32, Xor_rm64_imm32, Add_rm64_imm8, Or_rm64_imm8, Adc_rm64_imm8,
        Sbb_rm64_imm8, And_rm64_imm8, Sub_rm64_imm8, Xor_rm64_imm8, Not_rm64, Neg_rm64,
        Inc_rm64, Dec_rm64,
    ]),

    // Compare and test: only flags are written.
    (PLAIN, &[
        Cmp_rm8_r8, Cmp_rm32_r32, Cmp_r8_rm8, Cmp_r32_rm32, Cmp_AL_imm8, Cmp_EAX_imm32,
        Cmp_rm8_imm8, Cmp_rm32_imm32, Cmp_rm32_imm8, Test_rm8_r8, Test_rm32_r32,
        Test_AL_imm8, Test_EAX_imm32, Test_rm8_imm8, Test_rm32_imm32,
    ]),
    (P66, &[
        Cmp_rm16_r16, Cmp_r16_rm16, Cmp_AX_imm16, Cmp_rm16_imm16, Cmp_rm16_imm8,
        Test_rm16_r16, Test_AX_imm16, Test_rm16_imm16,
    ]),
    (WIDE, &[
        Cmp_rm64_r64, Cmp_r64_rm64, Cmp_RAX_imm32, Cmp_rm64_imm32, Cmp_rm64_imm8,
        Test_rm64_r64, Test_RAX_imm32, Test_rm64_imm32,
    ]),

    // Multiply and divide: one operand writes rax and rdx, several write the first.
    (PLAIN, &[
        Mul_rm8, Imul_rm8, Div_rm8, Idiv_rm8, Mul_rm32, Imul_rm32, Div_rm32, Idiv_rm32,
    ]),
    (P66, &[Mul_rm16, Imul_rm16, Div_rm16, Idiv_rm16]),
    (WIDE, &[Mul_rm64, Imul_rm64, Div_rm64, Idiv_rm64]),
    (P66 | OUT0, &[Imul_r16_rm16_imm16, Imul_r16_rm16_imm8, Imul_r16_rm16]),
    (OUT0, &[Imul_r32_rm32_imm32, Imul_r32_rm32_imm8, Imul_r32_rm32]),
    (WIDE | OUT0, &[Imul_r64_rm64_imm32, Imul_r64_rm64_imm8, Imul_r64_rm64]),

    // Moves: no segment, control or debug register, no absolute address (moffs), and only the
    // movsxd that both vendors read alike.
    (OUT0, &[
        Mov_rm8_r8, Mov_rm32_r32, Mov_r8_rm8, Mov_r32_rm32, Mov_r8_imm8, Mov_r32_imm32,
        Mov_rm8_imm8, Mov_rm32_imm32, Movzx_r32_rm8, Movzx_r32_rm16, Movsx_r32_rm8,
        Movsx_r32_rm16, Bswap_r32,
    ]),
    (P66 | OUT0, &[
        Mov_rm16_r16, Mov_r16_rm16, Mov_r16_imm16, Mov_rm16_imm16, Movzx_r16_rm8,
        Movzx_r16_rm16, Movsx_r16_rm8, Movsx_r16_rm16,
    ]),
    (WIDE | OUT0, &[
        Mov_rm64_r64, Mov_r64_rm64, Mov_r64_imm64, Mov_rm64_imm32, Movzx_r64_rm8,
        Movzx_r64_rm16, Movsx_r64_rm8, Movsx_r64_rm16, Movsxd_r64_rm32, Bswap_r64,
    ]),

    // Address arithmetic; the one memory operand that touches no memory.
    (P66 | OUT0 | LEA, &[Lea_r16_m]),
    (OUT0 | LEA, &[Lea_r32_m]),
    (WIDE | OUT0 | LEA, &[Lea_r64_m]),

    // Conditional moves.
    (P66 | OUT0, &[
        Cmovo_r16_rm16, Cmovno_r16_rm16, Cmovb_r16_rm16, Cmovae_r16_rm16, Cmove_r16_rm16,
        Cmovne_r16_rm16, Cmovbe_r16_rm16, Cmova_r16_rm16, Cmovs_r16_rm16, Cmovns_r16_rm16,
        Cmovp_r16_rm16, Cmovnp_r16_rm16, Cmovl_r16_rm16, Cmovge_r16_rm16, Cmovle_r16_rm16,
        Cmovg_r16_rm16,
    ]),
    (OUT0, &[
        Cmovo_r32_rm32, Cmovno_r32_rm32, Cmovb_r32_rm32, Cmovae_r32_rm32, Cmove_r32_rm32,
        Cmovne_r32_rm32, Cmovbe_r32_rm32, Cmova_r32_rm32, Cmovs_r32_rm32, Cmovns_r32_rm32,
        Cmovp_r32_rm32, Cmovnp_r32_rm32, Cmovl_r32_rm32, Cmovge_r32_rm32, Cmovle_r32_rm32,
        Cmovg_r32_rm32,
    ]),
    (WIDE | OUT0, &[
        Cmovo_r64_rm64, Cmovno_r64_rm64, Cmovb_r64_rm64, Cmovae_r64_rm64, Cmove_r64_rm64,
        Cmovne_r64_rm64, Cmovbe_r64_rm64, Cmova_r64_rm64, Cmovs_r64_rm64, Cmovns_r64_rm64,
        Cmovp_r64_rm64, Cmovnp_r64_rm64, Cmovl_r64_rm64, Cmovge_r64_rm64, Cmovle_r64_rm64,
        Cmovg_r64_rm64,
    ]),

    // Set byte on condition. The processor ignores the reg field of ModRM.
    (OUT0 | REG0, &[
        Seto_rm8, Setno_rm8, Setb_rm8, Setae_rm8, Sete_rm8, Setne_rm8, Setbe_rm8, Seta_rm8,
        Sets_rm8, Setns_rm8, Setp_rm8, Setnp_rm8, Setl_rm8, Setge_rm8, Setle_rm8, Setg_rm8,
    ]),

    // Shifts and rotates, without the undocumented twin of shl (`/6`, Sal).
    (OUT0, &[
        Rol_rm8_imm8, Ror_rm8_imm8, Rcl_rm8_imm8, Rcr_rm8_imm8, Shl_rm8_imm8, Shr_rm8_imm8,
        Sar_rm8_imm8, Rol_rm32_imm8, Ror_rm32_imm8, Rcl_rm32_imm8, Rcr_rm32_imm8,
        Shl_rm32_imm8, Shr_rm32_imm8, Sar_rm32_imm8, Rol_rm8_1, Ror_rm8_1, Rcl_rm8_1,
        Rcr_rm8_1, Shl_rm8_1, Shr_rm8_1, Sar_rm8_1, Rol_rm32_1, Ror_rm32_1, Rcl_rm32_1,
        Rcr_rm32_1, Shl_rm32_1, Shr_rm32_1, Sar_rm32_1, Rol_rm8_CL, Ror_rm8_CL, Rcl_rm8_CL,
        Rcr_rm8_CL, Shl_rm8_CL, Shr_rm8_CL, Sar_rm8_CL, Rol_rm32_CL, Ror_rm32_CL,
        Rcl_rm32_CL, Rcr_rm32_CL, Shl_rm32_CL, Shr_rm32_CL, Sar_rm32_CL, Shld_rm32_r32_imm8,
        Shld_rm32_r32_CL, Shrd_rm32_r32_imm8, Shrd_rm32_r32_CL,
    ]),
    (P66 | OUT0, &[
        Rol_rm16_imm8, Ror_rm16_imm8, Rcl_rm16_imm8, Rcr_rm16_imm8, Shl_rm16_imm8,
        Shr_rm16_imm8, Sar_rm16_imm8, Rol_rm16_1, Ror_rm16_1, Rcl_rm16_1, Rcr_rm16_1,
        Shl_rm16_1, Shr_rm16_1, Sar_rm16_1, Rol_rm16_CL, Ror_rm16_CL, Rcl_rm16_CL,
        Rcr_rm16_CL, Shl_rm16_CL, Shr_rm16_CL, Sar_rm16_CL, Shld_rm16_r16_imm8,
        Shld_rm16_r16_CL, Shrd_rm16_r16_imm8, Shrd_rm16_r16_CL,
    ]),
    (WIDE | OUT0, &[
        Rol_rm64_imm8, Ror_rm64_imm8, Rcl_rm64_imm8, Rcr_rm64_imm8, Shl_rm64_imm8,
        Shr_rm64_imm8, Sar_rm64_imm8, Rol_rm64_1, Ror_rm64_1, Rcl_rm64_1, Rcr_rm64_1,
        Shl_rm64_1, Shr_rm64_1, Sar_rm64_1, Rol_rm64_CL, Ror_rm64_CL, Rcl_rm64_CL,
        Rcr_rm64_CL, Shl_rm64_CL, Shr_rm64_CL, Sar_rm64_CL, Shld_rm64_r64_imm8,
        Shld_rm64_r64_CL, Shrd_rm64_r64_imm8, Shrd_rm64_r64_CL,
    ]),

    // Bit tests with an immediate: the processor reduces it modulo the operand size.
    (P66, &[Bt_rm16_imm8]),
    (PLAIN, &[Bt_rm32_imm8]),
    (WIDE, &[Bt_rm64_imm8]),
    (P66 | OUT0, &[Bts_rm16_imm8, Btr_rm16_imm8, Btc_rm16_imm8]),
    (OUT0, &[Bts_rm32_imm8, Btr_rm32_imm8, Btc_rm32_imm8]),
    (WIDE | OUT0, &[Bts_rm64_imm8, Btr_rm64_imm8, Btc_rm64_imm8]),

    // Bit tests by register, which reach 2^60 bytes from a memory operand: registers only.
    (P66 | REGS, &[Bt_rm16_r16]),
    (REGS, &[Bt_rm32_r32]),
    (WIDE | REGS, &[Bt_rm64_r64]),
    (P66 | OUT0 | REGS, &[Bts_rm16_r16, Btr_rm16_r16, Btc_rm16_r16]),
    (OUT0 | REGS, &[Bts_rm32_r32, Btr_rm32_r32, Btc_rm32_r32]),
    (WIDE | OUT0 | REGS, &[Bts_rm64_r64, Btr_rm64_r64, Btc_rm64_r64]),

    // Bit scans, population count, checksum.
    (P66 | OUT0, &[Bsf_r16_rm16, Bsr_r16_rm16]),
    (OUT0, &[Bsf_r32_rm32, Bsr_r32_rm32]),
    (WIDE | OUT0, &[Bsf_r64_rm64, Bsr_r64_rm64]),
    (P66 | PF3 | OUT0, &[Popcnt_r16_rm16]),
    (PF3 | OUT0, &[Popcnt_r32_rm32]),
    (PF3 | WIDE | OUT0, &[Popcnt_r64_rm64]),
    (PF2 | OUT0, &[Crc32_r32_rm8, Crc32_r32_rm32]),
    (P66 | PF2 | OUT0, &[Crc32_r32_rm16]),
    (PF2 | WIDE | OUT0, &[Crc32_r64_rm64]),

    // Old processors run it as bsf: only where the policy says so.
    (P66 | PF3 | OUT0 | TZCNT, &[Tzcnt_r16_rm16]),
    (PF3 | OUT0 | TZCNT, &[Tzcnt_r32_rm32]),
    (PF3 | WIDE | OUT0 | TZCNT, &[Tzcnt_r64_rm64]),

    // Old processors run it as bsr, with another result: only where the policy says so.
    (P66 | PF3 | OUT0 | LZCNT, &[Lzcnt_r16_rm16]),
    (PF3 | OUT0 | LZCNT, &[Lzcnt_r32_rm32]),
    (PF3 | WIDE | OUT0 | LZCNT, &[Lzcnt_r64_rm64]),

    // Exchange: with memory it locks the bus, which a guest must not; registers only.
    (OUT0 | OUT1 | REGS, &[Xchg_rm8_r8, Xchg_rm32_r32, Xchg_r32_EAX]),
    (P66 | OUT0 | OUT1 | REGS, &[Xchg_rm16_r16, Xchg_r16_AX]),
    (WIDE | OUT0 | OUT1 | REGS, &[Xchg_rm64_r64, Xchg_r64_RAX]),

    // Exchange-and-add, compare-and-exchange, never locked.
    (OUT0 | OUT1, &[Xadd_rm8_r8, Xadd_rm32_r32]),
    (P66 | OUT0 | OUT1, &[Xadd_rm16_r16]),
    (WIDE | OUT0 | OUT1, &[Xadd_rm64_r64]),
    (OUT0, &[Cmpxchg_rm8_r8, Cmpxchg_rm32_r32, Cmpxchg8b_m64]),
    (P66 | OUT0, &[Cmpxchg_rm16_r16]),
    (WIDE | OUT0, &[Cmpxchg_rm64_r64, Cmpxchg16b_m128]),

    // Sign extension, carry, flags through ah (which has no AC, DF or TF), cld.
    (P66, &[Cbw, Cwd]),
    (PLAIN, &[Cwde, Cdq, Clc, Stc, Cmc, Lahf, Sahf, Cld]),
    (WIDE, &[Cdqe, Cqo]),

    // Direct branches, rel8 and rel32.
    (BRANCH, &[
        Jo_rel8_64, Jno_rel8_64, Jb_rel8_64, Jae_rel8_64, Je_rel8_64, Jne_rel8_64,
        Jbe_rel8_64, Ja_rel8_64, Js_rel8_64, Jns_rel8_64, Jp_rel8_64, Jnp_rel8_64,
        Jl_rel8_64, Jge_rel8_64, Jle_rel8_64, Jg_rel8_64, Jmp_rel8_64, Jmp_rel32_64, Jo_rel32_64, Jno_rel32_64, Jb_rel32_64, Jae_rel32_64,
        Je_rel32_64, Jne_rel32_64, Jbe_rel32_64, Ja_rel32_64, Js_rel32_64, Jns_rel32_64,
        Jp_rel32_64, Jnp_rel32_64, Jl_rel32_64, Jge_rel32_64, Jle_rel32_64, Jg_rel32_64,
        Call_rel32_64,
    ]),

    // Return: pops what a verified call pushed (X1, X3).
    (PLAIN, &[Retnq]),

    // Instructions that fault, spin politely, or order memory.
    (PLAIN, &[Int3, Hlt, Ud2, Lfence, Mfence, Sfence]),
    (PF3, &[Pause]),

    // Prefetch hints.
    (PLAIN, &[Prefetchnta_m8, Prefetcht0_m8, Prefetcht1_m8, Prefetcht2_m8]),

    // x87 arithmetic. Nothing loads the control word, environment or state, nothing stores more
    // than the status and control words; no packed decimals, no undocumented twins.
    (PLAIN, &[
        Fadd_m32fp, Fmul_m32fp, Fcom_m32fp, Fcomp_m32fp, Fsub_m32fp, Fsubr_m32fp,
        Fdiv_m32fp, Fdivr_m32fp, Fcom_st0_sti, Fcomp_st0_sti, Fld_m32fp, Fld_sti, Fnop,
        Fchs, Fabs, Ftst, Fxam, Fld1, Fldl2t, Fldl2e, Fldpi, Fldlg2, Fldln2, Fldz, F2xm1,
        Fyl2x, Fptan, Fpatan, Fxtract, Fprem1, Fprem, Fyl2xp1, Fsqrt, Fsincos, Frndint,
        Fscale, Fsin, Fcos, Fiadd_m32int, Fimul_m32int, Ficom_m32int, Ficomp_m32int,
        Fisub_m32int, Fisubr_m32int, Fidiv_m32int, Fidivr_m32int, Fucompp, Fild_m32int,
        Fld_m80fp, Fnclex, Fucomi_st0_sti, Fcomi_st0_sti, Fadd_m64fp, Fmul_m64fp,
        Fcom_m64fp, Fcomp_m64fp, Fsub_m64fp, Fsubr_m64fp, Fdiv_m64fp, Fdivr_m64fp,
        Fld_m64fp, Fucom_st0_sti, Fucomp_st0_sti, Fiadd_m16int, Fimul_m16int, Ficom_m16int,
        Ficomp_m16int, Fisub_m16int, Fisubr_m16int, Fidiv_m16int, Fidivr_m16int, Fcompp,
        Fild_m16int, Fild_m64int, Fucomip_st0_sti, Fcomip_st0_sti, Wait,
    ]),
    (OUT0, &[
        Fadd_st0_sti, Fmul_st0_sti, Fsub_st0_sti, Fsubr_st0_sti, Fdiv_st0_sti,
        Fdivr_st0_sti, Fst_m32fp, Fstp_m32fp, Fnstcw_m2byte, Fcmovb_st0_sti, Fcmove_st0_sti,
        Fcmovbe_st0_sti, Fcmovu_st0_sti, Fisttp_m32int, Fist_m32int, Fistp_m32int,
        Fstp_m80fp, Fcmovnb_st0_sti, Fcmovne_st0_sti, Fcmovnbe_st0_sti, Fcmovnu_st0_sti,
        Fadd_sti_st0, Fmul_sti_st0, Fsubr_sti_st0, Fsub_sti_st0, Fdivr_sti_st0,
        Fdiv_sti_st0, Fisttp_m64int, Fst_m64fp, Fstp_m64fp, Fnstsw_m2byte, Fst_sti,
        Fstp_sti, Faddp_sti_st0, Fmulp_sti_st0, Fsubrp_sti_st0, Fsubp_sti_st0,
        Fdivrp_sti_st0, Fdivp_sti_st0, Fisttp_m16int, Fist_m16int, Fistp_m16int,
        Fistp_m64int, Fnstsw_AX,
    ]),
    (OUT0 | OUT1, &[Fxch_st0_sti]),

    // SSE without MMX operands, non-temporal stores and ldmxcsr.
    (OUT0, &[
        Movups_xmm_xmmm128, Movups_xmmm128_xmm, Movhlps_xmm_xmm, Movlps_xmm_m64,
        Movlps_m64_xmm, Unpcklps_xmm_xmmm128, Unpckhps_xmm_xmmm128, Movlhps_xmm_xmm,
        Movhps_xmm_m64, Movhps_m64_xmm, Movaps_xmm_xmmm128, Movaps_xmmm128_xmm,
        Movmskps_r32_xmm, Sqrtps_xmm_xmmm128, Rsqrtps_xmm_xmmm128, Rcpps_xmm_xmmm128,
        Andps_xmm_xmmm128, Andnps_xmm_xmmm128, Orps_xmm_xmmm128, Xorps_xmm_xmmm128,
        Addps_xmm_xmmm128, Mulps_xmm_xmmm128, Subps_xmm_xmmm128, Minps_xmm_xmmm128,
        Divps_xmm_xmmm128, Maxps_xmm_xmmm128, Stmxcsr_m32, Cmpps_xmm_xmmm128_imm8,
        Shufps_xmm_xmmm128_imm8,
    ]),
    (PF3 | OUT0, &[
        Movss_xmm_xmmm32, Movss_xmmm32_xmm, Cvtsi2ss_xmm_rm32, Cvttss2si_r32_xmmm32,
        Cvtss2si_r32_xmmm32, Sqrtss_xmm_xmmm32, Rsqrtss_xmm_xmmm32, Rcpss_xmm_xmmm32,
        Addss_xmm_xmmm32, Mulss_xmm_xmmm32, Subss_xmm_xmmm32, Minss_xmm_xmmm32,
        Divss_xmm_xmmm32, Maxss_xmm_xmmm32, Cmpss_xmm_xmmm32_imm8,
    ]),
    (PF3 | WIDE | OUT0, &[Cvtsi2ss_xmm_rm64, Cvttss2si_r64_xmmm32, Cvtss2si_r64_xmmm32]),
    (PLAIN, &[Ucomiss_xmm_xmmm32, Comiss_xmm_xmmm32]),

    // SSE2 without MMX operands, non-temporal and masked stores.
    (P66 | OUT0, &[
        Movupd_xmm_xmmm128, Movupd_xmmm128_xmm, Movlpd_xmm_m64, Movlpd_m64_xmm,
        Unpcklpd_xmm_xmmm128, Unpckhpd_xmm_xmmm128, Movhpd_xmm_m64, Movhpd_m64_xmm,
        Movapd_xmm_xmmm128, Movapd_xmmm128_xmm, Movmskpd_r32_xmm, Sqrtpd_xmm_xmmm128,
        Andpd_xmm_xmmm128, Andnpd_xmm_xmmm128, Orpd_xmm_xmmm128, Xorpd_xmm_xmmm128,
        Addpd_xmm_xmmm128, Mulpd_xmm_xmmm128, Cvtpd2ps_xmm_xmmm128, Cvtps2dq_xmm_xmmm128,
        Subpd_xmm_xmmm128, Minpd_xmm_xmmm128, Divpd_xmm_xmmm128, Maxpd_xmm_xmmm128,
        Punpcklbw_xmm_xmmm128, Punpcklwd_xmm_xmmm128, Punpckldq_xmm_xmmm128,
        Packsswb_xmm_xmmm128, Pcmpgtb_xmm_xmmm128, Pcmpgtw_xmm_xmmm128, Pcmpgtd_xmm_xmmm128,
        Packuswb_xmm_xmmm128, Punpckhbw_xmm_xmmm128, Punpckhwd_xmm_xmmm128,
        Punpckhdq_xmm_xmmm128, Packssdw_xmm_xmmm128, Punpcklqdq_xmm_xmmm128,
        Punpckhqdq_xmm_xmmm128, Movd_xmm_rm32, Movdqa_xmm_xmmm128, Pshufd_xmm_xmmm128_imm8,
        Psrlw_xmm_imm8, Psraw_xmm_imm8, Psllw_xmm_imm8, Psrld_xmm_imm8, Psrad_xmm_imm8,
        Pslld_xmm_imm8, Psrlq_xmm_imm8, Psrldq_xmm_imm8, Psllq_xmm_imm8, Pslldq_xmm_imm8,
        Pcmpeqb_xmm_xmmm128, Pcmpeqw_xmm_xmmm128, Pcmpeqd_xmm_xmmm128, Movd_rm32_xmm,
        Movdqa_xmmm128_xmm, Cmppd_xmm_xmmm128_imm8, Pinsrw_xmm_r32m16_imm8,
        Pextrw_r32_xmm_imm8, Shufpd_xmm_xmmm128_imm8, Psrlw_xmm_xmmm128, Psrld_xmm_xmmm128,
        Psrlq_xmm_xmmm128, Paddq_xmm_xmmm128, Pmullw_xmm_xmmm128, Movq_xmmm64_xmm,
        Pmovmskb_r32_xmm, Psubusb_xmm_xmmm128, Psubusw_xmm_xmmm128, Pminub_xmm_xmmm128,
        Pand_xmm_xmmm128, Paddusb_xmm_xmmm128, Paddusw_xmm_xmmm128, Pmaxub_xmm_xmmm128,
        Pandn_xmm_xmmm128, Pavgb_xmm_xmmm128, Psraw_xmm_xmmm128, Psrad_xmm_xmmm128,
        Pavgw_xmm_xmmm128, Pmulhuw_xmm_xmmm128, Pmulhw_xmm_xmmm128, Cvttpd2dq_xmm_xmmm128,
        Psubsb_xmm_xmmm128, Psubsw_xmm_xmmm128, Pminsw_xmm_xmmm128, Por_xmm_xmmm128,
        Paddsb_xmm_xmmm128, Paddsw_xmm_xmmm128, Pmaxsw_xmm_xmmm128, Pxor_xmm_xmmm128,
        Psllw_xmm_xmmm128, Pslld_xmm_xmmm128, Psllq_xmm_xmmm128, Pmuludq_xmm_xmmm128,
        Pmaddwd_xmm_xmmm128, Psadbw_xmm_xmmm128, Psubb_xmm_xmmm128, Psubw_xmm_xmmm128,
        Psubd_xmm_xmmm128, Psubq_xmm_xmmm128, Paddb_xmm_xmmm128, Paddw_xmm_xmmm128,
        Paddd_xmm_xmmm128,
    ]),
    (PF2 | OUT0, &[
        Movsd_xmm_xmmm64, Movsd_xmmm64_xmm, Cvtsi2sd_xmm_rm32, Cvttsd2si_r32_xmmm64,
        Cvtsd2si_r32_xmmm64, Sqrtsd_xmm_xmmm64, Addsd_xmm_xmmm64, Mulsd_xmm_xmmm64,
        Cvtsd2ss_xmm_xmmm64, Subsd_xmm_xmmm64, Minsd_xmm_xmmm64, Divsd_xmm_xmmm64,
        Maxsd_xmm_xmmm64, Pshuflw_xmm_xmmm128_imm8, Cmpsd_xmm_xmmm64_imm8,
        Cvtpd2dq_xmm_xmmm128,
    ]),
    (PF2 | WIDE | OUT0, &[Cvtsi2sd_xmm_rm64, Cvttsd2si_r64_xmmm64, Cvtsd2si_r64_xmmm64]),
    (P66, &[Ucomisd_xmm_xmmm64, Comisd_xmm_xmmm64]),
    (OUT0, &[Cvtps2pd_xmm_xmmm64, Cvtdq2ps_xmm_xmmm128]),
    (PF3 | OUT0, &[
        Cvtss2sd_xmm_xmmm32, Cvttps2dq_xmm_xmmm128, Movdqu_xmm_xmmm128,
        Pshufhw_xmm_xmmm128_imm8, Movq_xmm_xmmm64, Movdqu_xmmm128_xmm, Cvtdq2pd_xmm_xmmm64,
    ]),
    (P66 | WIDE | OUT0, &[Movq_xmm_rm64, Movq_rm64_xmm]),

    // SSE3.
    (PF3 | OUT0, &[Movsldup_xmm_xmmm128, Movshdup_xmm_xmmm128]),
    (PF2 | OUT0, &[
        Movddup_xmm_xmmm64, Haddps_xmm_xmmm128, Hsubps_xmm_xmmm128, Addsubps_xmm_xmmm128,
        Lddqu_xmm_m128,
    ]),
    (P66 | OUT0, &[Haddpd_xmm_xmmm128, Hsubpd_xmm_xmmm128, Addsubpd_xmm_xmmm128]),

    // SSSE3 without MMX operands.
    (P66 | OUT0, &[
        Pshufb_xmm_xmmm128, Phaddw_xmm_xmmm128, Phaddd_xmm_xmmm128, Phaddsw_xmm_xmmm128,
        Pmaddubsw_xmm_xmmm128, Phsubw_xmm_xmmm128, Phsubd_xmm_xmmm128, Phsubsw_xmm_xmmm128,
        Psignb_xmm_xmmm128, Psignw_xmm_xmmm128, Psignd_xmm_xmmm128, Pmulhrsw_xmm_xmmm128,
        Pabsb_xmm_xmmm128, Pabsw_xmm_xmmm128, Pabsd_xmm_xmmm128, Palignr_xmm_xmmm128_imm8,
    ]),

    // SSE4.1 without movntdqa.
    (P66 | OUT0, &[
        Pblendvb_xmm_xmmm128, Blendvps_xmm_xmmm128, Blendvpd_xmm_xmmm128,
        Pmovsxbw_xmm_xmmm64, Pmovsxbd_xmm_xmmm32, Pmovsxbq_xmm_xmmm16, Pmovsxwd_xmm_xmmm64,
        Pmovsxwq_xmm_xmmm32, Pmovsxdq_xmm_xmmm64, Pmuldq_xmm_xmmm128, Pcmpeqq_xmm_xmmm128,
        Packusdw_xmm_xmmm128, Pmovzxbw_xmm_xmmm64, Pmovzxbd_xmm_xmmm32, Pmovzxbq_xmm_xmmm16,
        Pmovzxwd_xmm_xmmm64, Pmovzxwq_xmm_xmmm32, Pmovzxdq_xmm_xmmm64, Pminsb_xmm_xmmm128,
        Pminsd_xmm_xmmm128, Pminuw_xmm_xmmm128, Pminud_xmm_xmmm128, Pmaxsb_xmm_xmmm128,
        Pmaxsd_xmm_xmmm128, Pmaxuw_xmm_xmmm128, Pmaxud_xmm_xmmm128, Pmulld_xmm_xmmm128,
        Phminposuw_xmm_xmmm128, Roundps_xmm_xmmm128_imm8, Roundpd_xmm_xmmm128_imm8,
        Roundss_xmm_xmmm32_imm8, Roundsd_xmm_xmmm64_imm8, Blendps_xmm_xmmm128_imm8,
        Blendpd_xmm_xmmm128_imm8, Pblendw_xmm_xmmm128_imm8, Pextrb_r32m8_xmm_imm8,
        Pextrw_r32m16_xmm_imm8, Pextrd_rm32_xmm_imm8, Extractps_rm32_xmm_imm8,
        Pinsrb_xmm_r32m8_imm8, Insertps_xmm_xmmm32_imm8, Pinsrd_xmm_rm32_imm8,
        Dpps_xmm_xmmm128_imm8, Dppd_xmm_xmmm128_imm8, Mpsadbw_xmm_xmmm128_imm8,
    ]),
    (P66, &[Ptest_xmm_xmmm128]),
    (P66 | WIDE | OUT0, &[Pextrq_rm64_xmm_imm8, Pinsrq_xmm_rm64_imm8]),

    // SSE4.2 strings and compares.
    (P66 | OUT0, &[Pcmpgtq_xmm_xmmm128]),
    (P66, &[
        Pcmpestrm_xmm_xmmm128_imm8, Pcmpestri_xmm_xmmm128_imm8, Pcmpistrm_xmm_xmmm128_imm8,
        Pcmpistri_xmm_xmmm128_imm8,
    ]),
];

#[cfg(test)]
mod tests {
    use super::*;
    use iced_x86::{
        EncodingKind, Instruction, InstructionInfoFactory, MandatoryPrefix, OpAccess,
        OpCodeOperandKind,
    };

    fn listed() -> impl Iterator<Item = (Code, Facts)> {
        Code::values()
            .map(|code| (code, facts(code)))
            .filter(|(_, facts)| facts & LISTED != 0)
    }

    #[test]
    fn table_covers_every_code_that_iced_knows() {
        assert_eq!(Code::values().len(), CODES);
    }

    #[test]
    fn prefixes_and_width_are_those_of_the_manuals() {
        for (code, facts) in listed() {
            let form = code.op_code();
            assert_eq!(form.encoding(), EncodingKind::Legacy, "{code:?}");
            let mandatory = match form.mandatory_prefix() {
                MandatoryPrefix::P66 => P66,
                MandatoryPrefix::PF3 => PF3,
                MandatoryPrefix::PF2 => PF2,
                MandatoryPrefix::None | MandatoryPrefix::PNP => 0,
            };
            let size = if form.operand_size() == 16 { P66 } else { 0 };
            assert_eq!(facts & PREFIXES, mandatory | size, "{code:?}");
            // Near branches and returns have 64 bits without being told.
            let implied = facts & BRANCH != 0 || code == Retnq;
            assert_eq!(
                facts & WIDE != 0,
                form.operand_size() == 64 && !implied,
                "{code:?}"
            );
        }
    }

    #[test]
    fn written_operands_are_those_of_iced() {
        let mut factory = InstructionInfoFactory::new();
        for (code, facts) in listed() {
            let mut instruction = Instruction::default();
            instruction.set_code(code);
            if facts & LEA != 0 {
                // iced looks at its destination before it tells anything.
                instruction.set_op0_register(iced_x86::Register::RAX);
            }
            let info = factory.info(&instruction);
            for (operand, out) in [(0, OUT0), (1, OUT1), (2, 0), (3, 0), (4, 0)] {
                let access = info.op_access(operand);
                let read = matches!(
                    access,
                    OpAccess::None | OpAccess::Read | OpAccess::CondRead | OpAccess::NoMemAccess
                );
                assert_eq!(
                    facts & out != 0,
                    !read,
                    "operand {operand} of {code:?} is {access:?}"
                );
            }
        }
    }

    #[test]
    fn only_registers_immediates_branches_and_plain_memory_are_operands() {
        use OpCodeOperandKind as K;
        for (code, facts) in listed() {
            for kind in code.op_code().op_kinds() {
                let register = format!("{kind:?}");
                assert!(
                    !register.contains("mm_") || register.contains("xmm_"),
                    "{code:?} has an MMX operand"
                );
                assert!(
                    !matches!(
                        kind,
                        K::mem_offs
                            | K::mem_vsib32x
                            | K::seg_reg
                            | K::cr_reg
                            | K::dr_reg
                            | K::tr_reg
                            | K::seg_rSI
                            | K::es_rDI
                            | K::seg_rDI
                            | K::seg_rBX_al
                    ),
                    "{code:?} has a {kind:?} operand"
                );
                assert_eq!(
                    facts & BRANCH != 0,
                    matches!(kind, K::br64_1 | K::br64_4),
                    "{code:?}"
                );
            }
        }
    }

    /// No listed instruction ignores a field of its ModRM but the set-on-condition ones.
    #[test]
    fn ignored_reg_field_is_marked() {
        for (code, facts) in listed() {
            let form = code.op_code();
            let set = form.group_index() < 0
                && form.op_count() == 1
                && form
                    .op_kinds()
                    .iter()
                    .any(|k| matches!(k, OpCodeOperandKind::r8_or_mem));
            assert_eq!(facts & REG0 != 0, set, "{code:?}");
        }
    }
}
