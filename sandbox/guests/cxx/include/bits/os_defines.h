/* What GCC's headers want to know about the system, for musl in a sandbox. Found before the one for glibc. */
#ifndef _GLIBCXX_OS_DEFINES
#define _GLIBCXX_OS_DEFINES 1

#include <features.h>

#define _GLIBCXX_NO_OBSOLETE_ISINF_ISNAN_DYNAMIC 1
#define _GLIBCXX_NATIVE_THREAD_ID pthread_self()

/* The functions of threads are there, in a static libc, so none of them is looked for. */
#define _GLIBCXX_GTHREAD_USE_WEAK 0

/* The library holds no instances of templates: each program makes those it uses. */
#undef _GLIBCXX_EXTERN_TEMPLATE
#define _GLIBCXX_EXTERN_TEMPLATE 0

#endif
