/* The numbers of a C initializer as the bytes they stand for: an array of megabytes costs an assembler nothing and a compiler half
 * a minute. Reads `0xHH` and nothing else. */
#include <stdio.h>
#include <stdlib.h>

int main(void)
{
    char text[3] = "";
    int c, before = 0;
    while ((c = getchar()) != EOF) {
        if (before == '0' && c == 'x') {
            text[0] = (char)getchar();
            text[1] = (char)getchar();
            putchar((int)strtol(text, NULL, 16));
        }
        before = c;
    }
    return fflush(stdout) || ferror(stdin) ? 1 : 0;
}
