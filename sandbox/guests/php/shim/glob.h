/* Found before musl's header: the same with GLOB_BRACE, which musl does not have and sites do. See sapi/glob.c. */
#ifndef ZAPP_GLOB_H
#define ZAPP_GLOB_H

#include_next <glob.h>

/* As in glibc. */
#define GLOB_BRACE (1 << 10)

int zapp_glob(const char *restrict pattern, int flags, int (*error)(const char *path, int number), glob_t *restrict found);
#define glob(pattern, flags, error, found) zapp_glob(pattern, flags, error, found)

#endif
