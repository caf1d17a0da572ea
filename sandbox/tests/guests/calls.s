# Reads records of seven words (number and six arguments) from standard input, makes each call, and
# writes its result, eight bytes, to standard output. Ends with status 0 at the end of input.
        .include "trap.inc"
        .text
        .globl _start
        .p2align 5
_start:
        xorl %eax, %eax
        xorl %edi, %edi
        movl $record, %esi
        movl $56, %edx
        trap
        cmpl $56, %eax
        jne done
        movq %gs:record, %rax
        movq %gs:record+8, %rdi
        movq %gs:record+16, %rsi
        movq %gs:record+24, %rdx
        movq %gs:record+32, %r10
        movq %gs:record+40, %r8
        movq %gs:record+48, %r9
        trap
        movq %rax, %gs:result
        movl $1, %eax
        movl $1, %edi
        movl $result, %esi
        movl $8, %edx
        trap
        jmp _start
        .p2align 5
done:   movl $231, %eax
        xorl %edi, %edi
        trap
        hlt
        .data
record: .skip 56
result: .skip 8
# The test's own memory: 64 KiB at 0x31000.
        .bss
        .p2align 12
area:   .skip 0x10000
