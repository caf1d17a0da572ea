# Writes one line and exits with status 7.
        .include "trap.inc"
        .text
        .globl _start
        .p2align 5
_start:
        movl $1, %eax
        movl $1, %edi
        movl $message, %esi
        movl $6, %edx
        trap
        movl $231, %eax
        movl $7, %edi
        trap
        hlt
        .section .rodata
message: .ascii "hello\n"
