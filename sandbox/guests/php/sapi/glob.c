/*
 * glob() with GLOB_BRACE, as glibc has it: {a,b} stands for the pattern with a and the pattern with b in its place, whose finds follow
 * one another, each list sorted by itself. Braces nest; {} and a brace without its partner stand for themselves.
 */
#include <glob.h>
#undef glob

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* More alternatives than this are somebody's mistake, or an attack: {a,b}{a,b}… doubles with each pair. */
#define PATTERNS_MAX 4096

struct search {
	int flags;
	int (*error)(const char *path, int number);
	glob_t *found;
	size_t patterns;
};

/* The end of an alternative: the comma or brace that ends it, or NULL. A character behind a backslash means nothing. */
static const char *alternative_end(const char *at, int flags)
{
	for (size_t depth = 0; *at != '\0'; at++) {
		if (*at == '\\' && !(flags & GLOB_NOESCAPE) && at[1] != '\0') {
			at++;
		} else if (*at == '{') {
			depth++;
		} else if (depth == 0 && (*at == ',' || *at == '}')) {
			return at;
		} else if (*at == '}') {
			depth--;
		}
	}
	return NULL;
}

/* The first brace that opens alternatives, or NULL. */
static const char *brace(const char *at, int flags)
{
	for (; *at != '\0'; at++) {
		if (*at == '\\' && !(flags & GLOB_NOESCAPE) && at[1] != '\0') {
			at++;
		} else if (*at == '{' && at[1] == '}') {
			at++;
		} else if (*at == '{') {
			return at;
		}
	}
	return NULL;
}

static int plain(const char *pattern, struct search *search)
{
	if (++search->patterns > PATTERNS_MAX) {
		return GLOB_NOSPACE;
	}
	/* What is found in no alternative is the caller's business, once they are all known. */
	int flags = search->flags & ~(GLOB_BRACE | GLOB_NOCHECK);
	int status = glob(pattern, search->patterns > 1 ? flags | GLOB_APPEND : flags, search->error, search->found);
	return status == GLOB_NOMATCH ? 0 : status;
}

static int expand(const char *pattern, struct search *search)
{
	const char *open = brace(pattern, search->flags), *end = open;
	while (end != NULL && (end == open || *end != '}')) {
		end = alternative_end(end + 1, search->flags);
	}
	if (end == NULL) {
		return plain(pattern, search);
	}
	size_t before = (size_t) (open - pattern), after = strlen(end + 1);
	int status = 0;
	for (const char *from = open + 1, *to; status == 0 && from <= end; from = to + 1) {
		to = alternative_end(from, search->flags);
		size_t size = (size_t) (to - from);
		char *one = malloc(before + size + after + 1);
		if (one == NULL) {
			return GLOB_NOSPACE;
		}
		memcpy(one, pattern, before);
		memcpy(one + before, from, size);
		memcpy(one + before + size, end + 1, after + 1);
		status = expand(one, search);
		free(one);
	}
	return status;
}

int zapp_glob(const char *restrict pattern, int flags, int (*error)(const char *path, int number), glob_t *restrict found)
{
	if (!(flags & GLOB_BRACE) || brace(pattern, flags) == NULL) {
		return glob(pattern, flags & ~GLOB_BRACE, error, found);
	}
	struct search search = { flags, error, found, (flags & GLOB_APPEND) != 0 };
	size_t already = search.patterns != 0 ? found->gl_pathc : 0;
	int status = expand(pattern, &search);
	if (status != 0 || found->gl_pathc > already) {
		return status;
	}
	return flags & GLOB_NOCHECK ? glob(pattern, (flags & ~GLOB_BRACE) | GLOB_APPEND, error, found) : GLOB_NOMATCH;
}
