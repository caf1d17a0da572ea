/*
 * Freezing after the site's own bootstrap.
 *
 * Where the host asks for it (the variable ZAPP_BOOTSTRAP of a warm-up request), the request does not run to its end. When
 * the site is ready to look at the request it calls zapp_freeze(), which waits for the next request and goes on with that
 * one: the sandbox takes its snapshot there, and each clone returns from the call with a request of its own. What PHP
 * knows about the request is replaced; what the site has computed until then stays, and must not depend on a request
 * other than by scheme and host. Where it visibly does (a session, a cookie, output), zapp_freeze() says so and does nothing.
 *
 * ZAPP_BOOTSTRAP=wordpress does it for an unchanged WordPress: its official way to set hooks before it is loaded calls
 * zapp_freeze() behind all other handlers of wp_loaded, and what WordPress has derived from the request is made afresh.
 *
 * ZAPP_BOOTSTRAP=wordpress-warm is for the requests before that one. They run to their end, and leave what WordPress has
 * read from its database (its object cache) for the next: a database in an image cannot change, so it stays right.
 */
#include "zapp.h"

#include "php_main.h"
#include "php_output.h"
#include "php_variables.h"
#include "ext/random/php_random.h"
#include "ext/session/php_session.h"

#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "request.h"

/* Takes over the object cache of an earlier request, as soon as WordPress has one of its own. */
#define WORDPRESS_TAKE \
	"$GLOBALS['wp_filter']['muplugins_loaded'][PHP_INT_MIN]['zapp'] = ['accepted_args' => 0, 'function' => static function () {" \
	"	$kept = zapp_kept();" \
	"	if ($kept === null || wp_using_ext_object_cache() || is_multisite()) return;" \
	"	foreach (unserialize($kept) as $group => $entries) {" \
	"		foreach ($entries as $key => $value) wp_cache_add($key, $value, $group);" \
	"	}" \
	"}];"

/* Leaves it for the next one. The groups left out are what WordPress itself does not keep from one request to the next. */
static const char wordpress_warm[] = WORDPRESS_TAKE
	"$GLOBALS['wp_filter']['shutdown'][PHP_INT_MAX]['zapp'] = ['accepted_args' => 0, 'function' => static function () {"
	"	$cache = $GLOBALS['wp_object_cache'] ?? null;"
	"	if (wp_using_ext_object_cache() || is_multisite() || !$cache instanceof WP_Object_Cache) return;"
	"	$groups = $cache->cache;"
	"	unset($groups['counts'], $groups['plugins'], $groups['theme_json']);"
	"	zapp_keep(serialize($groups));"
	"}];";

/*
 * Behind the freeze stands what wp-settings.php derives from a request, in its order: the browser (wp-includes/vars.php),
 * server variables, the timer, slashes, then who is asking. It is compiled before the freeze, like everything else.
 *
 * The block patterns' files are read when somebody first asks for all of them, which nearly every page does.
 */
static const char wordpress_before[] = WORDPRESS_TAKE
	"$GLOBALS['wp_filter']['wp_loaded'][PHP_INT_MAX]['zapp'] = ['accepted_args' => 0, 'function' => static function () {"
	"	if (class_exists('WP_Block_Patterns_Registry')) WP_Block_Patterns_Registry::get_instance()->get_all_registered();"
	"	if (!zapp_freeze()) return;"
	"	$agent = $_SERVER['HTTP_USER_AGENT'] ?? '';"
	"	$has = static fn ($word) => stripos($agent, $word) !== false;"
	"	$browser = match (true) {"
	"		$has('Lynx') => 'is_lynx',"
	"		$has('Edg') => 'is_edge',"
	"		$has('chrome') => 'is_chrome',"
	"		$has('safari') => 'is_safari',"
	"		($has('MSIE') || $has('Trident')) && $has('Win') => 'is_winIE',"
	"		$has('MSIE') && $has('Mac') => 'is_macIE',"
	"		$has('Gecko') => 'is_gecko',"
	"		$has('Opera') => 'is_opera',"
	"		$has('Nav') && $has('Mozilla/4.') => 'is_NS4',"
	"		default => '',"
	"	};"
	"	foreach (['is_lynx', 'is_edge', 'is_chrome', 'is_safari', 'is_winIE', 'is_macIE', 'is_gecko', 'is_opera', 'is_NS4'] as $name) {"
	"		$GLOBALS[$name] = $name === $browser;"
	"	}"
	"	$GLOBALS['is_IE'] = $GLOBALS['is_winIE'] || $GLOBALS['is_macIE'];"
	"	$GLOBALS['is_iphone'] = $GLOBALS['is_safari'] && $has('mobile');"
	"	unset($GLOBALS['PHP_SELF']);"
	"	wp_fix_server_vars();"
	"	timer_start();"
	"	wp_magic_quotes();"
	"	$GLOBALS['current_user'] = null;"
	"	wp_get_current_user();"
	"	kses_init();"
	"}];";

/* Set while a request wants to freeze and has not done so. */
static bool wanted;

/* What one warm-up request leaves for the next. Not PHP's memory, which ends with a request. */
static struct {
	char *bytes;
	size_t size;
} kept;

static void evaluate(const char *code)
{
	zend_eval_string(code, NULL, "zapp bootstrap");
}

void zapp_bootstrap_begin(void)
{
	const char *kind = REQUEST_VALUE("ZAPP_BOOTSTRAP");
	if (kind != NULL && strcmp(kind, "wordpress-warm") == 0) {
		evaluate(wordpress_warm);
		kind = NULL;
	}
	wanted = kind != NULL;
	if (wanted && strcmp(kind, "wordpress") == 0) {
		evaluate(wordpress_before);
	}
}

/* Whether something has been printed that is still held back. */
static bool has_output(void)
{
	php_output_handler **handlers = zend_stack_base(&OG(handlers));
	for (int index = 0; index < zend_stack_count(&OG(handlers)); index++) {
		if (handlers[index]->buffer.used > 0) {
			return true;
		}
	}
	return false;
}

/* What the site has done that belongs to one visitor, or NULL. */
static const char *why_not(void)
{
	zend_llist_position position;
	if (SG(headers_sent) || has_output()) {
		return "output has been sent";
	}
	if (PS(session_status) == php_session_active) {
		return "a session is open";
	}
	for (sapi_header_struct *header = zend_llist_get_first_ex(&SG(sapi_headers).headers, &position); header != NULL;
			header = zend_llist_get_next_ex(&SG(sapi_headers).headers, &position)) {
		if (header->header_len > 11 && strncasecmp(header->header, "Set-Cookie:", 11) == 0) {
			return "a cookie has been set";
		}
	}
	return NULL;
}

/* Everything PHP itself keeps about a request, from the one that was accepted last. */
static void take_over(void)
{
	zapp_request_info();
	SG(request_info).cookie_data = sapi_module.read_cookies();
	SG(request_info).headers_only = SG(request_info).request_method != NULL && strcmp(SG(request_info).request_method, "HEAD") == 0;
	SG(global_request_time) = 0;
	SG(read_post_bytes) = 0;
	for (int track = 0; track < NUM_TRACK_VARS; track++) {
		zval_ptr_dtor(&PG(http_globals)[track]);
		ZVAL_UNDEF(&PG(http_globals)[track]);
	}
	php_hash_environment();
	/* Or all clones would draw the same numbers. */
	RANDOM_G(mt19937_seeded) = false;
	RANDOM_G(combined_lcg_seeded) = false;
	zapp_reseed();
}

/* True when another request has taken the place of the one that called. */
PHP_FUNCTION(zapp_freeze)
{
	ZEND_PARSE_PARAMETERS_NONE();
	if (!wanted) {
		RETURN_FALSE;
	}
	wanted = false;
	const char *reason = why_not();
	if (reason != NULL) {
		php_log_err_with_severity(reason, LOG_WARNING);
		RETURN_FALSE;
	}
	if (!request_accept()) {
		zend_bailout();
	}
	take_over();
	RETURN_TRUE;
}

/* Keeps a string for the next warm-up request, in place of the one before. */
PHP_FUNCTION(zapp_keep)
{
	zend_string *text;
	ZEND_PARSE_PARAMETERS_START(1, 1)
		Z_PARAM_STR(text)
	ZEND_PARSE_PARAMETERS_END();
	char *bytes = malloc(ZSTR_LEN(text) + 1);
	if (bytes == NULL) {
		return;
	}
	memcpy(bytes, ZSTR_VAL(text), ZSTR_LEN(text) + 1);
	free(kept.bytes);
	kept.bytes = bytes;
	kept.size = ZSTR_LEN(text);
}

/* What was kept, or null. */
PHP_FUNCTION(zapp_kept)
{
	ZEND_PARSE_PARAMETERS_NONE();
	if (kept.bytes == NULL) {
		RETURN_NULL();
	}
	RETURN_STRINGL(kept.bytes, kept.size);
}
