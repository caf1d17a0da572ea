/* host.h by the sandbox's own traps. The numbers lie beyond those of Linux. */
#include "host.h"

#include <unistd.h>

enum { TRAP_ACCEPT = 0x7A00, TRAP_RESPOND = 0x7A01 };

static int64_t trap(int64_t number, uintptr_t first, uintptr_t second)
{
	int64_t result;
	/* The guest compiler turns the instruction into a call through the sandbox's table. */
	__asm__ volatile("syscall" : "=a"(result) : "0"(number), "D"(first), "S"(second) : "rcx", "r11", "memory");
	return result;
}

int64_t host_accept(void *buffer, size_t size)
{
	return trap(TRAP_ACCEPT, (uintptr_t) buffer, size);
}

int64_t host_respond(const void *message, size_t size)
{
	return trap(TRAP_RESPOND, (uintptr_t) message, size);
}

void host_flush(void)
{
	/* It fails as for any stream, whether or not somebody takes what was written. */
	(void) fsync(STDOUT_FILENO);
}
