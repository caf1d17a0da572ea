# sandboxed assembly
# int sigsetjmp(sigjmp_buf, int): guests have no signals, so there is no mask to keep.
.bundle_align_mode 5
.text
.globl sigsetjmp
.globl __sigsetjmp
.type sigsetjmp,@function
.type __sigsetjmp,@function
.p2align 5
sigsetjmp:
__sigsetjmp:
	jmp setjmp
.size sigsetjmp,.-sigsetjmp
.section .note.GNU-stack,"",@progbits
