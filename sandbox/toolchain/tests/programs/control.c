/* Control flow the rewriter has to follow: jump tables, computed goto, alloca, variable arrays, setjmp, tail calls. */
#include <alloca.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static jmp_buf place;

static void deep(int n)
{
	char frame[100];
	memset(frame, n, sizeof frame);
	if (n == 0) longjmp(place, 7);
	deep(n - 1);
	printf("never %d\n", frame[3]);
}

static int table(int x)
{
	switch (x) {
	case 0: return 3;
	case 1: return 9;
	case 2: return 27;
	case 3: return table(x - 1) + 1;
	case 4: abort();
	case 5: return 243;
	case 6: return puts("six");
	default: return -1;
	}
}

static int threaded(const char *code)
{
	static void *labels[] = { &&inc, &&dec, &&dbl, &&end };
	int a = 1;
#define NEXT goto *labels[*code++ - '0']
	NEXT;
inc: a++; NEXT;
dec: a--; NEXT;
dbl: a *= 2; NEXT;
end: return a;
}

static char *dynamic(int n)
{
	char *p = alloca(n);
	for (int i = 0; i < 3; i++) {
		char q[n + i];
		memset(q, 'a' + i, n - 1);
		q[n - 1] = 0;
		strcpy(p, q);
	}
	return strdup(p);
}

static long sum(int n, ...)
{
	va_list args;
	long total = 0;
	va_start(args, n);
	for (int i = 0; i < n; i++) total += i & 1 ? (long)(va_arg(args, double) * 10) : va_arg(args, int);
	va_end(args);
	return total;
}

static int even(unsigned n);
static int odd(unsigned n) { return n == 0 ? 0 : even(n - 1); }
static int even(unsigned n) { return n == 0 ? 1 : odd(n - 1); }

static int by_number(const void *a, const void *b) { return *(const int *)a - *(const int *)b; }
static int eight(int a, int b, int c, int d, int e, int f, int g, int h) { return a + 2 * b + 3 * c + 4 * d + 5 * e + 6 * f + 7 * g + 8 * h; }

int main(void)
{
	for (int i = 0; i < 3; i++) {
		int came = setjmp(place);
		if (came == 0) deep(20 + i);
		printf("longjmp %d\n", came);
	}
	for (int i = -1; i < 8; i++) if (i != 4) printf("%d\n", table(i));
	printf("%d\n", threaded("00221200123"));
	char *text = dynamic(33);
	printf("%s %zu\n", text, strlen(text));
	free(text);
	printf("%ld\n", sum(6, 1, 2.5, 3, 4.5, 5, 6.5));
	printf("%d %d\n", even(1000), odd(1000));
	int numbers[] = { 5, 3, 9, 1, 7, 2 };
	qsort(numbers, 6, sizeof *numbers, by_number);
	for (int i = 0; i < 6; i++) printf("%d ", numbers[i]);
	int (*volatile pointer)(int, int, int, int, int, int, int, int) = eight;
	printf("\n%d\n", pointer(1, 2, 3, 4, 5, 6, 7, 8));
	return 3;
}
