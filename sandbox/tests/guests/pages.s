# Reads records of two words (what to do, and where) from standard input: 1 loads a byte, 2 stores one,
# 3 stores one between two looks at the clock and writes both times to standard output.
        .include "trap.inc"
        .text
        .globl _start
        .p2align 5
_start:
        xorl %eax, %eax
        xorl %edi, %edi
        movl $record, %esi
        movl $8, %edx
        trap
        cmpl $8, %eax
        jne done
        movl %gs:record, %eax
        movl %gs:record+4, %ebp
        cmpl $1, %eax
        je load
        cmpl $2, %eax
        je store
        movl $228, %eax
        movl $1, %edi
        movl $before, %esi
        trap
        movb $0xA5, %gs:(%ebp)
        movl $228, %eax
        movl $1, %edi
        movl $after, %esi
        trap
        movl $1, %eax
        movl $1, %edi
        movl $before, %esi
        movl $32, %edx
        trap
        jmp _start
load:   movzbl %gs:(%ebp), %eax
        jmp _start
store:  movb $0xA5, %gs:(%ebp)
        jmp _start
        .p2align 5
done:   movl $231, %eax
        xorl %edi, %edi
        trap
        hlt
        .data
        .p2align 4
record: .skip 16
before: .skip 16
after:  .skip 16
# 512 pages at 0x31000.
        .bss
        .p2align 12
area:   .skip 0x200000
