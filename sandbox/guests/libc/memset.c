#include <stddef.h>
#include <stdint.h>

typedef uint8_t v16 __attribute__((vector_size(16)));
typedef uint8_t v16u __attribute__((vector_size(16), aligned(1), may_alias));
typedef uint64_t u64 __attribute__((aligned(1), may_alias));
typedef uint32_t u32 __attribute__((aligned(1), may_alias));
typedef uint16_t u16 __attribute__((aligned(1), may_alias));

void *memset(void *dest, int c, size_t n)
{
	unsigned char *d = dest;
	uint64_t word = 0x0101010101010101 * (unsigned char)c;

	if (n < 16) {
		if (n >= 8) {
			*(u64 *)d = word;
			*(u64 *)(d + n - 8) = word;
		} else if (n >= 4) {
			*(u32 *)d = (uint32_t)word;
			*(u32 *)(d + n - 4) = (uint32_t)word;
		} else if (n >= 2) {
			*(u16 *)d = (uint16_t)word;
			*(u16 *)(d + n - 2) = (uint16_t)word;
		} else if (n) {
			*d = (unsigned char)c;
		}
		return dest;
	}
	v16 v = (v16)(unsigned long long __attribute__((vector_size(16)))){ word, word };
	*(v16u *)(d + n - 16) = v;
	for (; n > 64; n -= 64, d += 64) {
		*(v16u *)d = v;
		*(v16u *)(d + 16) = v;
		*(v16u *)(d + 32) = v;
		*(v16u *)(d + 48) = v;
	}
	for (; n > 16; n -= 16, d += 16) *(v16u *)d = v;
	return dest;
}
