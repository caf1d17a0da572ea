/*
 * Freezing after the site's own bootstrap.
 *
 * Where the host asks for it (the variable ZAPP_BOOTSTRAP of a warm-up request), the request does not run to its end. When
 * the site is ready to look at the request it calls zapp_freeze(), which waits for the next request and goes on with that
 * one: the sandbox takes its snapshot there, and each clone returns from the call with a request of its own. What PHP
 * knows about the request is replaced; what the site has computed until then stays, and must not depend on a request
 * other than by scheme and host.
 *
 * ZAPP_BOOTSTRAP=wordpress does it for an unchanged WordPress: its official way to set hooks before it is loaded calls
 * zapp_freeze() behind all other handlers of wp_loaded, and what WordPress has derived from the request is made afresh.
 */
#include "zapp.h"

#include "php_main.h"
#include "php_variables.h"
#include "ext/random/php_random.h"

#include <string.h>

#include "request.h"

static const char wordpress_before[] =
	"$GLOBALS['wp_filter']['wp_loaded'][PHP_INT_MAX]['zapp'] = ['function' => 'zapp_freeze', 'accepted_args' => 0];";

/* As in wp-settings.php, in its order: server variables, the timer, slashes, then who is asking. */
static const char wordpress_after[] =
	"unset($GLOBALS['PHP_SELF']); wp_fix_server_vars(); timer_start(); wp_magic_quotes();"
	"$GLOBALS['current_user'] = null; wp_get_current_user(); kses_init();";

/* Set while a request wants to freeze and has not done so. */
static bool wanted, wordpress;

static void evaluate(const char *code)
{
	zend_eval_string(code, NULL, "zapp bootstrap");
}

void zapp_bootstrap_begin(void)
{
	const char *kind = REQUEST_VALUE("ZAPP_BOOTSTRAP");
	wanted = kind != NULL;
	wordpress = wanted && strcmp(kind, "wordpress") == 0;
	if (wordpress) {
		evaluate(wordpress_before);
	}
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
	if (!wanted || SG(headers_sent)) {
		RETURN_FALSE;
	}
	wanted = false;
	if (!request_accept()) {
		zend_bailout();
	}
	take_over();
	if (wordpress) {
		evaluate(wordpress_after);
	}
	RETURN_TRUE;
}
