# r14 is the base of the slot, rsp the return stack of the host.

# case writes_to_r14
# each refused base-register
        movq %rax, %r14
        movl %eax, %r14d
        movw %ax, %r14w
        movb %al, %r14b
        movq $1, %r14
        movl %gs:(%eax), %r14d
        addq $8, %r14
        xorl %r14d, %r14d
        leaq 8(%r14), %r14
        leal (%eax), %r14d
        incq %r14
        notl %r14d
        negb %r14b
        sete %r14b
        cmovel %eax, %r14d
        shlq $3, %r14
        shldl $3, %eax, %r14d
        bswapq %r14
        bsfq %rax, %r14
        bsrl %eax, %r14d
        popcntq %rax, %r14
        tzcntl %eax, %r14d
        crc32l %eax, %r14d
        imulq %rax, %r14
        imull $3, %eax, %r14d
        movzbl %al, %r14d
        movsbq %al, %r14
        movslq %eax, %r14
        btsq $3, %r14
        btcl %eax, %r14d
        movabsq $1, %r14
        sbbl %r14d, %r14d
        rcrq %r14
# each accepted
        movq %rax, %r13
        movl %gs:(%eax), %r15d
        leaq 8(%r14), %r13
        btq $3, %r14
        cmpl %eax, %r14d
        testb %r14b, %r14b

# case writes_to_r14_by_second_operand
# each refused base-register
        xchgq %r14, %rax
        xchgl %eax, %r14d
        xchgq %rax, %r14
        xaddq %r14, %rax
        xaddl %r14d, %gs:(%eax)
        cmpxchgq %rax, %r14
        xchgb %r14b, %al
# each accepted
        xchgq %r13, %rax
        xaddq %r13, %rax
        cmpxchgq %r14, %rax

# case writes_to_r14_from_vectors
# each refused base-register
        movq %xmm0, %r14
        movd %xmm0, %r14d
        pextrb $1, %xmm0, %r14d
        pextrw $1, %xmm0, %r14d
        pextrd $1, %xmm0, %r14d
        pextrq $1, %xmm0, %r14
        extractps $1, %xmm0, %r14d
        movmskps %xmm0, %r14d
        movmskpd %xmm0, %r14d
        pmovmskb %xmm0, %r14d
        cvtsd2si %xmm0, %r14
        cvttsd2si %xmm0, %r14d
        cvtss2si %xmm0, %r14
        cvttss2si %xmm0, %r14d
# each accepted
        movq %xmm0, %r13
        movmskps %xmm0, %r15d
        cvtsi2sdq %r14, %xmm0
        movq %r14, %xmm0
        pinsrd $1, %r14d, %xmm0

# case reads_of_r14
# refused base-register at 0
        subq %r14, %r14
# accepted
        subq %r14, %rax
# accepted
        movq %r14, %rax
# accepted
        movq %r14, %gs:(%eax)
# accepted
        leaq (%r14,%rax,8), %rcx

# case names_of_the_stack_pointer
# each refused return-stack
        movq %rax, %rsp
        movl %eax, %esp
        movw %ax, %sp
        movb %al, %spl
        movq %rsp, %rax
        movl %esp, %eax
        movb %spl, %al
        addq $8, %rsp
        subl $8, %esp
        andq $-16, %rsp
        addq %r14, %rsp
        leaq (%rsp,%r14), %rsp
        leaq 8(%rax), %rsp
        xchgq %rax, %rsp
        xchgq %rsp, %rax
        cmpq %rsp, %rax
        testl %esp, %esp
        xaddq %rsp, %rax
        cmpxchgq %rsp, %rax
        cmovel %eax, %esp
        movzbl %spl, %eax
        movslq %esp, %rax
        bswapq %rsp
        setne %spl
        incl %esp
        imulq %rax, %rsp
        bsfq %rax, %rsp
        popcntl %esp, %eax
        movq %xmm0, %rsp
        movq %rsp, %xmm0
        cvttsd2si %xmm0, %rsp
        movl %gs:(%eax), %esp
        movl %esp, %gs:(%eax)
        movl $0x20000, %esp
        btq $1, %rsp
# each accepted
        movq %rax, %rbx
        movl %ebx, %eax
        addq $8, %rbx
        leaq 8(%rax), %rbx

# case high_byte_or_stack_pointer
# The same ModRM names ah without REX, spl with it.
# refused return-stack at 0
        .byte 0x40, 0x80, 0xEC, 0x08
# refused return-stack at 0
        subb $8, %spl
# accepted
        .byte 0x80, 0xEC, 0x08
# accepted
        subb $8, %ah
# accepted
        subb $8, %bpl

# case stack_instructions
# each refused return-stack
        pushq %rax
        popq %rax
        popq %rsp
        pushq $1
        pushq $0x12345
        pushw %ax
        popw %ax
        pushfq
        popfq
        pushfw
        popfw
        enter $16, $0
        leave
        pushq %fs
        popq %fs
        pushq %gs
        popq %gs
        .byte 0x66, 0xC9
# each accepted
        movq %rax, %gs:-8(%ebx)
        leal -8(%rbx), %ebx
        ret

# case return_of_another_width
# 66 C3 pops two bytes on one vendor; it is blamed on its prefix.
# refused prefix at 0
        .byte 0x66, 0xC3
# accepted
        ret

# case masked_return
# What designs with one stack write: no instruction may touch the return stack.
# refused return-stack at 0
        popq %r11
        andl $-32, %r11d
        addq %r14, %r11
        pushq %r11
        ret
# refused return-stack at 0
        andq $-32, (%rsp)
        ret
# accepted
        ret

# case stack_pointer_macro
# refused return-stack at 0
        movl %eax, %esp
        addq %r14, %rsp
# refused return-stack at 0
        subl $24, %esp
        addq %r14, %rsp
# refused return-stack at 0
        movl (%rax), %esp
        addq %r14, %rsp
# refused return-stack at 2
        movl %eax, %eax
        leaq (%rax,%r14), %rsp
# refused return-stack at 0
        leal -8(%rsp), %esp
        leaq (%rsp,%r14), %rsp
# accepted
        leal -24(%rbx), %ebx

# case mmx_registers
# They show what x87 left in its registers.
# each refused allow-list
        movq %mm7, %rax
        movd %mm0, %eax
        movq %gs:(%eax), %mm0
        paddb %mm1, %mm0
        pshufw $1, %mm1, %mm0
        pmovmskb %mm0, %eax
        cvtpi2ps %mm0, %xmm0
        cvtps2pi %xmm0, %mm0
        cvttpd2pi %xmm0, %mm0
        movq2dq %mm0, %xmm0
        movdq2q %xmm0, %mm0
        palignr $1, %mm1, %mm0
        pabsb %mm1, %mm0
        pinsrw $1, %eax, %mm0
        pextrw $1, %mm0, %eax
        emms
# each accepted
        movq %xmm7, %rax
        movq %gs:(%eax), %xmm0
        paddb %xmm1, %xmm0
        palignr $1, %xmm1, %xmm0
