// What the parts of the library share.
#pragma once

// Ends the program where a library with exceptions would throw this one: std::terminate is called, and by default says so.
[[noreturn]] __attribute__((visibility("hidden"))) void zapp_end(const char *exception, const char *what);
