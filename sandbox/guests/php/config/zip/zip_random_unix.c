/* In place of libzip's own, which opens /dev/urandom and draws from a state that all clones of a snapshot would share. */
#include <sys/random.h>

#include "zipint.h"

bool zip_secure_random(zip_uint8_t *buffer, zip_uint16_t length)
{
	size_t got = 0;
	while (got < length) {
		ssize_t more = getrandom(buffer + got, length - got, 0);
		if (more <= 0) {
			return false;
		}
		got += (size_t) more;
	}
	return true;
}

zip_uint32_t zip_random_uint32(void)
{
	zip_uint32_t value = 0;
	(void) zip_secure_random((zip_uint8_t *) &value, sizeof value);
	return value;
}
