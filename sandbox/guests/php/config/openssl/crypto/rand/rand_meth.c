/* In place of OpenSSL's own generator, which keeps a state in memory: instances that are cloned from one snapshot would share it, and all
 * of them draw the same keys. Every byte comes from the host. */
#include <sys/random.h>

#include <openssl/rand.h>
#include "crypto/rand/rand_local.h"

static int host_bytes(unsigned char *buffer, int count)
{
	while (count > 0) {
		ssize_t got = getrandom(buffer, (size_t) count, 0);
		if (got <= 0) {
			return 0;
		}
		buffer += got;
		count -= (int) got;
	}
	return 1;
}

/* There is no state that could be seeded. */
static int host_seed(const void *buffer, int count)
{
	return 1;
}

static int host_add(const void *buffer, int count, double randomness)
{
	return 1;
}

static int host_status(void)
{
	return 1;
}

RAND_METHOD ossl_rand_meth = { host_seed, host_bytes, NULL, host_add, host_bytes, host_status };

/* What OpenSSL does not ask for a function, but answers from its own states. There is none that it could mean here. */
RAND_METHOD *RAND_OpenSSL(void)
{
	return NULL;
}
