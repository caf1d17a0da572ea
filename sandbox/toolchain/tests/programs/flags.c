/* The same comparison in front of a switch and in its arms: from -O2 GCC makes it once and keeps the flags across the jump
   through the table. */
#include <stdio.h>

static __attribute__((noinline)) int before(int kind, int min, int max, const unsigned char *p)
{
	int n = 0;

	if (min > max) max = -1;
	switch (kind) {
	case 0: if (min < max) n += p[0]; else n -= 1; break;
	case 1: if (min < max) n += p[1] * 3; else n -= 2; break;
	case 2: if (min < max) n += p[2] * 5; else n -= 3; break;
	case 3: if (min < max) n ^= p[3] * 7; else n -= 4; break;
	case 4: if (min < max) n += p[0] * p[1]; else n -= 5; break;
	case 5: if (min < max) n += p[2] - p[1]; else n -= 6; break;
	case 6: if (min < max) n += p[3] + p[1]; else n -= 7; break;
	default: n = min < max;
	}
	return n;
}

static __attribute__((noinline)) unsigned in_each(unsigned kind, unsigned x, unsigned y)
{
	switch (kind) {
	case 0: return x < y ? 10 : 20;
	case 1: return x < y ? 31 : 11;
	case 2: return x + y;
	case 3: return x < y ? x * 3 : y * 5;
	case 4: return x * y;
	case 5: return x < y ? x ^ y : 9;
	case 6: return x - y;
	}
	return x < y;
}

int main(void)
{
	const unsigned char bytes[] = {3, 5, 7, 11};

	for (int kind = 0; kind < 9; kind++) {
		for (int x = -2; x < 3; x++)
			for (int y = -2; y < 3; y++)
				printf(" %d %u", before(kind, x, y, bytes), in_each(kind, x, y));
		putchar('\n');
	}
	return 0;
}
