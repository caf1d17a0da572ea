#include <stddef.h>
#include <stdint.h>

typedef char v16 __attribute__((vector_size(16), may_alias));

/* Sixteen aligned bytes are read at a time: such a load never leaves the page of a byte that may be read. */
void *memchr(const void *src, int c, size_t n)
{
	if (!n) return NULL;
	char b = (char)c;
	v16 wanted = { b, b, b, b, b, b, b, b, b, b, b, b, b, b, b, b };
	size_t skew = (uintptr_t)src & 15;
	const char *block = (const char *)src - skew;
	/* Bit i: byte i of the block is the one; those before the start do not count. */
	unsigned found = (unsigned)__builtin_ia32_pmovmskb128(*(const v16 *)block == wanted) >> skew << skew;
	/* Bytes from the start of the block; as many as there can be when n is "up to where it must be". */
	size_t left = n + skew < n ? (size_t)-1 : n + skew;

	while (!found) {
		if (left <= 16) return NULL;
		left -= 16;
		block += 16;
		found = (unsigned)__builtin_ia32_pmovmskb128(*(const v16 *)block == wanted);
	}
	size_t at = (size_t)__builtin_ctz(found);
	return at < left ? (void *)(block + at) : NULL;
}
