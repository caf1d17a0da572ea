/*
 * One program with two faces:
 *
 *     php --web [-d NAME=VALUE]...    answers requests from the host, one after another
 *     php ...                         PHP's own command line
 *
 * One program, because it is verified and mapped once, and because a site then runs on the very interpreter one can ask
 * about it on the command line.
 */
#include "zapp.h"

#include "php_main.h"
#include "php_output.h"
#include "php_ticks.h"
#include "ext/standard/basic_functions.h"
#include "zend_virtual_cwd.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "request.h"

/* main() of sapi/cli, renamed by zapp.mk. */
int php_cli_main(int argc, char **argv);

/*
 * The end of a request as php_request_shutdown has it, up to the point where everything has been said: shutdown functions,
 * destructors, output buffers, the modules (a session is written there), the last output. An instance that answers
 * one request alone ends here: freeing memory that is about to vanish is the larger part of PHP's own shutdown.
 */
static void finish_and_exit(void)
{
	EG(flags) |= EG_FLAGS_IN_SHUTDOWN;
	EG(current_execute_data) = NULL;
	php_deactivate_ticks();
	php_call_shutdown_functions();
	zend_try {
		zend_call_destructors();
	} zend_end_try();
	zend_try {
		php_output_end_all();
	} zend_end_try();
	zend_deactivate_modules();
	zend_try {
		php_output_deactivate();
	} zend_end_try();
	body_flush();
	_exit(0);
}

static void not_found(void)
{
	zend_try {
		SG(sapi_headers).http_response_code = 404;
		PUTS("File not found.\n");
	} zend_end_try();
}

static void answer_request(void)
{
	char resolved[MAXPATHLEN];
	zend_first_try {
		zapp_request_info();
		if (php_request_startup() == SUCCESS && !zapp_compile()) {
			const char *script = SG(request_info).path_translated;
			/* The realpath cache knows it after warm-up, so this asks nobody. */
			if (script == NULL || tsrm_realpath(script, resolved) == NULL) {
				not_found();
			} else {
				zend_file_handle file;
				zend_stream_init_filename(&file, script);
				file.primary_script = true;
				zapp_constants_begin();
				zapp_bootstrap_begin();
				php_execute_script(&file);
				zend_destroy_file_handle(&file);
			}
		}
	} zend_end_try();
	/* Says the host: nobody will ask this instance again. */
	if (REQUEST_VALUE("ZAPP_LAST_REQUEST") != NULL) {
		finish_and_exit();
	}
	php_request_shutdown(NULL);
	SG(server_context) = NULL;
	body_flush();
}

int zapp_serve(const char *ini_lines)
{
	sapi_startup(&zapp_sapi_module);
	/* sapi_startup clears this, so it is set after it. */
	zapp_sapi_module.ini_entries = (char *) ini_lines;
	if (zapp_sapi_module.startup(&zapp_sapi_module) == FAILURE) {
		fputs("zapp: PHP did not start\n", stderr);
		return 2;
	}
	while (request_accept()) {
		zapp_reseed();
		answer_request();
	}
	php_module_shutdown();
	sapi_shutdown();
	return 0;
}

/* The -d options as lines of php.ini. A value that is more than a word or a number is quoted, as PHP's own front ends do. */
static char *ini_lines(int count, char **options)
{
	size_t size = 1;
	for (int index = 0; index < count; index++) {
		size += strlen(options[index]) + sizeof "=\"1\"\n";
	}
	char *lines = malloc(size), *at = lines;
	if (lines == NULL) {
		return NULL;
	}
	*at = '\0';
	for (int index = 0; index < count; index++) {
		if (strcmp(options[index], "-d") == 0) {
			continue;
		}
		const char *value = strchr(options[index], '=');
		if (value == NULL) {
			at += sprintf(at, "%s=1\n", options[index]);
		} else if (strpbrk(value + 1, " \t;\"'(){}|&~!^") != NULL && value[1] != '"') {
			at += sprintf(at, "%.*s=\"%s\"\n", (int) (value - options[index]), options[index], value + 1);
		} else {
			at += sprintf(at, "%s\n", options[index]);
		}
	}
	return lines;
}

int main(int argc, char **argv)
{
	if (argc < 2 || strcmp(argv[1], "--web") != 0) {
		return php_cli_main(argc, argv);
	}
	for (int index = 2; index < argc; index += 2) {
		if (strcmp(argv[index], "-d") != 0 || index + 1 == argc) {
			fputs("usage: php --web [-d NAME=VALUE]...\n", stderr);
			return 2;
		}
	}
	char *lines = ini_lines(argc - 2, argv + 2);
	if (lines == NULL) {
		fputs("zapp: out of memory\n", stderr);
		return 2;
	}
	zapp_sapi_module.executable_location = argv[0];
	int status = zapp_serve(lines);
	free(lines);
	return status;
}
