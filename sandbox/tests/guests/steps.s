# Passes through every kind of border and every macro with all registers in use, and checks after each
# that nothing has changed but what should. Ends with status 42; with any argument, by a fault instead.
        .include "trap.inc"
        .macro all_as_they_were
        cmpq %gs:values, %rbp
        jne wrong
        cmpq %gs:values+8, %r12
        jne wrong
        cmpq %gs:values+16, %r13
        jne wrong
        cmpq %gs:values+24, %r15
        jne wrong
        movq %xmm0, %rdx
        cmpq %rdx, %rbp
        jne wrong
        movq %xmm7, %rdx
        cmpq %rdx, %r12
        jne wrong
        movq %xmm15, %rdx
        cmpq %rdx, %r15
        jne wrong
        .endm
        .text
        .globl _start
        .p2align 5
_start:
        movl %gs:(%ebx), %eax
        movl %eax, %gs:arguments
        movq %gs:values, %rbp
        movq %gs:values+8, %r12
        movq %gs:values+16, %r13
        movq %gs:values+24, %r15
        movq %rbp, %xmm0
        movq %r12, %xmm7
        movq %r15, %xmm15
        # A call of the host.
        movl $39, %eax
        trap
        cmpl $1, %eax
        jne wrong
        testq %rcx, %rcx
        jne wrong
        testq %r11, %r11
        jne wrong
        all_as_they_were
        # A call of the host that faults on guest memory, and one that copies.
        movl $1, %eax
        movl $1, %edi
        movl $8, %esi
        movl $5, %edx
        trap
        cmpl $-14, %eax
        jne wrong
        movl $1, %eax
        movl $text, %esi
        movl $5, %edx
        trap
        cmpl $5, %eax
        jne wrong
        # The indirect call, the string macros in it, the indirect jump.
        movl $strings, %ecx
        jmp 1f
        .p2align 5
1:      andl $-32, %ecx
        addq %r14, %rcx
        call *%rcx
        all_as_they_were
        cmpl $0x61616161, %gs:target
        jne wrong
        cmpl $0x61616161, %gs:target+8
        jne wrong
        movl $last, %r8d
        jmp 1f
        .p2align 5
1:      andl $-32, %r8d
        addq %r14, %r8
        jmp *%r8
        .p2align 5
strings:
        movl $target, %edi
        movl $4, %ecx
        movl $0x61, %eax
        jmp 1f
        .p2align 5
1:      movl %edi, %edi
        leaq (%r14,%rdi), %rdi
        rep stosb
        movl $target, %esi
        movl $target+8, %edi
        movl $4, %ecx
        jmp 1f
        .p2align 5
1:      movl %edi, %edi
        leaq (%r14,%rdi), %rdi
        movl %esi, %esi
        leaq (%r14,%rsi), %rsi
        rep movsb
        ret
        .p2align 5
last:   cmpl $1, %gs:arguments
        jne fault
        movl $231, %eax
        movl $42, %edi
        trap
        hlt
fault:  movl %gs:8, %eax
        hlt
        .p2align 5
wrong:  movl $231, %eax
        movl $1, %edi
        trap
        hlt
        .section .rodata
text:   .ascii "steps"
        .data
        .p2align 3
values: .quad 0x1111222233334444, 0x5555666677778888, 0x9999AAAABBBBCCCC, 0xDDDDEEEEFFFF0000
target: .skip 16
arguments: .skip 8
