/* What GCC's configure found out about glibc, less what musl does not have. Found before it. */
#pragma GCC system_header
#include_next <bits/c++config.h>

#undef _GLIBCXX_HAVE_ARC4RANDOM
#undef _GLIBCXX_HAVE_EXECINFO_H
#undef _GLIBCXX_HAVE_GETS
#undef _GLIBCXX_HAVE_SYS_SDT_H
#undef _GLIBCXX_USE_PTHREAD_COND_CLOCKWAIT
#undef _GLIBCXX_USE_PTHREAD_MUTEX_CLOCKLOCK
#undef _GLIBCXX_USE_PTHREAD_RWLOCK_CLOCKLOCK
#undef _GLIBCXX_USE_UCHAR_C8RTOMB_MBRTOC8_CXX20
#undef _GLIBCXX_USE_UCHAR_C8RTOMB_MBRTOC8_FCHAR8_T

/* call_once remembers what it calls in plain variables: there is one thread, and GCC's way of storing an address of the stack in a
   thread-local one is not known to the rewriter. */
#undef _GLIBCXX_HAVE_TLS
