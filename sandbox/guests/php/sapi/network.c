/* A guest has no network. The libc would find that out by trying, and then speak of a "System error"; these functions, which are linked
 * before its own, say it in the words that PHP passes on: "getaddrinfo for example.com failed: a guest has no network". */
#include <netdb.h>

int getaddrinfo(const char *restrict name, const char *restrict service, const struct addrinfo *restrict hints,
	struct addrinfo **restrict found)
{
	return EAI_FAIL;
}

const char *gai_strerror(int code)
{
	return "a guest has no network";
}
