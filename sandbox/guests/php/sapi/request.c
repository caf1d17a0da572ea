#include "request.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "host.h"

/* The host answers longer request heads with 431, and refuses longer answers. */
#define REQUEST_SIZE_MAX (256 * 1024)
#define ANSWER_SIZE_MAX (32 * 1024)
#define VARIABLES_MAX 1024
/* An echo of a few bytes must not cost a trap. More than 16 KiB gains nothing and dirties pages of the clone. */
#define BODY_BUFFER_SIZE (16 * 1024)

/* Untouched pages of these cost nothing, so they are as large as they may ever need to be. */
static union {
	struct host_request_head head;
	char bytes[REQUEST_SIZE_MAX];
} message;
static struct request_variable variables[VARIABLES_MAX];
static size_t variable_count;

static union {
	struct host_response_head head;
	char bytes[ANSWER_SIZE_MAX];
} answer;
static size_t answer_size;

static char body[BODY_BUFFER_SIZE];
static size_t body_size;

/* Takes one string and its NUL off the message. */
static bool take(size_t *at, size_t end, size_t size, const char **text)
{
	if (size >= end - *at || message.bytes[*at + size] != '\0') {
		return false;
	}
	*text = message.bytes + *at;
	*at += size + 1;
	return true;
}

/* The host is trusted, but a message that lies about its sizes must end in a clear error, not in somebody's memory. */
static bool parse(size_t size)
{
	size_t at = sizeof message.head;
	variable_count = 0;
	if (size < at || size > sizeof message || message.head.size != size || message.head.version != HOST_VERSION
			|| message.head.pairs > VARIABLES_MAX) {
		return false;
	}
	while (variable_count < message.head.pairs) {
		uint32_t sizes[2];
		struct request_variable *variable = &variables[variable_count++];
		if (size - at < sizeof sizes) {
			return false;
		}
		memcpy(sizes, message.bytes + at, sizeof sizes);
		at += sizeof sizes;
		variable->name_size = sizes[0];
		variable->value_size = sizes[1];
		if (!take(&at, size, sizes[0], &variable->name) || !take(&at, size, sizes[1], &variable->value)) {
			return false;
		}
	}
	return at == size;
}

bool request_accept(void)
{
	body_size = 0;
	int64_t size = host_accept(&message, sizeof message);
	if (size == 0) {
		return false;
	}
	if (size < 0 || !parse((size_t) size)) {
		fprintf(stderr, "zapp: malformed request (%lld)\n", (long long) size);
		return false;
	}
	return true;
}

const unsigned char *request_fresh_bytes(void)
{
	return message.head.fresh;
}

size_t request_variable_count(void)
{
	return variable_count;
}

const struct request_variable *request_variable(size_t index)
{
	return &variables[index];
}

const char *request_value(const char *name, size_t name_size)
{
	for (size_t index = 0; index < variable_count; index++) {
		if (variables[index].name_size == name_size && memcmp(variables[index].name, name, name_size) == 0) {
			return variables[index].value;
		}
	}
	return NULL;
}

void answer_begin(int status)
{
	answer.head = (struct host_response_head) { HOST_VERSION, (uint32_t) status, 0, 0 };
	answer_size = sizeof answer.head;
}

bool answer_add(const char *name, size_t name_size, const char *value, size_t value_size)
{
	size_t room = sizeof answer - answer_size, ends = HOST_PAIR_HEAD + 2;
	if (room < ends || name_size > room - ends || value_size > room - ends - name_size) {
		return false;
	}
	uint32_t sizes[2] = { (uint32_t) name_size, (uint32_t) value_size };
	char *at = answer.bytes + answer_size;
	memcpy(at, sizes, sizeof sizes);
	memcpy(at += sizeof sizes, name, name_size);
	*(at += name_size) = '\0';
	memcpy(++at, value, value_size);
	at[value_size] = '\0';
	answer_size += ends + name_size + value_size;
	answer.head.pairs++;
	return true;
}

bool answer_send(void)
{
	return host_respond(&answer, answer_size) == 0;
}

static bool write_all(const char *bytes, size_t size)
{
	while (size > 0) {
		ssize_t wrote = write(STDOUT_FILENO, bytes, size);
		if (wrote < 0 && errno == EINTR) {
			continue;
		}
		if (wrote <= 0) {
			return false;
		}
		bytes += wrote;
		size -= (size_t) wrote;
	}
	return true;
}

bool body_flush(void)
{
	size_t size = body_size;
	body_size = 0;
	return write_all(body, size);
}

bool body_publish(void)
{
	if (!body_flush()) {
		return false;
	}
	host_flush();
	return true;
}

bool body_write(const char *bytes, size_t size)
{
	if (size > sizeof body - body_size && !body_flush()) {
		return false;
	}
	if (size > sizeof body) {
		return write_all(bytes, size);
	}
	memcpy(body + body_size, bytes, size);
	body_size += size;
	return true;
}
