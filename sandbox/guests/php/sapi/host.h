/*
 * What this guest asks of the world around it, beside the Linux calls that libc makes.
 *
 * host_guest.c asks the sandbox, by two traps. host_native.c is the same interface for an ordinary process, so that one
 * PHP can be compared inside and outside the sandbox: it speaks CGI.
 *
 * Both messages are little-endian and end in pairs of the same form, without padding:
 *
 *     u32 length of the name, u32 length of the value, the name, NUL, the value, NUL
 */
#ifndef ZAPP_HOST_H
#define ZAPP_HOST_H

#include <stddef.h>
#include <stdint.h>

#define HOST_VERSION 1
#define HOST_PAIR_HEAD 8

/* What host_accept writes, before the pairs: CGI variables. */
struct host_request_head {
	uint32_t version;
	uint32_t size; /* of the whole message */
	uint64_t number;
	uint64_t nanoseconds; /* since 1970 */
	unsigned char fresh[64]; /* random, and different in every clone of a snapshot */
	uint32_t pairs;
	uint32_t zero;
};

/* What host_respond takes, before the pairs: header fields. The first one may be CGI's own, the status in words: "Status", "419 Page Expired". */
struct host_response_head {
	uint32_t version;
	uint32_t status;
	uint32_t pairs;
	uint32_t zero;
};

/*
 * Waits for the next request and writes it to the buffer. The request's body is read from descriptor 0. Returns the size of
 * the message, 0 when there will be no further request, or a negative errno. The sandbox freezes a warmed instance
 * inside this call: each clone returns from it with a request of its own.
 */
int64_t host_accept(void *buffer, size_t size);

/* Hands over status and headers, once, before the first byte of the body goes to descriptor 1. Returns 0 or a negative errno. */
int64_t host_respond(const void *message, size_t size);

/* What was written to descriptor 1 is for the client now, not only at the end. */
void host_flush(void);

#endif
