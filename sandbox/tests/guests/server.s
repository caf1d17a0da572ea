# Waits for a request, then answers with what it got and with what it finds in its memory.
#
# Before `accept` it fills `warm` with 1. After it: writes the bytes of the request, then all of `marks`
# and all registers and vectors as they are after `accept`, and then fills everything it can reach.
        .include "trap.inc"
        .text
        .globl _start
        .p2align 5
_start:
        movl $warm, %edi
        movl $8192, %ecx
        movl $1, %eax
        jmp 1f
        .p2align 5
1:      movl %edi, %edi
        leaq (%r14,%rdi), %rdi
        rep stosb
        # A file that every clone has open, at offset 4.
        movl $2, %eax
        movl $path, %edi
        movl $0102, %esi
        movl $0600, %edx
        trap
        movl %eax, %edi
        movl $1, %eax
        movl $path, %esi
        movl $4, %edx
        trap
        movl $0x1234, %ebp
        call serve
        hlt
        .p2align 5
serve:  movl $0x7A00, %eax
        movl $request, %edi
        movl $4096, %esi
        trap
        # Registers first, before anything changes them.
        movq %rax, %gs:dump
        movq %rbp, %gs:dump+8
        movq %rcx, %gs:dump+16
        movq %rdx, %gs:dump+24
        movq %r8, %gs:dump+32
        movq %r9, %gs:dump+40
        movq %r10, %gs:dump+48
        movq %r11, %gs:dump+56
        movq %r12, %gs:dump+64
        movq %r13, %gs:dump+72
        movq %r15, %gs:dump+80
        stmxcsr %gs:dump+88
        movups %xmm0, %gs:dump+96
        movups %xmm7, %gs:dump+112
        movups %xmm15, %gs:dump+128
        # Request, dump, marks.
        movl %eax, %edx
        movl $1, %eax
        movl $1, %edi
        movl $request, %esi
        trap
        movl $1, %eax
        movl $dump, %esi
        movl $144, %edx
        trap
        movl $1, %eax
        movl $marks, %esi
        movl $0x10000, %edx
        trap
        movl $1, %eax
        movl $warm, %esi
        movl $16, %edx
        trap
        # Leave something everywhere.
        movl $marks, %edi
        movl $0x10000, %ecx
        movl $0xA5, %eax
        jmp 1f
        .p2align 5
1:      movl %edi, %edi
        leaq (%r14,%rdi), %rdi
        rep stosb
        movl $warm, %edi
        movl $8192, %ecx
        jmp 1f
        .p2align 5
1:      movl %edi, %edi
        leaq (%r14,%rdi), %rdi
        rep stosb
        # Mapped memory, the thread area, the stack.
        movl $9, %eax
        xorl %edi, %edi
        movl $0x100000, %esi
        movl $3, %edx
        movl $0x22, %r10d
        movl $-1, %r8d
        xorl %r9d, %r9d
        trap
        movl %eax, %edi
        movl $0x100000, %ecx
        movl $0xA5, %eax
        jmp 1f
        .p2align 5
1:      movl %edi, %edi
        leaq (%r14,%rdi), %rdi
        rep stosb
        movl $0x10000, %edi
        movl $0x10000, %ecx
        jmp 1f
        .p2align 5
1:      movl %edi, %edi
        leaq (%r14,%rdi), %rdi
        rep stosb
        leal -0x8000(%ebx), %edi
        movl $0x8000, %ecx
        jmp 1f
        .p2align 5
1:      movl %edi, %edi
        leaq (%r14,%rdi), %rdi
        rep stosb
        movabsq $0xA5A5A5A5A5A5A5A5, %rbp
        movq %rbp, %xmm0
        movaps %xmm0, %xmm7
        movaps %xmm0, %xmm15
        movq %rbp, %r12
        movq %rbp, %r13
        movq %rbp, %r15
        # Inexact division sets a sticky flag.
        movl $1, %eax
        cvtsi2sd %eax, %xmm1
        movl $3, %eax
        cvtsi2sd %eax, %xmm2
        divsd %xmm2, %xmm1
        fldpi
        fldpi
        # More of the file.
        movl $1, %eax
        movl $3, %edi
        movl $path, %esi
        movl $4, %edx
        trap
        movl $0x7A01, %eax
        movl $answer, %edi
        movl $answer_len, %esi
        trap
        movl $231, %eax
        xorl %edi, %edi
        trap
        hlt
        .section .rodata
path:   .asciz "/tmp/warm"
answer: .long 1, 200, 1, 0
        .long 3, 1
        .asciz "X-A"
        .asciz "b"
        .set answer_len, . - answer
        .bss
        .p2align 12
dump:   .skip 0x1000
request: .skip 0x1000
warm:   .skip 0x2000
marks:  .skip 0x10000
