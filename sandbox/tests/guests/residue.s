# Shows everything it finds: registers, flags, vectors, x87 registers, memory, a file; then leaves something
# in all of them. With a second argument it waits for a request first, so that clones of it begin there.
        .include "trap.inc"
        .macro save
        movq %rax, %gs:dump
        seto %gs:dump+112
        setc %gs:dump+113
        sets %gs:dump+114
        setz %gs:dump+115
        setp %gs:dump+116
        movq %rcx, %gs:dump+8
        movq %rdx, %gs:dump+16
        movq %rbp, %gs:dump+24
        movq %rsi, %gs:dump+32
        movq %rdi, %gs:dump+40
        movq %r8, %gs:dump+48
        movq %r9, %gs:dump+56
        movq %r10, %gs:dump+64
        movq %r11, %gs:dump+72
        movq %r12, %gs:dump+80
        movq %r13, %gs:dump+88
        movq %r15, %gs:dump+96
        stmxcsr %gs:dump+120
        .irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
        movups %xmm\n, %gs:dump+128+16*\n
        .endr
        # Reading an empty register gives a fixed value that is no number.
        .irp n, 0, 1, 2, 3, 4, 5, 6, 7
        fstpl %gs:dump+384+8*\n
        .endr
        .endm
        .macro show from, len
        movl $1, %eax
        movl $1, %edi
        movl \from, %esi
        movl \len, %edx
        trap
        .endm
        .macro fill from, len
        movl \from, %edi
        movl \len, %ecx
        movl $0xA5, %eax
        call soil
        .endm
        .text
        .globl _start
        .p2align 5
_start:
        save
        cmpl $1, %gs:(%ebx)
        je look
        movl $0x7A00, %eax
        movl $request, %edi
        movl $4096, %esi
        trap
        save
        # The length of the request and its address are the guest's own.
        movq $0, %gs:dump
        movq $0, %gs:dump+40
look:   show $dump, $448
        show $marks, $0x10000
        show $0x10000, $0x10000
        leal -0x8000(%ebx), %r12d
        show %r12d, $0x8000
        movl $9, %eax
        xorl %edi, %edi
        movl $0x100000, %esi
        movl $3, %edx
        movl $0x22, %r10d
        movl $-1, %r8d
        xorl %r9d, %r9d
        trap
        movl %eax, %r13d
        show %r13d, $0x100000
        movl $2, %eax
        movl $path, %edi
        xorl %esi, %esi
        trap
        movq %rax, %gs:dump
        show $dump, $8
        # Now leave something everywhere.
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
        fill $marks, $0x10000
        fill $0x10000, $0x10000
        fill %r12d, $0x8000
        fill %r13d, $0x100000
        movabsq $0xA5A5A5A5A5A5A5A5, %rbp
        movq %rbp, %xmm0
        punpcklqdq %xmm0, %xmm0
        .irp n, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
        movaps %xmm0, %xmm\n
        .endr
        # Inexact division sets a sticky flag.
        movl $1, %eax
        cvtsi2sd %eax, %xmm1
        movl $3, %eax
        cvtsi2sd %eax, %xmm2
        divsd %xmm2, %xmm1
        movaps %xmm0, %xmm1
        movaps %xmm0, %xmm2
        .irp n, 0, 1, 2, 3, 4, 5, 6, 7
        fldpi
        .endr
        movq %rbp, %rcx
        movq %rbp, %rdx
        movq %rbp, %rsi
        movq %rbp, %r8
        movq %rbp, %r9
        movq %rbp, %r10
        movq %rbp, %r11
        movq %rbp, %r12
        movq %rbp, %r13
        movq %rbp, %r15
        xorl %edi, %edi
        movl $231, %eax
        # Carry, sign and overflow.
        addl $0x7FFFFFFF, %ebp
        stc
        trap
        hlt
        .p2align 5
soil:   jmp 1f
        .p2align 5
1:      movl %edi, %edi
        leaq (%r14,%rdi), %rdi
        rep stosb
        ret
        .section .rodata
path:   .asciz "/tmp/residue"
        .bss
        .p2align 12
dump:   .skip 0x1000
request: .skip 0x1000
marks:  .skip 0x10000
