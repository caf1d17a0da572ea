# Writes its second argument, a space, and the first word of its environment.
        .include "trap.inc"
        .text
        .globl _start
        .p2align 5
_start:
        movl %gs:16(%ebx), %r12d
        movl %gs:(%ebx), %eax
        movl %gs:16(%ebx,%eax,8), %r13d
        movl %r12d, %esi
        call write
        movl $space, %esi
        call write
        movl %r13d, %esi
        call write
        movl $231, %eax
        xorl %edi, %edi
        trap
        hlt
# Writes the string at esi.
        .p2align 5
write:  xorl %edx, %edx
1:      leal (%rsi,%rdx), %ecx
        movzbl %gs:(%ecx), %eax
        testl %eax, %eax
        je 2f
        incl %edx
        jmp 1b
2:      movl $1, %edi
        movl $1, %eax
        trap
        ret
        .section .rodata
space:  .asciz " "
