# Processor state that outlives the guest, or tells it about its host.

# case system_calls
# each refused allow-list
        syscall
        sysenter
        int $0x80
        .byte 0xCD, 0x03
        .byte 0xF1
# accepted
        call *0xF000(%r14)
# accepted
        int3

# case direction_flag
# refused allow-list at 0
        std
# refused return-stack at 0
        popfq
# accepted
        cld

# case interrupt_flag
# each refused allow-list
        cli
        sti
        clac
        stac
# each accepted
        clc
        stc
        cmc

# case flags_through_ah
# ah has no alignment check, direction or trap flag.
# refused return-stack at 0
        pushfq
# accepted
        sahf
# accepted
        lahf

# case floating_point_control
# each refused allow-list
        ldmxcsr %gs:(%eax)
        fldcw %gs:(%eax)
        fldenv %gs:(%eax)
        fnstenv %gs:(%eax)
        frstor %gs:(%eax)
        fnsave %gs:(%eax)
        fninit
        fxsave %gs:(%eax)
        fxrstor %gs:(%eax)
        fxsave64 %gs:(%eax)
        fxrstor64 %gs:(%eax)
        xsave %gs:(%eax)
        xrstor %gs:(%eax)
        xsaveopt %gs:(%eax)
        xsavec %gs:(%eax)
        xsaves %gs:(%eax)
        xrstors %gs:(%eax)
# each accepted
        stmxcsr %gs:(%eax)
        fnstcw %gs:(%eax)
        fnstsw %ax
        fnclex
        fisttpll %gs:(%eax)

# case packed_decimal
# each refused allow-list
        fbld %gs:(%eax)
        fbstp %gs:(%eax)
# each accepted
        fildll %gs:(%eax)
        fstpt %gs:(%eax)

# case x87_register_stack_games
# each refused allow-list
        fincstp
        fdecstp
        ffree %st(1)
        ffreep %st(1)
# accepted
        fstp %st(0)

# case segments_and_bases
# each refused allow-list
        movw %ax, %ds
        movw %ax, %gs
        movl %fs, %eax
        movw %gs, %gs:(%eax)
        wrfsbase %rax
        wrgsbase %rax
        rdfsbase %rax
        rdgsbase %rax
        wrgsbase %eax
        swapgs
# accepted
        movq %r14, %rax

# case system_tables
# each refused allow-list
        sgdt %gs:(%eax)
        sidt %gs:(%eax)
        lgdt %gs:(%eax)
        lidt %gs:(%eax)
        sldt %eax
        str %eax
        lldt %ax
        ltr %ax
        smsw %eax
        lmsw %ax
        lar %eax, %ecx
        lsl %eax, %ecx
        verr %ax
        verw %ax
# accepted
        movl %eax, %ecx

# case protection_keys_and_control_registers
# each refused allow-list
        rdpkru
        wrpkru
        xgetbv
        xsetbv
        movq %cr0, %rax
        movq %rax, %cr3
        movq %dr0, %rax
        movq %rax, %dr7
        rdmsr
        wrmsr
        clts
# accepted
        movq %rax, %rcx

# case clocks_and_identity
# each refused allow-list
        rdtsc
        rdtscp
        rdpmc
        rdpid %rax
        cpuid
        rdrand %eax
        rdseed %eax
# accepted
        pause

# case waiting_and_halting
# hlt faults, because the guest has no privilege.
# each refused allow-list
        tpause %eax
        umwait %eax
        mwait
        mwaitx
# each accepted
        hlt
        pause

# case transactions_and_serialisation
# each refused allow-list
        xtest
        xend
        .byte 0x0F, 0x01, 0xE8
# each accepted
        lfence
        mfence
        sfence

# case shadow_stack
# each refused allow-list
        incsspd %eax
        incsspq %rax
        rdsspd %eax
        rdsspq %rax
        wrssd %eax, %gs:(%ecx)
        wrssq %rax, %gs:(%ecx)
        saveprevssp
        setssbsy
        rstorssp %gs:(%eax)
        clrssbsy %gs:(%eax)
        endbr64
# accepted
        ret

# case user_interrupts_and_enclaves
# each refused allow-list
        clui
        stui
        testui
        senduipi %rax
        enclu
        encls
        getsec
        vmfunc
        vmcall
        vmmcall
# accepted
        nop

# case matrix_state
# each refused allow-list
        tilezero %tmm0
        tilerelease
        ldtilecfg %gs:(%eax)
# accepted
        pxor %xmm0, %xmm0

# case port_access
# each refused allow-list
        inb $0x70, %al
        inb %dx, %al
        outb %al, $0x70
        outl %eax, %dx
# accepted
        movb $0x70, %al

# case memory_management
# each refused allow-list
        invlpg %gs:(%eax)
        invd
        wbinvd
        invpcid %gs:(%eax), %rcx
# accepted
        mfence

# case crypto_and_vector_extensions_beyond_the_baseline
# each refused allow-list
        aesenc %xmm1, %xmm0
        pclmulqdq $0, %xmm1, %xmm0
        sha1nexte %xmm1, %xmm0
        gf2p8mulb %xmm1, %xmm0
        adcxl %eax, %ecx
        movbel %gs:(%eax), %ecx
# each accepted
        pcmpgtq %xmm1, %xmm0
        crc32l %eax, %ecx
        adcl %eax, %ecx

# case deliberate_faults
# They end the guest, which is what it asked for.
# refused allow-list at 0
        int $4
# each accepted
        ud2
        int3
        hlt
        divl %ecx
