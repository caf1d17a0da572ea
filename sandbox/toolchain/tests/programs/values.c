/* Values: floating point of three sizes, 128-bit integers, complex numbers, vectors, thread-local and atomic variables. */
#include <complex.h>
#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static __thread int local = 5;
static __thread char words[40] = "thread-local text";
static __thread int zero;
static atomic_int counter;
static _Atomic long long large;

typedef int four __attribute__((vector_size(16)));
struct big { long a[20]; };

static struct big change(struct big b, int i) { b.a[i] += i; return b; }
static long double square(long double x) { return x * x + 1.25L; }

int main(int argc, char **argv)
{
	volatile double one = argc;
	volatile long double ten = 10.5L * argc;
	printf("%d %s %d %d\n", local++, words, ++zero, local);
	atomic_fetch_add(&counter, 5);
	atomic_store(&large, 7);
	int old = atomic_exchange(&counter, 9), expected = 9;
	printf("%d %d %d %lld\n", old, atomic_compare_exchange_strong(&counter, &expected, 11), counter, large);
	printf("%Lf %Lg %La\n", square(3.5L), square(1e100L), 0.1L);
	printf("%.17g %a %e\n", sqrt(2) * one, sin(one), exp(2.5 * one));
	printf("%Lf %Lf %Lf %Lf\n", floorl(-ten), ceill(ten), truncl(-ten), expl(ten));
	printf("%ld %lld %d %u\n", lrint(2.5 * one), llround(3.5 * one), (int)square(7.9L), (unsigned)(3e9 * one));
	printf("%.3f %.3f %.3f\n", floor(-2.5 * one), fma(one, 2, 3), fmod(7.5, 2 * one));
	unsigned __int128 n = (unsigned __int128)12345678901234567u << 40, d = 987654321987u + argc;
	printf("%llx %llx\n", (unsigned long long)(n / d), (unsigned long long)(n % d));
	d = d << 70 | 12345;
	n = ~(unsigned __int128)0 / 3;
	printf("%llx %llx\n", (unsigned long long)(n / d), (unsigned long long)(n % d));
	__int128 m = -(__int128)n;
	printf("%lld %lld %g %Lg\n", (long long)(m / 1000000007 / (1ll << 60)), (long long)(m % 1000003), (double)m, (long double)m);
	double complex z = cexp(one + 2 * I) / (3 - I);
	printf("%g %g %g\n", creal(z), cimag(z), cabs(z * z));
	four v = { 1, 2, 3, argc };
	v = v * v + v;
	printf("%d %d %d %d\n", v[0], v[1], v[2], v[3]);
	struct big b = change((struct big){ { 1, 2, 3 } }, 2);
	printf("%ld\n", b.a[2]);
	char text[300];
	snprintf(text, sizeof text, "%-10s|%05d|%x|%c|%5.2f|%p", "abc", 42, 255, 'z', 3.14159, (void *)0x1234);
	puts(text);
	double parsed;
	sscanf("3.25e2 77", "%lf %d", &parsed, &old);
	printf("%g %d\n", parsed, old);
	for (int i = 0; i < 200; i++) {
		memset(text, '.', sizeof text);
		for (int k = 0; k < 100; k++) text[k] = (char)('A' + k % 26);
		memmove(text + i / 2, text + 7, (size_t)i / 2);
		memcpy(text + 200, text, (size_t)i / 2);
		unsigned hash = 0;
		for (size_t k = 0; k < sizeof text; k++) hash = hash * 31 + (unsigned char)text[k];
		if (i % 20 == 19) printf("%u\n", hash);
	}
	void *blocks[100];
	for (int i = 0; i < 100; i++) memset(blocks[i] = malloc((size_t)i * 1000 + 1), i, (size_t)i * 1000 + 1);
	for (int i = 0; i < 100; i++) free(blocks[i]);
	printf("%d %s\n", memcmp("abc", "abd", 3) < 0, strstr("hello world", "wor"));
	return argv[0] ? 0 : 1;
}
