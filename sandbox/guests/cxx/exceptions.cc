// The classes of exceptions, without anything that throws them: who would throw ends the program through std::terminate.

#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <memory>
#include <new>
#include <stdexcept>
#include <typeinfo>

#include "zapp_cxx.h"

static std::terminate_handler terminator;
static const char *pending_name, *pending_what;

void zapp_end(const char *exception, const char *what)
{
	pending_name = exception;
	pending_what = what;
	std::terminate();
}

namespace std {

terminate_handler set_terminate(terminate_handler now) noexcept
{
	terminate_handler before = terminator;
	terminator = now;
	return before;
}

terminate_handler get_terminate() noexcept
{
	return terminator ? terminator : abort;
}

// In the words of libstdc++.
void terminate() noexcept
{
	if (terminator)
		terminator();
	else if (pending_name) {
		fprintf(stderr, "terminate called after throwing an instance of '%s'\n", pending_name);
		if (pending_what)
			fprintf(stderr, "  what():  %s\n", pending_what);
	} else
		fputs("terminate called without an active exception\n", stderr);
	abort();
}

bool uncaught_exception() noexcept { return false; }
int uncaught_exceptions() noexcept { return 0; }

exception::~exception() noexcept {}
const char *exception::what() const noexcept { return "std::exception"; }
bad_exception::~bad_exception() noexcept {}
const char *bad_exception::what() const noexcept { return "std::bad_exception"; }
bad_alloc::~bad_alloc() noexcept {}
const char *bad_alloc::what() const noexcept { return "std::bad_alloc"; }
bad_array_new_length::~bad_array_new_length() noexcept {}
const char *bad_array_new_length::what() const noexcept { return "std::bad_array_new_length"; }
bad_cast::~bad_cast() noexcept {}
const char *bad_cast::what() const noexcept { return "std::bad_cast"; }
bad_typeid::~bad_typeid() noexcept {}
const char *bad_typeid::what() const noexcept { return "std::bad_typeid"; }
bad_weak_ptr::~bad_weak_ptr() noexcept {}
const char *bad_weak_ptr::what() const noexcept { return "bad_weak_ptr"; }

void __throw_bad_exception() { zapp_end("std::bad_exception", "std::bad_exception"); }
void __throw_bad_alloc() { zapp_end("std::bad_alloc", "std::bad_alloc"); }
void __throw_bad_array_new_length() { zapp_end("std::bad_array_new_length", "std::bad_array_new_length"); }
void __throw_bad_cast() { zapp_end("std::bad_cast", "std::bad_cast"); }
void __throw_bad_typeid() { zapp_end("std::bad_typeid", "std::bad_typeid"); }
void __throw_bad_function_call() { zapp_end("std::bad_function_call", "bad_function_call"); }
void __throw_logic_error(const char *what) { zapp_end("std::logic_error", what); }
void __throw_domain_error(const char *what) { zapp_end("std::domain_error", what); }
void __throw_invalid_argument(const char *what) { zapp_end("std::invalid_argument", what); }
void __throw_length_error(const char *what) { zapp_end("std::length_error", what); }
void __throw_out_of_range(const char *what) { zapp_end("std::out_of_range", what); }
void __throw_runtime_error(const char *what) { zapp_end("std::runtime_error", what); }
void __throw_range_error(const char *what) { zapp_end("std::range_error", what); }
void __throw_overflow_error(const char *what) { zapp_end("std::overflow_error", what); }
void __throw_underflow_error(const char *what) { zapp_end("std::underflow_error", what); }
void __throw_system_error(int error) { zapp_end("std::system_error", strerror(error)); }

// Its own little printf: of %s, %zu and %%, as libstdc++'s.
void __throw_out_of_range_fmt(const char *format, ...)
{
	static char text[512];
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(text, sizeof text, format, arguments);
	va_end(arguments);
	zapp_end("std::out_of_range", text);
}

}

namespace __cxxabiv1 {

extern "C" {
void __cxa_pure_virtual()
{
	std::fputs("pure virtual method called\n", stderr);
	std::terminate();
}

void __cxa_deleted_virtual()
{
	std::fputs("deleted virtual method called\n", stderr);
	std::terminate();
}

void __cxa_bad_cast() { std::__throw_bad_cast(); }
void __cxa_bad_typeid() { std::__throw_bad_typeid(); }
void __cxa_throw_bad_array_new_length() { std::__throw_bad_array_new_length(); }
}

}
