/*
 * Included before each source of opcache. Its "shared" memory is this process's own, and nobody competes for it: the locks
 * (a file and fcntl) have nothing to do, and a clone of a snapshot must not wait for, or create, a file.
 */
#ifndef ZAPP_OPCACHE_SHIM_H
#define ZAPP_OPCACHE_SHIM_H

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* fcntl, as opcache uses it: a lock is always free, a descriptor has no flags. */
static inline int zapp_no_lock(int command, struct flock *lock)
{
	if (command == F_GETLK && lock != NULL) {
		lock->l_type = F_UNLCK;
	}
	return 0;
}
/* The third argument is a pointer for locks and an int for flags; opcache's flags are all 0. */
#define fcntl(file, command, argument) zapp_no_lock((command), (struct flock *) (uintptr_t) (argument))

/* A number no descriptor has, so that closing it closes nothing. */
#define mkstemp(name) ((void) (name), INT_MAX)
static inline int zapp_no_file(void)
{
	return 0;
}
#define fchmod(file, mode) zapp_no_file()

/* root preloads in a child, as another user. There is neither here: opcache.preload runs in this process. */
#define geteuid() ((uid_t) 1)

#undef MAP_SHARED
#define MAP_SHARED MAP_PRIVATE
/* Huge pages and the low 2 GiB are promises about a memory this program does not have. */
#undef MAP_HUGETLB
#undef MAP_32BIT

#endif
