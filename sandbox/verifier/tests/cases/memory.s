# What memory an instruction may touch.

# case bare_base_register
# each refused memory
        movl (%rax), %ecx
        movl %ecx, (%rax)
        movl 8(%rbx), %ecx
        movl (%r14), %ecx
        movl 8(%r14,%rax), %ecx
        addl $1, (%rdi)
        movups (%rbx), %xmm0
        fldt (%rbx)
        prefetcht0 (%rax)
        cmpb $0, (%r13)
# each accepted
        movl %gs:(%eax), %ecx
        movl %ecx, %gs:(%eax)
        movl %gs:8(%ebx), %ecx
        movl %gs:(%r14d), %ecx
        movl %gs:8(%r14d,%eax), %ecx
        addl $1, %gs:(%edi)
        movups %gs:(%ebx), %xmm0
        fldt %gs:(%ebx)
        prefetcht0 %gs:(%eax)
        cmpb $0, %gs:(%r13d)

# case address_size_without_segment
# refused memory at 0
        movl (%eax), %ecx
# refused memory at 0
        movl (%r14d,%eax), %ecx
# accepted
        movl %gs:(%eax), %ecx

# case segment_with_wide_address
# each refused memory
        movl %gs:(%rax), %ecx
        movl %gs:8(%rbx,%rcx,4), %ecx
        movl %gs:(,%rcx,4), %ecx
        movl %ecx, %gs:-8(%rbp)
# each accepted
        movl %gs:8(%ebx,%ecx,4), %ecx
        movl %gs:(,%ecx,4), %ecx
        movl %ecx, %gs:-8(%ebp)

# case other_segments
# each refused memory
        movl %fs:(%eax), %ecx
        movl %fs:0, %ecx
        movq %fs:0x28, %rax
        movl %ds:(%eax), %ecx
        movl %es:(%eax), %ecx
        movl %cs:(%eax), %ecx
        movl %ss:(%eax), %ecx
        movl %fs:0x1000(%rip), %ecx
# each accepted
        movl %gs:(%eax), %ecx
        movl %gs:0, %ecx
        movq %gs:0x1F028, %rax

# case absolute_without_segment
# refused memory at 0
        movl 0x20000, %ecx
# refused memory at 0
        addr32 movl 0x20000, %ecx
# accepted
        movl %gs:0x20000, %ecx
# accepted
        .byte 0x65, 0x67, 0x8B, 0x0C, 0x25, 0x00, 0x00, 0x02, 0x80

# case absolute_negative
# Sign-extended: 2 GiB below the slot.
# refused memory at 0
        .byte 0x65, 0x8B, 0x0C, 0x25, 0x00, 0x00, 0x00, 0x80
# refused memory at 0
        movl %gs:-8, %ecx
# accepted
        .byte 0x65, 0x8B, 0x0C, 0x25, 0xFF, 0xFF, 0xFF, 0x7F
# accepted
        movl %gs:0x7FFFFFFF, %ecx

# case segment_with_rip
# refused memory at 0
        movl %gs:0x1000(%rip), %ecx
# accepted
        movl 0x1000(%rip), %ecx

# case stack_pointer_in_address
# each refused return-stack
        movl (%rsp), %eax
        movl 8(%rsp), %eax
        movl %eax, -8(%rsp)
        movl (%rsp,%rax), %ecx
        movl %gs:(%esp), %eax
        movl %gs:8(%esp,%ecx,4), %eax
        leaq 8(%rsp), %rax
        leal 8(%esp), %eax
        leaq (%rsp,%rax), %rcx
        fldt (%rsp)
        movups %xmm0, (%rsp)
# each accepted
        movl %gs:(%ebx), %eax
        movl %gs:8(%ebx,%ecx,4), %eax
        leaq 8(%rbx), %rax
        leal 8(%rbx), %eax

# case rip_relative_below_the_slot
# The text stands at 0x20000 and the instruction is 6 bytes long.
# refused memory at 0
        movl -0x10007(%rip), %eax
# refused memory at 0
        movl -0x20006(%rip), %eax
# refused memory at 0
        movl -0x11006(%rip), %eax
# refused memory at 0
        .byte 0x8B, 0x05, 0x00, 0x00, 0x00, 0x80
# accepted
        movl -0x10006(%rip), %eax

# case rip_relative_beyond_the_slot
# No displacement reaches the upper end from a text this low: only the sign can go wrong.
# refused memory at 0
        movups -0x30000(%rip), %xmm0
# accepted
        .byte 0x8B, 0x05, 0xFF, 0xFF, 0xFF, 0x7F

# case bit_offset_in_register
# The offset reaches 2^60 bytes from the operand.
# each refused memory
        btsq %rax, %gs:(%eax)
        btq %rax, %gs:(%ebx)
        btrl %ecx, %gs:(%eax)
        btcw %cx, %gs:(%eax)
        btq %rax, 0x1000(%rip)
        btsl %eax, %gs:0x20000
# refused return-stack at 0
        btsq %rax, (%rsp)
# refused memory at 0
        lock btsq %rax, %gs:(%eax)
# each accepted
        btsq $63, %gs:(%eax)
        btq $63, 0x1000(%rip)
        btcw $15, %gs:(%eax)
        btsq %rax, %rcx
        btrl %ecx, %eax

# case exchange_with_memory
# It locks the bus without being told to.
# each refused memory
        xchgl %eax, %gs:(%ecx)
        xchgb %al, %gs:(%ecx)
        xchgq %rax, 0x1000(%rip)
# each accepted
        xchgl %ecx, %edx
        xaddl %eax, %gs:(%ecx)

# case implicit_memory
# each refused allow-list
        xlatb
        maskmovdqu %xmm1, %xmm0
        maskmovq %mm1, %mm0
        movdir64b (%rax), %rcx
        enqcmd (%rax), %rcx
        clzero
        monitor
        monitorx
        umonitor %rax
# each accepted
        movzbl %gs:(%ebx,%eax), %eax
        movdqu %xmm0, %gs:(%edi)

# case string_instructions_outside_macros
# each refused string
        stosb
        stosw
        stosl
        stosq
        rep stosq
        movsb
        movsw
        movsl
        movsq
        rep movsb
        lodsb
        lodsq
        scasb
        repne scasb
        cmpsb
        repe cmpsb
        insb
        outsb
        rep movsq %fs:(%rsi), %es:(%rdi)
# each accepted
        movl %edi, %edi; leaq (%r14,%rdi), %rdi; stosb
        movl %edi, %edi; leaq (%r14,%rdi), %rdi; stosl
        movl %edi, %edi; leaq (%r14,%rdi), %rdi; stosq
        movl %edi, %edi; leaq (%r14,%rdi), %rdi; rep stosb
        movl %edi, %edi; leaq (%r14,%rdi), %rdi; rep stosl
        movl %edi, %edi; leaq (%r14,%rdi), %rdi; rep stosq
        movl %edi, %edi; leaq (%r14,%rdi), %rdi; movl %esi, %esi; leaq (%r14,%rsi), %rsi; movsb
        movl %edi, %edi; leaq (%r14,%rdi), %rdi; movl %esi, %esi; leaq (%r14,%rsi), %rsi; movsl
        movl %edi, %edi; leaq (%r14,%rdi), %rdi; movl %esi, %esi; leaq (%r14,%rsi), %rsi; movsq
        movl %edi, %edi; leaq (%r14,%rdi), %rdi; movl %esi, %esi; leaq (%r14,%rsi), %rsi; rep movsb
        movl %edi, %edi; leaq (%r14,%rdi), %rdi; movl %esi, %esi; leaq (%r14,%rsi), %rsi; rep movsl
        movl %edi, %edi; leaq (%r14,%rdi), %rdi; movl %esi, %esi; leaq (%r14,%rsi), %rsi; rep movsq

# case string_macro_without_truncation
# refused string at 4
        leaq (%r14,%rdi), %rdi
        stosb
# accepted
        movl %edi, %edi
        leaq (%r14,%rdi), %rdi
        stosb

# case string_macro_without_base
# refused string at 2
        movl %edi, %edi
        stosb
# accepted
        movl %edi, %edi
        leaq (%r14,%rdi), %rdi
        stosb

# case string_macro_with_narrow_lea
# The pointer would end up in the host's low 4 GiB.
# refused string at 7
        movl %edi, %edi
        leaq (%r14d,%edi), %rdi
        stosb
# refused string at 6
        movl %edi, %edi
        .byte 0x41, 0x8D, 0x3C, 0x3E
        stosb
# accepted
        movl %edi, %edi
        leaq (%r14,%rdi), %rdi
        stosb

# case string_macro_with_displacement
# refused string at 7
        movl %edi, %edi
        leaq 8(%r14,%rdi), %rdi
        stosb
# refused string at 6
        movl %edi, %edi
        leaq (%r14,%rdi,2), %rdi
        stosb
# accepted
        movl %edi, %edi
        leaq (%r14,%rdi), %rdi
        stosb

# case string_macro_with_other_registers
# refused string at 6
        movl %esi, %esi
        leaq (%r14,%rsi), %rsi
        stosb
# refused string at 7
        movl %edi, %edi
        leaq (%r13,%rdi), %rdi
        stosb
# refused string at 6
        movl %eax, %edi
        leaq (%r14,%rdi), %rdi
        stosb
# accepted
        movl %edi, %edi
        leaq (%r14,%rdi), %rdi
        stosb

# case copy_with_one_pointer
# refused string at 6
        movl %edi, %edi
        leaq (%r14,%rdi), %rdi
        movsb
# refused string at 6
        movl %esi, %esi
        leaq (%r14,%rsi), %rsi
        movsb
# refused string at c
        movl %esi, %esi
        leaq (%r14,%rsi), %rsi
        movl %edi, %edi
        leaq (%r14,%rdi), %rdi
        movsb
# accepted
        movl %edi, %edi
        leaq (%r14,%rdi), %rdi
        movl %esi, %esi
        leaq (%r14,%rsi), %rsi
        movsb

# case string_macro_with_prefixes
# refused string at 6
        movl %edi, %edi
        leaq (%r14,%rdi), %rdi
        repne stosb
# refused string at 6
        movl %edi, %edi
        leaq (%r14,%rdi), %rdi
        .byte 0x67, 0xAA
# refused string at 6
        movl %edi, %edi
        leaq (%r14,%rdi), %rdi
        stosw
# refused string at c
        movl %edi, %edi
        leaq (%r14,%rdi), %rdi
        movl %esi, %esi
        leaq (%r14,%rsi), %rsi
        .byte 0x65, 0xA4
# refused string at c
        movl %edi, %edi
        leaq (%r14,%rdi), %rdi
        movl %esi, %esi
        leaq (%r14,%rsi), %rsi
        .byte 0x64, 0xF3, 0xA4
# refused string at 6
        movl %edi, %edi
        leaq (%r14,%rdi), %rdi
        .byte 0x48, 0xAA
# refused string at 6
        movl %edi, %edi
        leaq (%r14,%rdi), %rdi
        .byte 0x48, 0xF3, 0xAB
# accepted
        movl %edi, %edi
        leaq (%r14,%rdi), %rdi
        rep stosq

# case string_macro_with_another_mov
# Same meaning, other bytes: the macros are exact.
# refused string at 6
        .byte 0x8B, 0xFF
        leaq (%r14,%rdi), %rdi
        stosb
# refused string at 6
        movl %edi, %edi
        .byte 0x4A, 0x8D, 0x3C, 0x37
        stosb
# accepted
        movl %edi, %edi
        leaq (%r14,%rdi), %rdi
        stosb

# case string_macro_of_other_instructions
# refused string at 6
        movl %edi, %edi
        leaq (%r14,%rdi), %rdi
        scasb
# refused string at 6
        movl %esi, %esi
        leaq (%r14,%rsi), %rsi
        lodsb
# refused string at c
        movl %edi, %edi
        leaq (%r14,%rdi), %rdi
        movl %esi, %esi
        leaq (%r14,%rsi), %rsi
        cmpsb
# refused string at c
        movl %edi, %edi
        leaq (%r14,%rdi), %rdi
        movl %esi, %esi
        leaq (%r14,%rsi), %rsi
        stosb
# accepted
        movl %edi, %edi
        leaq (%r14,%rdi), %rdi
        movl %esi, %esi
        leaq (%r14,%rsi), %rsi
        movsb

# case string_macro_split
# refused string at 7
        movl %edi, %edi
        leaq (%r14,%rdi), %rdi
        nop
        stosb
# accepted
        nop
        movl %edi, %edi
        leaq (%r14,%rdi), %rdi
        stosb

# case vector_indices
# each refused allow-list
        vgatherdps %xmm2, (%rax,%xmm1,4), %xmm0
        vpscatterdd %zmm0, (%rax,%zmm1,4){%k1}
# accepted
        movss %gs:(%eax,%ecx,4), %xmm0

# case non_temporal
# each refused allow-list
        movnti %eax, %gs:(%ecx)
        movntps %xmm0, %gs:(%ecx)
        movntdq %xmm0, %gs:(%ecx)
        movntdqa %gs:(%ecx), %xmm0
        movntq %mm0, %gs:(%ecx)
# each accepted
        movl %eax, %gs:(%ecx)
        movaps %xmm0, %gs:(%ecx)
        movdqa %gs:(%ecx), %xmm0

# case cache_control
# each refused allow-list
        clflush %gs:(%eax)
        clflushopt %gs:(%eax)
        clwb %gs:(%eax)
        cldemote %gs:(%eax)
        prefetchw %gs:(%eax)
        prefetchwt1 %gs:(%eax)
# each accepted
        prefetchnta %gs:(%eax)
        prefetcht0 %gs:(%eax)
        prefetcht1 0x1000(%rip)
        prefetcht2 %gs:0x20000

# case push_and_pop_with_memory
# each refused return-stack
        pushq %gs:(%eax)
        popq %gs:(%eax)
        pushq 0x1000(%rip)
        popq 8(%rsp)
        pushq (%rsp)
# accepted
        movq %gs:(%eax), %rcx

# case vmx_memory
# each refused allow-list
        vmread %rax, %rcx
        vmptrld (%rax)
        invept (%rax), %rcx
# accepted
        movq %rax, %rcx

# case load_of_a_segment_relative_far_pointer
# each refused allow-list
        lfsl %gs:(%eax), %ecx
        lgsl %gs:(%eax), %ecx
        lssl %gs:(%eax), %ecx
# accepted
        movl %gs:(%eax), %ecx

# case address_made_in_several_steps
# An address computed beforehand may hold anything: only the operand's form confines it.
# refused memory at 6
        movl %eax, %eax
        leaq (%r14,%rax), %rcx
        movl (%rcx), %edx
# refused memory at 2
        movl %eax, %eax
        movq (%r14,%rax), %rdx
# refused memory at 2
        movl %eax, %eax
        movq %fs:(%r14,%rax), %rdx
# accepted
        movl %eax, %eax
        leaq (%r14,%rax), %rcx
        movl %gs:(%ecx), %edx

# case lea_with_segment
# refused prefix at 0
        .byte 0x65, 0x48, 0x8D, 0x03
# accepted
        leaq (%rbx), %rax
# accepted
        leal (%ebx,%ecx,8), %eax
# accepted
        leaq 0x12345678(,%r9,4), %r10
