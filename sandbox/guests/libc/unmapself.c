#include "pthread_impl.h"
#include "atomic.h"

/* Ends a detached thread's own stack: there are no such threads. */
void __unmapself(void *base, size_t size)
{
	(void)base;
	(void)size;
	a_crash();
}
