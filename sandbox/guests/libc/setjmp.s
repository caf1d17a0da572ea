# sandboxed assembly
# int setjmp(jmp_buf): keeps what C code may not lose; the host keeps the place to return to and gives it a number.
.bundle_align_mode 5
.text
.globl setjmp
.globl _setjmp
.globl __setjmp
.type setjmp,@function
.type _setjmp,@function
.type __setjmp,@function
.p2align 5
setjmp:
_setjmp:
__setjmp:
	movq %rbx,%gs:(%edi)
	movq %rbp,%gs:8(%edi)
	movq %r12,%gs:16(%edi)
	movq %r13,%gs:24(%edi)
	movq %r15,%gs:32(%edi)
	movl $0x7A02,%eax
	call *0xF000(%r14)
	movq %rax,%gs:40(%edi)
	xorl %eax,%eax
	ret
.size setjmp,.-setjmp
.section .note.GNU-stack,"",@progbits
