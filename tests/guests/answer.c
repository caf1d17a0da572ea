/*
 * A guest for tests of the server: answers each request by what its address says.
 *
 * It speaks the two calls itself, so that the tests need no PHP.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ACCEPT = 0x7A00, RESPOND = 0x7A01 };

static char request[300 * 1024];
static char answer[64 * 1024];
static size_t used;
static int served; /* one more with each request that this memory has seen */

static long trap(long number, const void *first, size_t second)
{
	long result;
	__asm__ volatile("syscall" : "=a"(result) : "0"(number), "D"(first), "S"(second) : "rcx", "r11", "memory");
	return result;
}

static uint32_t u32(const char *at)
{
	uint32_t value;
	memcpy(&value, at, 4);
	return value;
}

static void put(uint32_t value)
{
	memcpy(answer + used, &value, 4);
	used += 4;
}

/* The value of a variable, or "". The head is: version, length, u64 number, u64 time, 64 random bytes, count, 0. */
static const char *value(const char *name)
{
	const char *at = request + 4 + 4 + 8 + 8 + 64;
	uint32_t count = u32(at);
	for (at += 8; count > 0; count--) {
		const char *key = at + 8;
		const char *text = key + u32(at) + 1;
		if (strcmp(key, name) == 0) {
			return text;
		}
		at = text + u32(at + 4) + 1;
	}
	return "";
}

static void header(const char *name, const char *text)
{
	put(strlen(name));
	put(strlen(text));
	memcpy(answer + used, name, strlen(name) + 1);
	used += strlen(name) + 1;
	memcpy(answer + used, text, strlen(text) + 1);
	used += strlen(text) + 1;
}

static void respond(uint32_t status)
{
	used = 0;
	put(1);
	put(status);
	put(1);
	put(0);
	header("content-type", "text/plain");
	trap(RESPOND, answer, used);
}

static void say(const char *text)
{
	size_t left = strlen(text);
	while (left > 0) {
		ssize_t wrote = write(1, text, left);
		if (wrote <= 0) {
			return;
		}
		text += wrote;
		left -= wrote;
	}
}

static int recurse(volatile char *above)
{
	volatile char frame[4096];
	frame[0] = above[0];
	return recurse(frame) + frame[0];
}

static void act(const char *path)
{
	char line[512];
	if (strcmp(path, "/loop") == 0) {
		for (;;) {
		}
	} else if (strcmp(path, "/bomb") == 0) {
		for (;;) {
			char *more = malloc(1 << 20);
			if (more == NULL) {
				abort();
			}
			memset(more, 1, 1 << 20);
		}
	} else if (strcmp(path, "/hold") == 0) {
		char *held = malloc(48 << 20);
		for (;;) {
			memset(held, 1, 48 << 20);
		}
	} else if (strcmp(path, "/flood") == 0) {
		memset(line, 'x', sizeof line - 1);
		line[sizeof line - 1] = 0;
		for (;;) {
			say(line);
		}
	} else if (strcmp(path, "/deep") == 0) {
		line[0] = 1;
		exit(recurse(line));
	} else if (strcmp(path, "/silent") == 0) {
		exit(0);
	} else if (strcmp(path, "/fault") == 0) {
		*(volatile int *) 16 = 1;
	} else if (strcmp(path, "/large") == 0) {
		respond(200);
		memset(line, 'x', 500);
		line[500] = 0;
		for (int left = 2000; left > 0; left--) {
			say(line);
		}
	} else if (strcmp(path, "/live") == 0) {
		respond(200);
		for (int part = 0; part < 3; part++) {
			snprintf(line, sizeof line, "data: %d\n\n", part);
			say(line);
			fsync(1);
			usleep(500 * 1000);
		}
	} else if (strcmp(path, "/half") == 0) {
		respond(200);
		say("half");
		fsync(1);
		for (;;) {
		}
	} else if (strcmp(path, "/pour") == 0) {
		respond(200);
		memset(line, 'x', 500);
		line[500] = 0;
		for (int left = 6000; left > 0; left--) {
			say(line);
			if (left % 100 == 0) {
				fsync(1);
			}
		}
	} else if (strcmp(path, "/nothing") == 0) {
		respond(204);
		fsync(1);
		usleep(50 * 1000);
		fprintf(stderr, "the guest went on\n");
	} else if (strcmp(path, "/body") == 0) {
		ssize_t count;
		respond(200);
		while ((count = read(0, line, sizeof line)) > 0) {
			write(1, line, count);
		}
	} else if (strcmp(path, "/error") == 0) {
		fprintf(stderr, "the guest complains\n");
		respond(500);
		say("broken");
	} else {
		respond(200);
		snprintf(line, sizeof line, "%s %s served %d", value("REQUEST_METHOD"), value("REQUEST_URI"), served);
		say(line);
	}
}

int main(void)
{
	while (trap(ACCEPT, request, sizeof request) > 0) {
		served++;
		act(value("REQUEST_URI"));
	}
	return 0;
}
