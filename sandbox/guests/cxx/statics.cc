// Static objects: those of functions are made once, those of threads (there is one) and of the program end in reverse order.

#include <cstdint>

#include "zapp_cxx.h"

extern "C" {

// Names a program or a shared object to __cxa_atexit. A guest is one program.
__attribute__((visibility("hidden"))) void *__dso_handle = nullptr;

int __cxa_atexit(void (*destructor)(void *), void *object, void *program);

int __cxa_thread_atexit(void (*destructor)(void *), void *object, void *program)
{
	return __cxa_atexit(destructor, object, program);
}

// The first byte says that the object has been made, by the ABI; the second one that it is being made.
int __cxa_guard_acquire(std::uint64_t *guard)
{
	char *state = reinterpret_cast<char *>(guard);
	if (state[0])
		return 0;
	if (state[1])
		zapp_end("__gnu_cxx::recursive_init_error", "std::exception");
	state[1] = 1;
	return 1;
}

void __cxa_guard_release(std::uint64_t *guard)
{
	char *state = reinterpret_cast<char *>(guard);
	state[0] = 1;
	state[1] = 0;
}

void __cxa_guard_abort(std::uint64_t *guard)
{
	reinterpret_cast<char *>(guard)[1] = 0;
}

}
