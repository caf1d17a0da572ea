#include <stddef.h>
#include <stdint.h>

/* Vector moves with overlapping ends: no loop below 128 bytes, no byte loop ever. */
typedef long long v2 __attribute__((vector_size(16), aligned(1), may_alias));
typedef uint64_t u64 __attribute__((aligned(1), may_alias));
typedef uint32_t u32 __attribute__((aligned(1), may_alias));
typedef uint16_t u16 __attribute__((aligned(1), may_alias));

void *memcpy(void *restrict dest, const void *restrict src, size_t n)
{
	unsigned char *d = dest;
	const unsigned char *s = src;

	if (n <= 16) {
		if (n >= 8) {
			u64 a = *(u64 *)s, b = *(u64 *)(s + n - 8);
			*(u64 *)d = a;
			*(u64 *)(d + n - 8) = b;
		} else if (n >= 4) {
			u32 a = *(u32 *)s, b = *(u32 *)(s + n - 4);
			*(u32 *)d = a;
			*(u32 *)(d + n - 4) = b;
		} else if (n >= 2) {
			u16 a = *(u16 *)s, b = *(u16 *)(s + n - 2);
			*(u16 *)d = a;
			*(u16 *)(d + n - 2) = b;
		} else if (n) {
			*d = *s;
		}
		return dest;
	}
	v2 last = *(v2 *)(s + n - 16);
	if (n <= 32) {
		v2 first = *(v2 *)s;
		*(v2 *)d = first;
		*(v2 *)(d + n - 16) = last;
		return dest;
	}
	unsigned char *end = d + n - 16;
	while (n > 64) {
		v2 a = *(v2 *)s, b = *(v2 *)(s + 16), c = *(v2 *)(s + 32), e = *(v2 *)(s + 48);
		*(v2 *)d = a;
		*(v2 *)(d + 16) = b;
		*(v2 *)(d + 32) = c;
		*(v2 *)(d + 48) = e;
		s += 64;
		d += 64;
		n -= 64;
	}
	while (n > 16) {
		*(v2 *)d = *(v2 *)s;
		s += 16;
		d += 16;
		n -= 16;
	}
	*(v2 *)end = last;
	return dest;
}
