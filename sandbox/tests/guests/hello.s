# Writes one line and exits with status 7.
        .text
        .globl _start
        .p2align 5
_start:
        movl $1, %eax
        movl $1, %edi
        movl $message, %esi
        movl $6, %edx
        call *0xF000(%r14)
        movl $231, %eax
        movl $7, %edi
        call *0xF000(%r14)
        hlt
        .section .rodata
message: .ascii "hello\n"
