/*
 * What PHP asks of its server, answered from request.h.
 *
 * The name is that of the FastCGI process manager, because sites and opcache know it, and because the rest of this file
 * behaves like it: the same variables in $_SERVER, the same functions, the same answer for a script that is not there.
 */
#include "zapp.h"

#include "php_main.h"
#include "php_variables.h"
#include "ext/standard/basic_functions.h"
#include "zend_extensions.h"

#include <sqlite3.h>
#include <unistd.h>

#include "request.h"

/* opcache, compiled in; its source calls this zend_extension_entry, which zapp.mk renames. */
extern zend_extension opcache_extension;

/* Settings that hold unless php.ini or the command line says otherwise. docs/php.md says what differs from Debian's. */
static const char *const defaults[][2] = {
	/* As in php.ini-production: what went wrong is for the log, not for visitors. */
	{ "display_errors", "0" },
	{ "display_startup_errors", "0" },
	{ "log_errors", "1" },
	{ "error_reporting", "22527" }, /* E_ALL & ~E_DEPRECATED & ~E_STRICT */
	{ "zend.exception_ignore_args", "1" },
	{ "zend.exception_string_param_max_len", "0" },
	{ "zend.assertions", "-1" },
	{ "variables_order", "GPCS" },
	{ "request_order", "GP" },
	{ "register_argc_argv", "0" },
	/* A blank line or a byte order mark before the first tag does not lose a redirect. */
	{ "output_buffering", "4096" },
	/* <?xml is text. */
	{ "short_open_tag", "0" },
	{ "expose_php", "0" },
	{ "max_input_time", "60" },
	{ "session.gc_divisor", "1000" },
	{ "session.sid_length", "26" },
	{ "session.sid_bits_per_character", "5" },
	/* The host measures time and processor, and ends an instance that uses too much. */
	{ "max_execution_time", "0" },
	/* An image cannot change under a running instance, so nothing is worth looking at twice. */
	{ "opcache.enable", "1" },
	{ "opcache.validate_timestamps", "0" },
	{ "opcache.file_update_protection", "0" },
	{ "opcache.memory_consumption", "64" },
	{ "opcache.interned_strings_buffer", "8" },
	{ "opcache.max_accelerated_files", "8000" },
	{ "opcache.max_wasted_percentage", "50" },
	{ "realpath_cache_size", "4096K" },
	/* A snapshot may be years old when it is cloned; the paths in it are as right as on the first day. */
	{ "realpath_cache_ttl", "2147483647" },
	/* With late binding of $_SERVER, a script cached before the freeze would see the variables of that time. */
	{ "auto_globals_jit", "0" },
};

void zapp_register_opcache(void)
{
	zend_register_extension(&opcache_extension, NULL);
}

static void ini_defaults(HashTable *configuration)
{
	for (size_t index = 0; index < sizeof defaults / sizeof *defaults; index++) {
		zval value;
		ZVAL_NEW_STR(&value, zend_string_init(defaults[index][1], strlen(defaults[index][1]), 1));
		zend_hash_str_update(configuration, defaults[index][0], strlen(defaults[index][0]), &value);
	}
	zapp_register_opcache();
}

static int startup(sapi_module_struct *module)
{
	return php_module_startup(module, &zapp_module_entry);
}

static size_t ub_write(const char *bytes, size_t size)
{
	if (!body_write(bytes, size)) {
		php_handle_aborted_connection();
		return 0;
	}
	return size;
}

static void flush(void *context)
{
	/* PHP flushes when it shuts down as well, and then there is nobody to send headers to. */
	if (context != NULL && !SG(headers_sent)) {
		sapi_send_headers();
	}
	if (context != NULL ? !body_publish() : !body_flush()) {
		php_handle_aborted_connection();
	}
}

static char *get_variable(const char *name, size_t size)
{
	return (char *) request_value(name, size);
}

/* A header's value: what stands between two places, without the blanks around it. */
static const char *trimmed(const char *start, const char *end, size_t *size)
{
	while (start < end && (*start == ' ' || *start == '\t')) {
		start++;
	}
	while (end > start && (end[-1] == ' ' || end[-1] == '\t')) {
		end--;
	}
	*size = (size_t) (end - start);
	return start;
}

static bool is_named(const sapi_header_struct *header, const char *name)
{
	size_t size = strlen(name);
	return header->header_len > size && header->header[size] == ':' && strncasecmp(header->header, name, size) == 0;
}

/* One header line of PHP's, "Name: value". */
static bool add_header(const sapi_header_struct *header)
{
	const char *line = header->header, *colon = memchr(line, ':', header->header_len);
	size_t size;
	if (colon == NULL) {
		return true;
	}
	const char *value = trimmed(colon + 1, line + header->header_len, &size);
	return answer_add(line, (size_t) (colon - line), value, size);
}

/*
 * The status as a script has put it, "404 Not Found", or NULL: as the FastCGI process manager has it, a line header('HTTP/1.1 404 …')
 * goes before a header "Status", and the latter before a number.
 */
static const char *status_text(sapi_headers_struct *headers, size_t *size)
{
	zend_llist_position position;
	const char *line = headers->http_status_line, *text;
	if (headers->http_response_code != 200 && line != NULL && strncasecmp(line, "HTTP/", 5) == 0
			&& (text = strchr(line, ' ')) != NULL) {
		*size = strlen(++text);
		return text;
	}
	for (sapi_header_struct *header = zend_llist_get_first_ex(&headers->headers, &position); header != NULL;
			header = zend_llist_get_next_ex(&headers->headers, &position)) {
		if (is_named(header, "Status")) {
			return trimmed(header->header + sizeof "Status:" - 1, header->header + header->header_len, size);
		}
	}
	return NULL;
}

static int send_headers(sapi_headers_struct *headers)
{
	zend_llist_position position;
	size_t size = 0;
	int code = headers->http_response_code != 0 ? headers->http_response_code : 200;
	const char *text = status_text(headers, &size);
	if (text != NULL && size >= 3 && (size == 3 || text[3] == ' ') && atoi(text) >= 100 && atoi(text) <= 999) {
		code = atoi(text);
	} else {
		text = NULL;
	}
	answer_begin(code);
	/* The number is enough for a host that does not care for the words. */
	if (text != NULL && size > 4 && !answer_add("Status", 6, text, size)) {
		return SAPI_HEADER_SEND_FAILED;
	}
	for (sapi_header_struct *header = zend_llist_get_first_ex(&headers->headers, &position); header != NULL;
			header = zend_llist_get_next_ex(&headers->headers, &position)) {
		/* There is nothing that could have a type. */
		if (is_named(header, "Status") || (code == 304 && is_named(header, "Content-Type"))) {
			continue;
		}
		if (!add_header(header)) {
			return SAPI_HEADER_SEND_FAILED;
		}
	}
	return answer_send() ? SAPI_HEADER_SENT_SUCCESSFULLY : SAPI_HEADER_SEND_FAILED;
}

static size_t read_post(char *buffer, size_t size)
{
	size_t got = 0;
	zend_long left = SG(request_info).content_length - SG(read_post_bytes);
	if (left < (zend_long) size) {
		size = left > 0 ? (size_t) left : 0;
	}
	while (got < size) {
		ssize_t more = read(STDIN_FILENO, buffer + got, size - got);
		if (more <= 0) {
			break;
		}
		got += (size_t) more;
	}
	return got;
}

static char *read_cookies(void)
{
	return (char *) REQUEST_VALUE("HTTP_COOKIE");
}

static void register_variable(const char *name, const char *value, size_t size, zval *into)
{
	char *filtered = estrndup(value, size);
	if (sapi_module.input_filter(PARSE_SERVER, name, &filtered, size, &size)) {
		php_register_variable_safe(name, filtered, size, into);
	}
	efree(filtered);
}

static void register_variables(zval *into)
{
	php_import_environment_variables(into);
	for (size_t index = 0; index < request_variable_count(); index++) {
		const struct request_variable *variable = request_variable(index);
		register_variable(variable->name, variable->value, variable->value_size, into);
	}
	const char *script = REQUEST_VALUE("SCRIPT_NAME"), *rest = REQUEST_VALUE("PATH_INFO");
	zend_string *self = zend_strpprintf(0, "%s%s", script != NULL ? script : "", rest != NULL ? rest : "");
	register_variable("PHP_SELF", ZSTR_VAL(self), ZSTR_LEN(self), into);
	zend_string_release(self);
}

/* One line, one write: lines of parallel instances must not mix. The id is what ties it to the access log. */
static void log_message(const char *text, int level)
{
	(void) level;
	const char *id = REQUEST_VALUE("HTTP_X_REQUEST_ID");
	char *line;
	size_t size = spprintf(&line, 0, id != NULL ? "[%s] %s\n" : "%s%s\n", id != NULL ? id : "", text);
	/* There is nobody to tell when the log itself cannot be written. */
	(void) !write(STDERR_FILENO, line, size);
	efree(line);
}

sapi_module_struct zapp_sapi_module = {
	.name = "fpm-fcgi",
	.pretty_name = "zapp",
	.startup = startup,
	.shutdown = php_module_shutdown_wrapper,
	.ub_write = ub_write,
	.flush = flush,
	.getenv = get_variable,
	.sapi_error = php_error,
	.send_headers = send_headers,
	.read_post = read_post,
	.read_cookies = read_cookies,
	.register_server_variables = register_variables,
	.log_message = log_message,
	.ini_defaults = ini_defaults,
	/* A site must not configure its interpreter by a file that happens to lie in the current directory. */
	.php_ini_ignore_cwd = 1,
};

/*
 * PHP forgets the state of mt_rand and lcg_value at the start of each request. SQLite does not: without this, all clones of
 * a snapshot that has used its random() would go on with the same numbers.
 */
void zapp_reseed(void)
{
	sqlite3_randomness(0, NULL);
}

void zapp_request_info(void)
{
	const char *length = REQUEST_VALUE("CONTENT_LENGTH"), *type = REQUEST_VALUE("CONTENT_TYPE");
	const char *authorization = REQUEST_VALUE("HTTP_AUTHORIZATION");
	const char *script = REQUEST_VALUE("SCRIPT_FILENAME");
	SG(request_info).request_method = REQUEST_VALUE("REQUEST_METHOD");
	SG(request_info).query_string = (char *) REQUEST_VALUE("QUERY_STRING");
	SG(request_info).request_uri = (char *) REQUEST_VALUE("SCRIPT_NAME");
	SG(request_info).path_translated = (char *) script;
	SG(request_info).content_type = type != NULL ? type : "";
	SG(request_info).content_length = length != NULL ? ZEND_STRTOL(length, NULL, 10) : 0;
	SG(request_info).proto_num = 1001;
	SG(sapi_headers).http_response_code = 200;
	SG(server_context) = &zapp_sapi_module; /* anything but NULL: there is a request */
	php_handle_auth_data(authorization);
}
