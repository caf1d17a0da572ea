# Misbehaves as the first letter of its second argument says.
        .include "trap.inc"
        .text
        .globl _start
        .p2align 5
_start:
        # argv[1] lies at rbx+16.
        movl %gs:16(%ebx), %esi
        movzbl %gs:(%esi), %eax
        cmpl $'n', %eax
        je null
        cmpl $'h', %eax
        je halt
        cmpl $'d', %eax
        je divide
        cmpl $'s', %eax
        je spin
        cmpl $'r', %eax
        je recurse
        cmpl $'t', %eax
        je text
        cmpl $'o', %eax
        je output
        cmpl $'x', %eax
        je return
        cmpl $'b', %eax
        je breakpoint
        cmpl $'m', %eax
        je copy
        cmpl $'c', %eax
        je table
        cmpl $'j', %eax
        je wild
        cmpl $'k', %eax
        je traps
        cmpl $'a', %eax
        je abort
        cmpl $'g', %eax
        je getpid
        cmpl $'f', %eax
        je files
        cmpl $'w', %eax
        je watch
        movl $231, %eax
        movl $0, %edi
        trap
        hlt
null:   movl %gs:8, %eax
        hlt
halt:   hlt
divide: xorl %ecx, %ecx
        movl $1, %eax
        xorl %edx, %edx
        divl %ecx
        hlt
breakpoint: int3
spin:   jmp spin
        .p2align 5
recurse: call recurse
        hlt
text:   movl $1, %gs:0x20000
        hlt
table:  movl $1, %gs:0xF000
        hlt
# A jump to a bundle start that is no text: no instruction may run there.
wild:   movl $0x31000, %eax
        andl $-32, %eax
        addq %r14, %rax
        jmp *%rax
        .p2align 5
output: movl $1, %eax
        movl $1, %edi
        movl $0x20000, %esi
        movl $4096, %edx
        trap
        jmp output
        .p2align 5
traps:  movl $39, %eax
        trap
        jmp traps
return: ret
# A long string store: it is interrupted in its middle.
        .p2align 5
copy:   movl $0x31000, %edi
        movl $0x10000, %ecx
        xorl %eax, %eax
        jmp 1f
        .p2align 5
1:      movl %edi, %edi
        leaq (%r14,%rdi), %rdi
        rep stosb
        jmp copy
        .p2align 5
abort:  movl $200, %eax
        movl $1, %edi
        movl $6, %esi
        trap
        hlt
# A million null traps, for the benchmark.
getpid: movl $1000000, %r12d
1:      movl $39, %eax
        trap
        decl %r12d
        jnz 1b
        movl $231, %eax
        xorl %edi, %edi
        trap
        hlt
# A million looks at the monotonic clock, for the benchmark.
watch:  movl $1000000, %r12d
1:      movl $228, %eax
        movl $1, %edi
        movl $area, %esi
        trap
        decl %r12d
        jnz 1b
        movl $231, %eax
        xorl %edi, %edi
        trap
        hlt
# A hundred thousand times open, read and close, for the benchmark.
files:  movl $100000, %r12d
1:      movl $2, %eax
        movl $page, %edi
        xorl %esi, %esi
        trap
        movl %eax, %r13d
        movl %eax, %edi
        xorl %eax, %eax
        movl $area, %esi
        movl $4096, %edx
        trap
        movl $3, %eax
        movl %r13d, %edi
        trap
        decl %r12d
        jnz 1b
        movl $231, %eax
        xorl %edi, %edi
        trap
        hlt
        .section .rodata
page:   .asciz "/srv/www/page"
        .bss
        .skip 0x1000
        .p2align 12
area:   .skip 0x10000
