/* Ends with a fault on a known line. */
#include <stdio.h>

static int *nowhere(void) { return 0; }

int main(void)
{
	puts("before");
	fflush(stdout);
	*(volatile int *)nowhere() = 1;
	puts("never");
	return 0;
}
