# sandboxed assembly
# void longjmp(jmp_buf, int): the host goes back to the numbered place, if it is still there, and never returns here.
.bundle_align_mode 5
.text
.globl longjmp
.globl _longjmp
.type longjmp,@function
.type _longjmp,@function
.p2align 5
longjmp:
_longjmp:
	movl $1,%eax
	testl %esi,%esi
	cmovel %eax,%esi
	movl %gs:(%edi),%ebx
	movq %gs:8(%edi),%rbp
	movq %gs:16(%edi),%r12
	movq %gs:24(%edi),%r13
	movq %gs:32(%edi),%r15
	movq %gs:40(%edi),%rdi
	movl $0x7A03,%eax
	call *0xF000(%r14)
	hlt
.size longjmp,.-longjmp
.section .note.GNU-stack,"",@progbits
