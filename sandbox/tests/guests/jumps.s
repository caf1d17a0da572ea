# Jumps through the host, as the first letter of the second argument says.
        .include "trap.inc"
        .text
        .globl _start
        .p2align 5
_start:
        movl %gs:16(%ebx), %esi
        movzbl %gs:(%esi), %eax
        cmpl $'l', %eax
        je jump
        cmpl $'m', %eax
        je many
        cmpl $'d', %eax
        je dead
        cmpl $'n', %eax
        je nowhere
        cmpl $'f', %eax
        je fibers
        cmpl $'r', %eax
        je returning
        cmpl $'b', %eax
        je bad
        cmpl $'e', %eax
        je endless
        movl $99, %edi
        .p2align 5
exit:   movl $231, %eax
        trap
        hlt

# setjmp: the record's number goes to `number`; answers 0 the first time.
        .p2align 5
setjmp: movl $0x7A02, %eax
        trap
        movl %eax, %gs:number
        xorl %eax, %eax
        ret

# longjmp to `number` with the value in esi, from two calls deeper.
        .p2align 5
deep:   call deeper
        hlt
        .p2align 5
deeper: movl %gs:number, %edi
        movl $0x7A03, %eax
        trap
        hlt

        .p2align 5
jump:   call setjmp
        testl %eax, %eax
        jne 1f
        movl $42, %esi
        call deep
        hlt
1:      movl %eax, %edi
        jmp exit

        .p2align 5
many:   movl $1000000, %r12d
1:      call setjmp
        decl %r12d
        jnz 1b
        xorl %edi, %edi
        jmp exit

# The frame that called setjmp has returned by the time of the jump.
        .p2align 5
frame:  call setjmp
        ret
        .p2align 5
dead:   call frame
        movl $1, %esi
        movl %gs:number, %edi
        movl $0x7A03, %eax
        trap
        hlt

        .p2align 5
nowhere: movl $12345, %edi
        movl $1, %esi
        movl $0x7A03, %eax
        trap
        hlt

# Adds three to each value it gets and hands it back.
        .p2align 5
adder:  movl %edi, %esi
1:      addl $3, %esi
        xorl %edi, %edi
        movl $0x7A05, %eax
        trap
        movl %eax, %esi
        jmp 1b

        .p2align 5
fibers: movl $adder, %edi
        movl $stack_end, %esi
        movl $0x7A04, %eax
        trap
        movl %eax, %r13d
        movl $10, %r12d
        movl $6, %esi
1:      movl %r13d, %edi
        movl $0x7A05, %eax
        trap
        movl %eax, %esi
        decl %r12d
        jnz 1b
        movl %esi, %r12d
        movl %r13d, %edi
        movl $0x7A06, %eax
        trap
        movl %r12d, %edi
        jmp exit

        .p2align 5
leaver: ret
        .p2align 5
returning: movl $leaver, %edi
        movl $stack_end, %esi
        movl $0x7A04, %eax
        trap
        movl %eax, %edi
        movl $0x7A05, %eax
        trap
        hlt

        .p2align 5
bad:    xorl %r12d, %r12d
        movl $adder+1, %edi
        movl $0x7A04, %eax
        trap
        call count
        movl $0x40000, %edi
        movl $0x7A04, %eax
        trap
        call count
        movl $7, %edi
        movl $0x7A05, %eax
        trap
        call count
        xorl %edi, %edi
        movl $0x7A05, %eax
        trap
        call count
        movl $adder, %edi
        movl $stack_end, %esi
        movl $0x7A04, %eax
        trap
        movl %eax, %r13d
        movl %eax, %edi
        movl $0x7A06, %eax
        trap
        movl %r13d, %edi
        movl $0x7A05, %eax
        trap
        call count
        xorl %edi, %edi
        movl $0x7A06, %eax
        trap
        call count
        movl %r12d, %edi
        jmp exit
        .p2align 5
count:  testl %eax, %eax
        jns 1f
        incl %r12d
1:      ret

        .p2align 5
endless: movl $100000, %r12d
1:      movl $adder, %edi
        movl $stack_end, %esi
        movl $0x7A04, %eax
        trap
        testl %eax, %eax
        js 2f
        decl %r12d
        jnz 1b
        xorl %edi, %edi
        jmp exit
2:      movl $1, %edi
        jmp exit

        .bss
number: .skip 8
        .p2align 12
        .skip 0x1000
stack_end:
