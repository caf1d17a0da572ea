/*
 * host.h for an ordinary process, by the rules of CGI (RFC 3875): variables in the environment, body on stdin, header
 * lines and body on stdout. Three additions serve measurements and comparisons on one warm interpreter:
 *
 *     ZAPP_REQUESTS=FILE   answers the lines of FILE instead of one request: PATH[?QUERY], or POST PATH[?QUERY] BODYFILE
 *     ZAPP_REPEAT=N        answers everything N times; only the last round is kept
 *     ZAPP_OUTPUT=DIR      keeps the answer to line K (from 0) in the file DIR/K instead of printing it
 */
#include "host.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static struct {
	char **lines; /* an empty line is the request of the environment */
	size_t count, next;
	int rounds_left;
	int real_stdout;
} list;

struct message {
	char *bytes;
	size_t size, used;
	uint32_t pairs;
	int overflow;
};

static void fail(const char *what)
{
	perror(what);
	exit(2);
}

static void add(struct message *message, const char *name, size_t name_size, const char *value)
{
	size_t value_size = strlen(value), size = HOST_PAIR_HEAD + name_size + 1 + value_size + 1;
	if (size > message->size - message->used) {
		message->overflow = 1;
		return;
	}
	uint32_t sizes[2] = { (uint32_t) name_size, (uint32_t) value_size };
	char *at = message->bytes + message->used;
	memcpy(at, sizes, sizeof sizes);
	memcpy(at += sizeof sizes, name, name_size);
	at[name_size] = '\0';
	memcpy(at + name_size + 1, value, value_size + 1);
	message->used += size;
	message->pairs++;
}

static void read_list(const char *path)
{
	FILE *file = fopen(path, "r");
	char *line = NULL;
	size_t room = 0;
	ssize_t size;
	if (file == NULL) {
		fail(path);
	}
	while ((size = getline(&line, &room, file)) >= 0) {
		if (size > 0 && line[size - 1] == '\n') {
			line[size - 1] = '\0';
		}
		list.lines = realloc(list.lines, (list.count + 1) * sizeof *list.lines);
		list.lines[list.count++] = strdup(line);
	}
	free(line);
	fclose(file);
}

static void start(void)
{
	static char *only[] = { "" };
	const char *path = getenv("ZAPP_REQUESTS"), *repeat = getenv("ZAPP_REPEAT");
	list.rounds_left = repeat != NULL ? atoi(repeat) : 1;
	list.real_stdout = dup(STDOUT_FILENO);
	if (path != NULL) {
		read_list(path);
	} else {
		list.lines = only;
		list.count = 1;
	}
}

/* Points stdout to where the answer of this line belongs. */
static void direct_output(size_t line)
{
	const char *directory = getenv("ZAPP_OUTPUT");
	char path[4096] = "/dev/null";
	if (list.rounds_left == 1 && directory == NULL) {
		dup2(list.real_stdout, STDOUT_FILENO);
		return;
	}
	if (list.rounds_left == 1) {
		snprintf(path, sizeof path, "%s/%zu", directory, line);
	}
	int file = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
	if (file < 0 || dup2(file, STDOUT_FILENO) < 0) {
		fail(path);
	}
	close(file);
}

/* Points stdin to the body and tells its size. */
static void add_body(struct message *message, const char *path)
{
	char digits[24];
	struct stat status;
	int file = open(path, O_RDONLY);
	if (file < 0 || fstat(file, &status) != 0 || dup2(file, STDIN_FILENO) < 0) {
		fail(path);
	}
	close(file);
	snprintf(digits, sizeof digits, "%lld", (long long) status.st_size);
	add(message, "CONTENT_LENGTH", 14, digits);
	add(message, "CONTENT_TYPE", 12, "application/x-www-form-urlencoded");
}

static void add_line(struct message *message, const char *line)
{
	char target[8192], body[4096];
	int post = sscanf(line, "POST %8191s %4095s", target, body) == 2;
	if (post) {
		add_body(message, body);
	} else {
		snprintf(target, sizeof target, "%s", line);
	}
	const char *query = strchr(target, '?');
	add(message, "REQUEST_METHOD", 14, post ? "POST" : "GET");
	add(message, "REQUEST_URI", 11, target);
	add(message, "QUERY_STRING", 12, query != NULL ? query + 1 : "");
}

/* Whether a line of the list says what this variable of the environment says. */
static int overridden(const char *variable, const char *line)
{
	static const char *const names[] = { "REQUEST_METHOD=", "REQUEST_URI=", "QUERY_STRING=", "CONTENT_LENGTH=", "CONTENT_TYPE=" };
	for (size_t index = 0; *line != '\0' && index < sizeof names / sizeof *names; index++) {
		if (strncmp(variable, names[index], strlen(names[index])) == 0) {
			return 1;
		}
	}
	return 0;
}

int64_t host_accept(void *buffer, size_t size)
{
	struct host_request_head *head = buffer;
	struct message message = { buffer, size, sizeof *head, 0, 0 };
	static uint64_t number;
	struct timespec now;
	if (list.lines == NULL) {
		start();
	}
	if (list.next == list.count) {
		list.next = 0;
		list.rounds_left--;
	}
	if (list.rounds_left <= 0 || list.count == 0) {
		return 0;
	}
	const char *line = list.lines[list.next];
	direct_output(list.next++);
	for (char **variable = environ; *variable != NULL; variable++) {
		const char *equals = strchr(*variable, '=');
		if (equals != NULL && !overridden(*variable, line)) {
			add(&message, *variable, (size_t) (equals - *variable), equals + 1);
		}
	}
	if (*line != '\0') {
		add_line(&message, line);
	}
	clock_gettime(CLOCK_REALTIME, &now);
	*head = (struct host_request_head) { .version = HOST_VERSION, .size = (uint32_t) message.used, .number = ++number,
		.nanoseconds = (uint64_t) now.tv_sec * 1000000000 + (uint64_t) now.tv_nsec, .pairs = message.pairs };
	if (getentropy(head->fresh, sizeof head->fresh) != 0) {
		fail("getentropy");
	}
	return message.overflow ? -E2BIG : (int64_t) message.used;
}

int64_t host_respond(const void *bytes, size_t size)
{
	const struct host_response_head *response = bytes;
	const char *at = (const char *) (response + 1), *end = (const char *) bytes + size;
	char text[65536];
	/* A status in words is the first pair. */
	int worded = response->pairs > 0 && strcmp(at + HOST_PAIR_HEAD, "Status") == 0;
	size_t used = worded ? 0 : (size_t) snprintf(text, sizeof text, "Status: %u\r\n", response->status);
	while (at < end) {
		uint32_t sizes[2];
		memcpy(sizes, at, sizeof sizes);
		const char *name = at + sizeof sizes, *value = name + sizes[0] + 1;
		int wrote = snprintf(text + used, sizeof text - used, "%s: %s\r\n", name, value);
		if (wrote < 0 || (used += (size_t) wrote) + 2 > sizeof text) {
			return -E2BIG;
		}
		at = value + sizes[1] + 1;
	}
	memcpy(text + used, "\r\n", 2);
	return write(STDOUT_FILENO, text, used + 2) == (ssize_t) (used + 2) ? 0 : -EIO;
}

void host_flush(void)
{
	/* Written is sent. */
}
