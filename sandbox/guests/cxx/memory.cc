// new and delete. Memory that cannot be had ends the program, because nothing can be thrown; the forms with nothrow return null.

#include <cstdlib>
#include <new>

#include "zapp_cxx.h"

namespace {

std::new_handler handler;

// At least one byte: each object has an address of its own.
void *allocate(std::size_t size, std::size_t alignment) noexcept
{
	if (size == 0)
		size = 1;
	for (;;) {
		void *memory = nullptr;
		if (alignment <= __STDCPP_DEFAULT_NEW_ALIGNMENT__)
			memory = std::malloc(size);
		else if (posix_memalign(&memory, alignment, size) != 0)
			memory = nullptr;
		if (memory || !handler)
			return memory;
		// It frees something and returns, or does not return.
		handler();
	}
}

void *allocate_or_end(std::size_t size, std::size_t alignment) noexcept
{
	if (void *memory = allocate(size, alignment))
		return memory;
	zapp_end("std::bad_alloc", nullptr);
}

}

namespace std {

const nothrow_t nothrow{};

new_handler set_new_handler(new_handler now) noexcept
{
	new_handler before = handler;
	handler = now;
	return before;
}

new_handler get_new_handler() noexcept
{
	return handler;
}

}

#define ALIGNED static_cast<std::size_t>(alignment)

void *operator new(std::size_t size) { return allocate_or_end(size, 0); }
void *operator new[](std::size_t size) { return ::operator new(size); }
void *operator new(std::size_t size, const std::nothrow_t &) noexcept { return allocate(size, 0); }
void *operator new[](std::size_t size, const std::nothrow_t &) noexcept { return ::operator new(size, std::nothrow); }
void *operator new(std::size_t size, std::align_val_t alignment) { return allocate_or_end(size, ALIGNED); }
void *operator new[](std::size_t size, std::align_val_t alignment) { return ::operator new(size, alignment); }
void *operator new(std::size_t size, std::align_val_t alignment, const std::nothrow_t &) noexcept { return allocate(size, ALIGNED); }
void *operator new[](std::size_t size, std::align_val_t alignment, const std::nothrow_t &) noexcept
{
	return ::operator new(size, alignment, std::nothrow);
}

// A program may replace the plain forms, and all others go by way of them.
void operator delete(void *memory) noexcept { std::free(memory); }
void operator delete[](void *memory) noexcept { ::operator delete(memory); }
void operator delete(void *memory, std::size_t) noexcept { ::operator delete(memory); }
void operator delete[](void *memory, std::size_t) noexcept { ::operator delete[](memory); }
void operator delete(void *memory, const std::nothrow_t &) noexcept { ::operator delete(memory); }
void operator delete[](void *memory, const std::nothrow_t &) noexcept { ::operator delete[](memory); }
void operator delete(void *memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete[](void *memory, std::align_val_t alignment) noexcept { ::operator delete(memory, alignment); }
void operator delete(void *memory, std::size_t, std::align_val_t alignment) noexcept { ::operator delete(memory, alignment); }
void operator delete[](void *memory, std::size_t, std::align_val_t alignment) noexcept { ::operator delete[](memory, alignment); }
void operator delete(void *memory, std::align_val_t alignment, const std::nothrow_t &) noexcept { ::operator delete(memory, alignment); }
void operator delete[](void *memory, std::align_val_t alignment, const std::nothrow_t &) noexcept { ::operator delete[](memory, alignment); }
