#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef long long v2 __attribute__((vector_size(16), aligned(1), may_alias));

/* Short ones load everything before they store anything; long ones go in the direction that reads before it writes. */
void *memmove(void *dest, const void *src, size_t n)
{
	unsigned char *d = dest;
	const unsigned char *s = src;

	if ((uintptr_t)d - (uintptr_t)s >= n) {
		if ((uintptr_t)s - (uintptr_t)d >= n) return memcpy(dest, src, n);
		if (n < 16) {
			while (n--) *d++ = *s++;
			return dest;
		}
		v2 last = *(v2 *)(s + n - 16);
		unsigned char *end = d + n - 16;
		for (; n > 16; n -= 16, d += 16, s += 16) *(v2 *)d = *(v2 *)s;
		*(v2 *)end = last;
		return dest;
	}
	if (n < 16) {
		while (n--) d[n] = s[n];
		return dest;
	}
	v2 first = *(v2 *)s;
	for (; n > 16; n -= 16) *(v2 *)(d + n - 16) = *(v2 *)(s + n - 16);
	*(v2 *)d = first;
	return dest;
}
