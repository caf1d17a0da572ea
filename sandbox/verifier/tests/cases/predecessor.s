# What the predecessor's own security, signal and jail tests were about, as far as it is code.

# case computed_goto_out_of_the_sandbox
# refused indirect at a
        movabsq $0x7fff00000000, %rax
        jmp *%rax
# accepted
        movabsq $0x7fff00000000, %rax
        andl $-32, %eax
        addq %r14, %rax
        jmp *%rax

# case execute_data
# A jump to data cannot be made directly; made indirectly, it faults when it runs.
# refused branch-target at 0
1:      jmp 1b+0x10000
# accepted
        movl $0x30000, %eax
        andl $-32, %eax
        addq %r14, %rax
        jmp *%rax

# case jump_into_the_middle_of_an_instruction
# refused branch-target at a
1:      movabsq $0xC3050F90909090, %rax
        jmp 1b+5
# accepted
1:      movabsq $0xC3050F90909090, %rax
        jmp 1b

# case reading_the_time_stamp
# refused allow-list at 0
        rdtsc
# accepted
        movl $228, %eax
        call *0xF000(%r14)

# case divide_error
# refused allow-list at 0
        int $0
# accepted
        xorl %ecx, %ecx
        divl %ecx

# case segmentation_fault
# refused memory at 0
        movl %eax, 0
# accepted
        movl %eax, %gs:0

# case endless_loop
# refused allow-list at 0
1:      loop 1b
# accepted
1:      jmp 1b

# case making_code_at_run_time
# The text cannot be written: an operand may name it, and faults.
# refused memory at 0
        movb $0xC3, (%rax)
# accepted
        movb $0xC3, -7(%rip)
# accepted
        movb $0xC3, %gs:0x20000

# case writing_behind_the_host_s_back
# refused memory at 0
        movq %rax, %fs:0
# accepted
        movq %rax, %gs:0x1F000
