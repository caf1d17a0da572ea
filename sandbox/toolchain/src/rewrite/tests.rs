use super::*;

/// The output without its head, tabs and the directives in `skip`.
fn out(text: &str) -> Vec<String> {
    let text = rewrite(text).unwrap_or_else(|error| panic!("{error}"));
    let lines = text.lines().skip(2).map(|line| line.trim().to_owned());
    lines
        .filter(|line| !line.starts_with(".type") && !line.starts_with(".globl") && line != ".text")
        .collect()
}

fn refusal(body: &str) -> Reason {
    rewrite(&function(body))
        .expect_err("must be refused")
        .reason
}

/// A global function around some statements separated by `;`.
fn function(body: &str) -> String {
    format!(
        "\t.text\n\t.globl f\n\t.type f, @function\nf:\n{}\n",
        body.replace(';', "\n")
    )
}

#[test]
fn a_frame_is_folded_into_one_move_of_the_data_stack_pointer() {
    let text =
        function("pushq %rbp;subq $16,%rsp;movl 8(%rsp),%eax;call g;addq $16,%rsp;popq %rbp;ret");
    assert_eq!(
        out(&text),
        [
            ".p2align 5",
            "f:",
            "movq %rbp,%gs:-16(%ebx)",
            "movl %gs:-24(%ebx),%eax",
            "leal -32(%rbx),%ebx",
            "call g",
            "movq %gs:16(%ebx),%rbp",
            "leal 32(%rbx),%ebx",
            "ret"
        ]
    );
}

#[test]
fn a_function_without_calls_never_moves_the_data_stack_pointer() {
    let text = function("pushq %r12;testl %eax,%eax;je .L2;movl %eax,-4(%rsp);.L2:;popq %r12;ret");
    assert!(
        !out(&text)
            .iter()
            .any(|line| line.contains("%ebx") && line.starts_with("lea"))
    );
}

#[test]
fn a_stack_of_unknown_depth_follows_the_program() {
    let text = function("pushq %rbp;movq %rsp,%rbp;subq %rax,%rsp;movq %rsp,%rdi;call g;leave;ret");
    assert_eq!(
        out(&text)[2..],
        [
            "movq %rbp,%gs:-16(%ebx)",
            "leal -16(%rbx),%ebp",
            "leal -16(%rbx),%ebx",
            "subl %eax,%ebx",
            "movl %ebx,%edi",
            "call g",
            "leal 16(%rbp),%ebx",
            "movq %gs:-16(%ebx),%rbp",
            "ret"
        ]
    );
}

#[test]
fn indirect_branches_are_masked_in_one_bundle() {
    let text = function("call *8(%rax);jmp *%rdx");
    assert_eq!(
        out(&text)[3..],
        [
            "movl %gs:8(%eax),%r11d",
            ".bundle_lock",
            "andl $-32,%r11d",
            "addq %r14,%r11",
            "call *%r11",
            ".bundle_unlock",
            "leal 8(%rbx),%ebx",
            "movl %edx,%r11d",
            ".bundle_lock",
            "andl $-32,%r11d",
            "addq %r14,%r11",
            "jmp *%r11",
            ".bundle_unlock"
        ]
    );
}

#[test]
fn targets_of_jump_tables_start_a_bundle() {
    let text = function("jmp *.L4(,%rdi,8);.section .rodata;.L4: .quad .L3;.text;.L3: ret");
    let lines = out(&text);
    let label = lines
        .iter()
        .position(|line| line == ".L3:")
        .expect("the label is kept");
    assert_eq!(lines[label - 1], ".p2align 5");
}

#[test]
fn flags_across_a_table_jump_are_an_error() {
    let body = "cmpl $7,%eax;jmp *.L4(,%rdi,8);.section .rodata;.L4: .quad .L3;.text;.L3: jnb .L9;.L9: ret";
    assert_eq!(refusal(body), Reason::FlagsLive(".L3".into()));
    // The nearest text that is fine: the flags are defined again first.
    out(&function(
        &body.replace(".L3: jnb", ".L3: cmpl $1,%eax;jnb"),
    ));
}

#[test]
fn flags_across_a_control_word_are_an_error() {
    let body = "cmpl $7,%eax;fldcw (%rdi);je .L9;.L9: ret";
    assert!(matches!(refusal(body), Reason::Refused(_)));
    // The nearest text that is fine: the flags are defined behind it.
    out(&function("fldcw (%rdi);cmpl $7,%eax;je .L9;.L9: ret"));
}

#[test]
fn what_cannot_be_followed_is_an_error_with_its_line() {
    assert!(matches!(refusal("pushq %rax;ret"), Reason::StackDepth(_)));
    assert!(matches!(
        refusal("subq $8,%rsp;jmp g"),
        Reason::StackDepth(_)
    ));
    assert_eq!(refusal("movq (%rsp),%rax;ret"), Reason::ReturnAddress);
    assert_eq!(
        refusal("pushq %rbp;movq %rsp,%rbp;movq 8(%rbp),%rax;leave;ret"),
        Reason::ReturnAddress
    );
    assert!(matches!(
        refusal("movq 16(%rdi),%rsp;jmp *%rdx"),
        Reason::Refused(_)
    ));
    for body in [
        "movq %rax,%r14;ret",
        "popq %rbx;ret",
        "incl %r11d;ret",
        "xchg %rbx,%rax;ret",
    ] {
        assert_eq!(refusal(body), Reason::ReservedRegister, "{body}");
    }
    for body in [
        "cpuid;ret",
        "std;ret",
        "vzeroupper;ret",
        "ldmxcsr (%rax);ret",
        "btl %eax,(%rdx);ret",
    ] {
        assert!(matches!(refusal(body), Reason::Refused(_)), "{body}");
    }
    let text = function(".file 1 \"x.c\";.loc 1 7 3;cpuid;ret");
    assert_eq!(
        rewrite(&text).expect_err("refused").source,
        Some(("x.c".into(), 7))
    );
    assert_eq!(
        rewrite(&function("# 9 \"y.c\" 1;cpuid;ret"))
            .expect_err("refused")
            .source,
        Some(("y.c".into(), 9))
    );
}

#[test]
fn special_instructions_have_their_replacements() {
    for (body, lines) in [
        ("syscall", &["call *0xF000(%r14)"][..]),
        ("movq %fs:0,%rax", &["movl $0x1F000,%eax"]),
        ("movq x@gottpoff(%rip),%rax", &["movq $x@tpoff,%rax"]),
        ("movq x@GOTPCREL(%rip),%r9", &["movl $x,%r9d"]),
        ("lock orq $0,(%rsp)", &[]),
        ("lock xaddl %eax,(%rdx)", &["xaddl %eax,%gs:(%edx)"]),
        (
            "xchgl %eax,(%rdx)",
            &[
                "mov %gs:(%edx),%r11d",
                "mov %eax,%gs:(%edx)",
                "mov %r11d,%eax",
            ],
        ),
        ("movntdq %xmm0,(%rdi)", &["movdqa %xmm0,%gs:(%edi)"]),
        ("endbr64", &[]),
        // case reported-cc-fldcw-gnulib
        (
            "fldcw (%rdi)",
            &[
                "cmpw $0x37F,%gs:(%edi)",
                "je .Lsandbox1",
                "ud2",
                ".Lsandbox1:",
            ],
        ),
        ("leaq x(%rip),%rdi", &["leal x(%rip),%edi"]),
        (
            "movsw",
            &[
                "movw %gs:(%esi),%r11w",
                "leal 2(%rsi),%esi",
                "movw %r11w,%gs:(%edi)",
                "leal 2(%rdi),%edi",
            ],
        ),
        ("stosw", &["movw %ax,%gs:(%edi)", "leal 2(%rdi),%edi"]),
        (
            "rep stosq",
            &[
                ".bundle_lock",
                "movl %edi,%edi",
                "leaq (%r14,%rdi),%rdi",
                "rep stosq",
                ".bundle_unlock",
                "movl %edi,%edi",
            ],
        ),
    ] {
        let result = out(&function(&format!("{body};ret")));
        assert_eq!(result[2..result.len() - 1], *lines, "{body}");
    }
}

#[test]
fn nothing_runs_on_behind_an_instruction_that_stops() {
    // The depth is not zero where the text of `g` begins, but control does not get there.
    let text = function("subq $24,%rsp;ud2;.globl g;.type g,@function;g: ret");
    assert!(out(&text).contains(&"ret".to_owned()));
}

#[test]
fn sandboxed_text_is_left_alone() {
    let once = rewrite(&function("ret")).expect("can be rewritten");
    assert_eq!(rewrite(&once).expect("is kept"), once);
}
