/* One request and its answer, between the messages of host.h and the structures of PHP. */
#ifndef ZAPP_REQUEST_H
#define ZAPP_REQUEST_H

#include <stddef.h>
#include <stdbool.h>

/* A CGI variable. Both strings end in NUL as well, because half of PHP wants lengths and the other half C strings. */
struct request_variable {
	const char *name, *value;
	size_t name_size, value_size;
};

/* Waits for the next request. False when there will be none. */
bool request_accept(void);

/* 64 random bytes that no other instance has been given. */
const unsigned char *request_fresh_bytes(void);

size_t request_variable_count(void);
const struct request_variable *request_variable(size_t index);

/* The value of a variable, or NULL. */
const char *request_value(const char *name, size_t name_size);

/* Same, for a name that is written in the source. */
#define REQUEST_VALUE(name) request_value("" name, sizeof(name) - 1)

/* The answer's head is put together pair by pair, and sent once. False when it has grown beyond what may be sent. */
void answer_begin(int status);
bool answer_add(const char *name, size_t name_size, const char *value, size_t value_size);
bool answer_send(void);

/* Body bytes, collected to spare traps. False when nobody takes them any more. */
bool body_write(const char *bytes, size_t size);
bool body_flush(void);
/* The same, and the client is to have it before the script ends. */
bool body_publish(void);

#endif
