# Where control may go.

# case operand_size_prefix_on_branches
# Intel ignores it, AMD truncates rip to 16 bits.
# each refused prefix
        .byte 0x66, 0xE9, 0x00, 0x00, 0x00, 0x00
        .byte 0x66, 0xE8, 0x00, 0x00, 0x00, 0x00
        .byte 0x66, 0x0F, 0x84, 0x00, 0x00, 0x00, 0x00
        .byte 0x66, 0x74, 0x00
        .byte 0x66, 0xEB, 0x00
# refused prefix at 0
        .byte 0x66, 0xC3
# refused indirect at 0
        .byte 0x66, 0xFF, 0xE0
# refused indirect at 0
        .byte 0x66, 0xFF, 0xD0
# each accepted
        .byte 0xE9, 0x00, 0x00, 0x00, 0x00
        .byte 0xE8, 0x00, 0x00, 0x00, 0x00
        .byte 0x0F, 0x84, 0x00, 0x00, 0x00, 0x00
        .byte 0x74, 0x00
        .byte 0xEB, 0x00
        ret

# case bound_and_hint_prefixes_on_branches
# each refused prefix
        .byte 0xF2, 0xE9, 0x00, 0x00, 0x00, 0x00
        .byte 0xF2, 0xE8, 0x00, 0x00, 0x00, 0x00
        .byte 0xF2, 0x74, 0x00
        .byte 0x2E, 0x74, 0x00
        .byte 0x3E, 0x74, 0x00
        .byte 0x3E, 0xEB, 0x00
# refused indirect at 0
        notrack jmp *%rax
# refused indirect at 0
        .byte 0xF2, 0xFF, 0xE0
# refused indirect at 0
        .byte 0x48, 0xFF, 0xE0
# accepted
        je 1f
1:      nop

# case jump_into_an_instruction
# refused branch-target at 0
        jmp 1f+1
1:      movl $0x90909090, %eax
# refused branch-target at 5
1:      movl $0x90909090, %eax
        jmp 1b+4
# accepted
        jmp 1f
1:      movl $0x90909090, %eax

# case call_into_an_instruction
# refused branch-target at 0
        call 1f+1
1:      movl $0x90909090, %eax
# accepted
        call 1f
1:      movl $0x90909090, %eax

# case conditional_jump_into_an_instruction
# refused branch-target at 0
        jne 1f+1
1:      movl $0x90909090, %eax
# accepted
        jne 1f
1:      movl $0x90909090, %eax

# case jump_into_indirect_macro
# refused branch-target at 8
1:      andl $-32, %eax
        addq %r14, %rax
        jmp *%rax
        jmp 1b+3
# refused branch-target at 8
1:      andl $-32, %eax
        addq %r14, %rax
        jmp *%rax
        jmp 1b+6
# refused branch-target at 0
        jmp 1f+6
1:      andl $-32, %eax
        addq %r14, %rax
        call *%rax
# accepted
1:      andl $-32, %eax
        addq %r14, %rax
        jmp *%rax
        jmp 1b

# case jump_into_string_macro
# refused branch-target at 0
        jmp 1f+6
1:      movl %edi, %edi
        leaq (%r14,%rdi), %rdi
        rep stosb
# refused branch-target at 0
        jmp 1f+2
1:      movl %edi, %edi
        leaq (%r14,%rdi), %rdi
        movl %esi, %esi
        leaq (%r14,%rsi), %rsi
        rep movsb
# refused branch-target at 0
        jmp 1f+12
1:      movl %edi, %edi
        leaq (%r14,%rdi), %rdi
        movl %esi, %esi
        leaq (%r14,%rsi), %rsi
        rep movsb
# accepted
        jmp 1f
1:      movl %edi, %edi
        leaq (%r14,%rdi), %rdi
        rep stosb

# case jump_into_trap
# refused branch-target at 0
        jmp 1f+1
1:      call *0xF000(%r14)
# accepted
        jmp 1f
1:      call *0xF000(%r14)

# case jump_out_of_the_text
# refused branch-target at 0
1:      jmp 1b-1
# refused branch-target at 0
1:      jmp 1b+32
# refused branch-target at 0
1:      jmp 1b+0x1000
# refused branch-target at 0
1:      jne 1b-0x20000
# refused branch-target at 0
1:      call 1b-0x11000
# accepted
1:      jmp 1b

# case jump_that_wraps
# Below address zero; rel32 at its ends.
# refused branch-target at 0
        .byte 0xE9, 0x00, 0x00, 0x00, 0x80
# refused branch-target at 0
        .byte 0xE9, 0xFF, 0xFF, 0xFF, 0x7F
# refused branch-target at 0
1:      jmp 1b-0x20001
# accepted
        .byte 0xE9, 0x00, 0x00, 0x00, 0x00

# case jump_into_call_table
# refused branch-target at 0
1:      jmp 1b-0x11000
# accepted
        call *0xF000(%r14)

# case overlapping_instructions
# The jump reads the immediate as code; a verifier that follows it would see a syscall.
# refused branch-target at 0
        jmp 1f+1
1:      movl $0x050F, %eax
# accepted
        jmp 1f
1:      movl $0x050F, %eax

# case instruction_crosses_a_bundle
# refused bundle at 1e
        .fill 30, 1, 0x90
        movl $1, %eax
# refused bundle at 1f
        .fill 31, 1, 0x90
        xorl %eax, %eax
# accepted
        .fill 27, 1, 0x90
        movl $1, %eax

# case nop_crosses_a_bundle
# refused bundle at 1e
        .fill 30, 1, 0x90
        nopl (%rax)
# accepted
        .fill 29, 1, 0x90
        nopl (%rax)

# case indirect_macro_crosses_a_bundle
# refused indirect at 20
        .fill 26, 1, 0x90
        andl $-32, %eax
        addq %r14, %rax
        jmp *%rax
# refused bundle at 1f
        .fill 27, 1, 0x90
        xchgl %eax, %ecx
        andl $-32, %eax
        addq %r14, %rax
        jmp *%rax
# accepted
        .fill 24, 1, 0x90
        andl $-32, %eax
        addq %r14, %rax
        jmp *%rax

# case string_macro_crosses_a_bundle
# refused string at 20
        .fill 26, 1, 0x90
        movl %edi, %edi
        leaq (%r14,%rdi), %rdi
        stosb
# accepted
        .fill 25, 1, 0x90
        movl %edi, %edi
        leaq (%r14,%rdi), %rdi
        stosb

# case trap_crosses_a_bundle
# refused trap at 1c
        .fill 28, 1, 0x90
        call *0xF000(%r14)
        nop
# accepted
        .fill 25, 1, 0x90
        call *0xF000(%r14)
        nop

# case indirect_without_mask
# refused indirect at 0
        jmp *%rax
# refused indirect at 0
        call *%rax
# refused indirect at 3
        addq %r14, %rax
        jmp *%rax
# accepted
        andl $-32, %eax
        addq %r14, %rax
        jmp *%rax

# case indirect_without_base
# refused indirect at 3
        andl $-32, %eax
        jmp *%rax
# accepted
        andl $-32, %eax
        addq %r14, %rax
        call *%rax

# case indirect_with_another_mask
# refused indirect at 6
        andl $-16, %eax
        addq %r14, %rax
        jmp *%rax
# refused indirect at 6
        andl $0, %eax
        addq %r14, %rax
        jmp *%rax
# refused indirect at 6
        andl $-64, %eax
        addq %r14, %rax
        jmp *%rax
# refused indirect at 6
        andl $0x60, %eax
        addq %r14, %rax
        jmp *%rax
# refused indirect at 9
        .byte 0x81, 0xE0, 0xE0, 0xFF, 0xFF, 0xFF
        addq %r14, %rax
        jmp *%rax
# refused indirect at 8
        .byte 0x25, 0xE0, 0xFF, 0xFF, 0xFF
        addq %r14, %rax
        jmp *%rax
# accepted
        andl $-32, %eax
        addq %r14, %rax
        jmp *%rax

# case indirect_mask_of_another_width
# andq keeps the upper half, andw and andb keep more.
# refused indirect at 7
        andq $-32, %rax
        addq %r14, %rax
        jmp *%rax
# refused indirect at 7
        andw $-32, %ax
        addq %r14, %rax
        jmp *%rax
# refused indirect at 6
        .byte 0x80, 0xE0, 0xE0
        addq %r14, %rax
        jmp *%rax
# accepted
        andl $-32, %eax
        addq %r14, %rax
        jmp *%rax

# case indirect_with_another_add
# refused indirect at 6
        andl $-32, %eax
        addq %r13, %rax
        jmp *%rax
# refused indirect at 6
        andl $-32, %eax
        addl %r14d, %eax
        jmp *%rax
# refused indirect at 6
        andl $-32, %eax
        orq %r14, %rax
        jmp *%rax
# refused indirect at 6
        andl $-32, %eax
        .byte 0x49, 0x03, 0xC6
        jmp *%rax
# refused indirect at 7
        andl $-32, %eax
        leaq (%r14,%rax), %rax
        jmp *%rax
# accepted
        andl $-32, %eax
        addq %r14, %rax
        jmp *%rax

# case indirect_with_different_registers
# refused indirect at 6
        andl $-32, %ecx
        addq %r14, %rax
        jmp *%rax
# refused indirect at 6
        andl $-32, %eax
        addq %r14, %rcx
        jmp *%rax
# refused indirect at 6
        andl $-32, %eax
        addq %r14, %rax
        jmp *%rcx
# refused indirect at 7
        andl $-32, %r8d
        addq %r14, %r8
        jmp *%rax
# refused indirect at 6
        andl $-32, %eax
        addq %r14, %rax
        jmp *%r8
# accepted
        andl $-32, %r8d
        addq %r14, %r8
        jmp *%r8

# case indirect_through_reserved_registers
# refused return-stack at 0
        andl $-32, %esp
        addq %r14, %rsp
        jmp *%rsp
# refused base-register at 0
        andl $-32, %r14d
        addq %r14, %r14
        jmp *%r14
# each accepted
        andl $-32, %r12d; addq %r14, %r12; jmp *%r12
        andl $-32, %r11d; addq %r14, %r11; call *%r11
        andl $-32, %r15d; addq %r14, %r15; call *%r15
        andl $-32, %ebp; addq %r14, %rbp; call *%rbp

# case indirect_with_something_between
# refused indirect at 7
        andl $-32, %eax
        addq %r14, %rax
        nop
        jmp *%rax
# refused indirect at 8
        andl $-32, %eax
        movl %ecx, %eax
        addq %r14, %rax
        jmp *%rax
# accepted
        nop
        andl $-32, %eax
        addq %r14, %rax
        jmp *%rax

# case indirect_with_prefixes
# refused indirect at 6
        andl $-32, %eax
        addq %r14, %rax
        .byte 0x40, 0xFF, 0xE0
# refused encoding at 0
        .byte 0x40, 0x83, 0xE0, 0xE0
        addq %r14, %rax
        jmp *%rax
# refused indirect at 6
        andl $-32, %eax
        addq %r14, %rax
        notrack jmp *%rax
# accepted
        andl $-32, %eax
        addq %r14, %rax
        jmp *%rax

# case indirect_of_other_widths
# refused indirect at 0
        .byte 0x67, 0x66, 0xFF, 0x28, 0x06
# refused indirect at 0
        .byte 0x66, 0xFF, 0xE0
# accepted
        andl $-32, %eax
        addq %r14, %rax
        jmp *%rax

# case indirect_through_memory
# each refused indirect
        jmp *%gs:(%eax)
        call *%gs:(%eax)
        jmp *0x1000(%rip)
        call *0x1000(%rip)
        jmp *%gs:0x20000
        call *(%rax)
# each accepted
        movl %gs:(%eax), %r11d; andl $-32, %r11d; addq %r14, %r11; jmp *%r11
        movl 0x1000(%rip), %r11d; andl $-32, %r11d; addq %r14, %r11; call *%r11

# case far_transfers
# each refused indirect
        ljmpl *%gs:(%eax)
        lcalll *%gs:(%eax)
        rex.w ljmp *(%rax)
# each refused return-stack
        lretl
        lretq
        lretq $8
        sysretl
        sysretq
        sysexitl
        iretl
        iretq
# accepted
        ret

# case return_with_immediate
# refused return-stack at 0
        ret $8
# refused return-stack at 0
        ret $0
# accepted
        ret

# case return_with_prefix
# each refused prefix
        rep ret
        .byte 0x2E, 0xC3
        .byte 0x65, 0xC3
        .byte 0x66, 0xC3
# accepted
        ret

# case push_then_return
# refused return-stack at 0
        pushq %rax
        ret
# accepted
        call 1f
1:      ret

# case hidden_branches
# each refused allow-list
        1: loop 1b
        1: loope 1b
        1: loopne 1b
        1: jrcxz 1b
        1: jecxz 1b
        1: xbegin 1b
        xend
        xabort $1
# accepted
1:      decl %ecx
        jne 1b

# case call_is_last
# refused last-call at 1b
1:      .fill 27, 1, 0x90
        call 1b
# accepted
1:      .fill 26, 1, 0x90
        call 1b
        hlt

# case indirect_call_is_last
# refused last-call at 18
        .fill 24, 1, 0x90
        andl $-32, %eax
        addq %r14, %rax
        call *%rax
# accepted
        .fill 24, 1, 0x90
        andl $-32, %eax
        addq %r14, %rax
        jmp *%rax

# case trap_is_last
# refused last-call at 19
        .fill 25, 1, 0x90
        call *0xF000(%r14)
# accepted
        .fill 24, 1, 0x90
        call *0xF000(%r14)
        hlt

# case trap_beyond_the_usable_entries
# refused trap at 0
        call *0xF008(%r14)
# refused trap at 0
        call *0xFFF8(%r14)
# accepted
        call *0xF000(%r14)

# case trap_between_entries
# refused trap at 0
        call *0xF001(%r14)
# refused trap at 0
        call *0xF004(%r14)
# accepted
        call *0xF000(%r14)

# case trap_outside_the_table
# refused trap at 0
        call *0xEFF8(%r14)
# refused trap at 0
        call *0x10000(%r14)
# refused trap at 0
        call *-8(%r14)
# refused trap at 0
        call *(%r14)
# refused trap at 0
        call *-0x1000(%r14)
# accepted
        call *0xF000(%r14)

# case trap_in_other_forms
# refused trap at 0
        jmp *0xF000(%r14)
# refused indirect at 0
        call *0xF000(%r14d)
# refused indirect at 0
        call *0xF000(%r14,%rax)
# refused indirect at 0
        call *%gs:0xF000
# refused indirect at 0
        call *0xF000(%r13)
# refused trap at 0
        .byte 0x66, 0x41, 0xFF, 0x96, 0x00, 0xF0, 0x00, 0x00
# refused trap at 0
        .byte 0x65, 0x41, 0xFF, 0x96, 0x00, 0xF0, 0x00, 0x00
# refused trap at 0
        .byte 0x41, 0xFF, 0x94, 0x26, 0x00, 0xF0, 0x00, 0x00
# refused trap at 0
        .byte 0x49, 0xFF, 0x96, 0x00, 0xF0, 0x00, 0x00
# accepted
        call *0xF000(%r14)

# case far_call_through_the_table
# refused trap at 0
        .byte 0x41, 0xFF, 0x9E, 0x00, 0xF0, 0x00, 0x00
# accepted
        call *0xF000(%r14)

# case data_in_the_text
# Whatever stands in the text must read as code, or it is refused.
# refused decode at 1
        ret
        .byte 0x06, 0x07, 0x16
# accepted
        ret
        .byte 0x41, 0x01, 0xC3
