# sandboxed assembly
# Program start: %rdi and %rbx point to argc, as on Linux; the data stack grows down from there.
.bundle_align_mode 5
.text
.globl _start
.type _start,@function
.p2align 5
_start:
	movl %gs:(%edi),%esi
	leal 8(%rdi),%edx
	movl $main,%edi
	movl $_init,%ecx
	movl $_fini,%r8d
	xorl %r9d,%r9d
	xorl %ebp,%ebp
	andl $-16,%ebx
	call __libc_start_main
	hlt
.size _start,.-_start
# Constructors run from .init_array; these names are only asked for.
.weak _init
.weak _fini
.type _init,@function
.type _fini,@function
.p2align 5
_init:
_fini:
	ret
.section .note.GNU-stack,"",@progbits
