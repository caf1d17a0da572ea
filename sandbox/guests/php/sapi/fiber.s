# sandboxed assembly
# boost's make_fcontext and jump_fcontext, as Zend/zend_fibers.c declares them, by the sandbox's fibers: a guest cannot exchange
# return stacks itself. Left to the guest are the data stack (rbx) and the registers that C code may not lose.
#
# A suspended context, which is what PHP calls a handle, lies on its own data stack:
#
#     0 number of its fiber   8 transfer   16 r12, or the function of a new one   24 r13   32 r15   40 rbp
#     48 the context that was switched to
#
# The host hands one value over, and everything else in the registers belongs to the other side. So the value is the
# context that was left, and the entry at 48 leads from there to one's own.
.bundle_align_mode 5

.data
.p2align 3
current:
	.quad 0
.size current,.-current

.text
# void *make_fcontext(void *stack_top, size_t size, void (*function)(struct { void *handle; void *transfer; }))
.globl make_fcontext
.type make_fcontext,@function
.p2align 5
make_fcontext:
	andl $-16,%edi
	subl $64,%edi
	movl %edi,%r8d
	movq %rdx,%gs:16(%r8d)
	movl %edi,%esi
	movl $entry,%edi
	movl $0x7A04,%eax
	call *0xF000(%r14)
	movq %rax,%gs:(%r8d)
	testq %rax,%rax
	jg 1f
	# No more fibers: like an allocation that fails in a place where PHP expects none to.
	hlt
1:
	movl %r8d,%eax
	ret
.size make_fcontext,.-make_fcontext

# struct { void *handle; void *transfer; } jump_fcontext(void *to, void *transfer)
.globl jump_fcontext
.type jump_fcontext,@function
.p2align 5
jump_fcontext:
	movq %gs:current,%rax
	movq %rax,%gs:-64(%ebx)
	movq %rsi,%gs:-56(%ebx)
	movq %r12,%gs:-48(%ebx)
	movq %r13,%gs:-40(%ebx)
	movq %r15,%gs:-32(%ebx)
	movq %rbp,%gs:-24(%ebx)
	movq %rdi,%gs:-16(%ebx)
	leal -64(%ebx),%esi
	movq %gs:(%edi),%rdi
	movl $0x7A05,%eax
	call *0xF000(%r14)
	# Somebody came back: eax is the context that was left for this one.
	movq %gs:48(%eax),%rdx
	movq %gs:16(%edx),%r12
	movq %gs:24(%edx),%r13
	movq %gs:32(%edx),%r15
	movq %gs:40(%edx),%rbp
	leal 64(%edx),%ebx
	movq %gs:(%edx),%rcx
	movq %rcx,%gs:current
	movq %gs:8(%eax),%rdx
	ret
.size jump_fcontext,.-jump_fcontext

# Where a new fiber begins, with the context that was left in rdi.
.type entry,@function
.p2align 5
entry:
	movq %gs:48(%edi),%rdx
	movq %gs:(%edx),%rcx
	movq %rcx,%gs:current
	movq %gs:8(%edi),%rsi
	movq %gs:16(%edx),%rax
	.bundle_lock
	andl $-32,%eax
	addq %r14,%rax
	call *%rax
	.bundle_unlock
	hlt
.size entry,.-entry

# void release_fcontext(void *handle): the fiber of a context that nobody will switch to again.
.globl release_fcontext
.type release_fcontext,@function
.p2align 5
release_fcontext:
	movq %gs:(%edi),%rdi
	movl $0x7A06,%eax
	call *0xF000(%r14)
	ret
.size release_fcontext,.-release_fcontext
.section .note.GNU-stack,"",@progbits
