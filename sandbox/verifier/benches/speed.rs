//! How fast one core verifies: the target is 100 MB/s of CPU time.
//!
//! The text is a mix of instructions in the proportions of compiled C, packed into bundles as the
//! toolchain packs them. `VERIFIER_BENCH_PROGRAM=file` measures a real guest program instead.

use criterion::measurement::{Measurement, ValueFormatter};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use rustix::time::{ClockId, clock_gettime};
use verifier::{Policy, Program, verify};

const BASE: u32 = 0x2_0000;

/// Instructions and macros, each with its share of a hundred.
const MIX: &[(u32, &[u8])] = &[
    (9, &[0x65, 0x67, 0x8B, 0x43, 0x18]), // movl %gs:24(%ebx), %eax
    (7, &[0x65, 0x67, 0x48, 0x8B, 0x45, 0x10]), // movq %gs:16(%ebp), %rax
    (6, &[0x65, 0x67, 0x48, 0x89, 0x83, 0x80, 0, 0, 0]), // movq %rax, %gs:128(%ebx)
    (5, &[0x65, 0x67, 0x4A, 0x8B, 0x04, 0xE7]), // movq %gs:(%edi,%r12d,8), %rax
    (6, &[0x89, 0xC7]),                   // movl %eax, %edi
    (6, &[0x48, 0x89, 0xEE]),             // movq %rbp, %rsi
    (4, &[0x4C, 0x89, 0xFA]),             // movq %r15, %rdx
    (5, &[0x83, 0xC0, 0x01]),             // addl $1, %eax
    (4, &[0x48, 0x8D, 0x7B, 0x20]),       // leaq 32(%rbx), %rdi
    (4, &[0x85, 0xC0]),                   // testl %eax, %eax
    (5, &[0x48, 0x39, 0xD0]),             // cmpq %rdx, %rax
    (5, &[0x74, 0x00]),                   // je to the next
    (3, &[0x0F, 0x85, 0, 0, 0, 0]),       // jne to the next
    (5, &[0xE8, 0, 0, 0, 0]),             // call the next
    (3, &[0xEB, 0x00]),                   // jmp to the next
    (3, &[0x31, 0xC0]),                   // xorl %eax, %eax
    (3, &[0xB8, 0x10, 0x20, 0x03, 0x00]), // movl $imm, %eax
    (2, &[0x0F, 0xB6, 0xC9]),             // movzbl %cl, %ecx
    (2, &[0xC1, 0xE2, 0x04]),             // shll $4, %edx
    (2, &[0xF2, 0x0F, 0x58, 0xC1]),       // addsd %xmm1, %xmm0
    (2, &[0x65, 0x67, 0x0F, 0x10, 0x43, 0x40]), // movups %gs:64(%ebx), %xmm0
    (2, &[0x48, 0x8B, 0x05, 0x00, 0x10, 0x00, 0x00]), // movq 4096(%rip), %rax
    (2, &[0xC3]),                         // ret
    (1, &[0x83, 0xE0, 0xE0, 0x4C, 0x01, 0xF0, 0xFF, 0xD0]), // masked indirect call
    (4, &[0x0F, 0x1F, 0x44, 0x00, 0x00]), // nop
];

/// A text of `bundles` bundles drawn from the mix by a fixed generator.
fn mixed_text(bundles: usize) -> Vec<u8> {
    let mut draws = std::iter::successors(Some(1_u32), |x| {
        Some(x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223))
    });
    let mut text = Vec::with_capacity(bundles * 32);
    while text.len() < bundles * 32 {
        let mut draw = draws.next().expect("endless") >> 8;
        draw %= 100;
        let share = MIX.iter().find(|(share, _)| {
            let here = draw < *share;
            draw = draw.wrapping_sub(*share);
            here
        });
        let (_, bytes) = share.expect("the shares add up to a hundred");
        let room = 32 - text.len() % 32;
        if bytes.len() > room {
            text.extend(NOPS[room]);
        }
        text.extend(*bytes);
    }
    // A call must not be the last instruction, nor a branch go to the end.
    text.truncate(bundles * 32 - 32);
    text.extend([0xCC; 32]);
    text
}

/// One or two no-operations for each gap that a bundle can have.
static NOPS: [&[u8]; 33] = {
    let mut nops: [&[u8]; 33] = [&[0x90]; 33];
    nops[2] = &[0x66, 0x90];
    nops[3] = &[0x0F, 0x1F, 0x00];
    nops[4] = &[0x0F, 0x1F, 0x40, 0];
    nops[5] = &[0x0F, 0x1F, 0x44, 0, 0];
    nops[6] = &[0x66, 0x0F, 0x1F, 0x44, 0, 0];
    nops[7] = &[0x0F, 0x1F, 0x80, 0, 0, 0, 0];
    nops[8] = &[0x0F, 0x1F, 0x84, 0, 0, 0, 0, 0];
    nops[9] = &[0x66, 0x0F, 0x1F, 0x84, 0, 0, 0, 0, 0];
    nops
};

/// CPU time of this thread, which other work on the machine disturbs less than wall time.
struct CpuTime(criterion::measurement::WallTime);

impl CpuTime {
    fn now() -> f64 {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
    }
}

impl Measurement for CpuTime {
    type Intermediate = f64;
    type Value = f64;

    fn start(&self) -> f64 {
        CpuTime::now()
    }
    fn end(&self, start: f64) -> f64 {
        CpuTime::now() - start
    }
    fn add(&self, a: &f64, b: &f64) -> f64 {
        a + b
    }
    fn zero(&self) -> f64 {
        0.0
    }
    fn to_f64(&self, value: &f64) -> f64 {
        *value
    }
    fn formatter(&self) -> &dyn ValueFormatter {
        self.0.formatter()
    }
}

fn speed(c: &mut Criterion<CpuTime>) {
    let file = std::env::var_os("VERIFIER_BENCH_PROGRAM")
        .map(|path| std::fs::read(path).expect("the program can be read"));
    let (text, base) = match &file {
        Some(file) => {
            let program = Program::parse(file).expect("a guest program");
            (program.text().bytes.to_vec(), program.text().address)
        }
        None => (mixed_text(1 << 17), BASE),
    };
    let mut group = c.benchmark_group("verify");
    group.throughput(Throughput::Bytes(text.len() as u64));
    group.sample_size(20);
    group.bench_function("text", |b| {
        b.iter(|| verify(&text, base, &Policy::DEFAULT, &[base]).expect("accepted"));
    });
    // The floor: what iced takes for the same text.
    group.bench_function("decode", |b| {
        b.iter(|| {
            let mut decoder = iced_x86::Decoder::with_ip(64, &text, 0, 0);
            let mut instruction = iced_x86::Instruction::default();
            let mut n = 0;
            while decoder.can_decode() {
                decoder.decode_out(&mut instruction);
                n += u64::from(instruction.is_invalid());
            }
            n
        });
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().with_measurement(CpuTime(criterion::measurement::WallTime));
    targets = speed
}
criterion_main!(benches);
