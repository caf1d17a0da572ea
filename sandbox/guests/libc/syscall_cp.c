#include "pthread_impl.h"
#include "syscall.h"

/* System calls as cancellation points: with one thread nobody cancels, so they are plain traps. The marks of the range in
   which a cancellation would be noticed exist and are empty. */
hidden const char __cp_begin[1] = "", __cp_end[1] = "", __cp_cancel[1] = "";

hidden long __syscall_cp_asm(volatile void *cancel, syscall_arg_t nr, syscall_arg_t a, syscall_arg_t b, syscall_arg_t c,
                             syscall_arg_t d, syscall_arg_t e, syscall_arg_t f)
{
	(void)cancel;
	return __syscall(nr, a, b, c, d, e, f);
}
