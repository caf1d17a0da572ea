/*
 * Constants that are set from outside, without a change of the site:
 *
 *     -d zapp.constant.NAME=bool:1    also int:30 and text:VALUE
 *
 * A constant that the site defines itself is left to it. Defining it twice would be a warning on every page, so ours come
 * after the site's own: with -d zapp.site=wordpress when wp-config.php has been read and nothing of WordPress has
 * looked yet, by its official way to set hooks before it is loaded. Elsewhere there is no such moment, and they come first.
 */
#include "zapp.h"

#include "php_ini.h"
#include "zend_constants.h"

#include <string.h>

#define PREFIX "zapp.constant."

/* The first hook that WordPress calls: wp_debug_mode() asks it, before the database is opened. */
static const char wordpress_hook[] =
	"$GLOBALS['wp_filter']['enable_wp_debug_mode_checks'][PHP_INT_MIN]['zapp'] = "
	"['function' => 'zapp_constants', 'accepted_args' => 1];";

static bool read_value(zval *value, const char *text)
{
	if (strncmp(text, "bool:", 5) == 0) {
		ZVAL_BOOL(value, text[5] == '1');
	} else if (strncmp(text, "int:", 4) == 0) {
		ZVAL_LONG(value, ZEND_STRTOL(text + 4, NULL, 10));
	} else if (strncmp(text, "text:", 5) == 0) {
		ZVAL_STRING(value, text + 5);
	} else {
		return false;
	}
	return true;
}

static bool is_ours(const zend_string *key, const zval *value)
{
	return key != NULL && Z_TYPE_P(value) == IS_STRING && strncmp(ZSTR_VAL(key), PREFIX, sizeof PREFIX - 1) == 0;
}

static void define_missing(void)
{
	zend_string *key;
	zval *text;
	ZEND_HASH_FOREACH_STR_KEY_VAL(php_ini_get_configuration_hash(), key, text) {
		zend_constant constant;
		if (!is_ours(key, text)) {
			continue;
		}
		const char *name = ZSTR_VAL(key) + sizeof PREFIX - 1;
		if (zend_hash_str_exists(EG(zend_constants), name, strlen(name)) || !read_value(&constant.value, Z_STRVAL_P(text))) {
			continue;
		}
		ZEND_CONSTANT_SET_FLAGS(&constant, 0, PHP_USER_CONSTANT);
		constant.name = zend_string_init(name, strlen(name), 0);
		zend_register_constant(&constant);
	} ZEND_HASH_FOREACH_END();
}

/* A filter of WordPress's: gives back what it is given. */
PHP_FUNCTION(zapp_constants)
{
	zval *value = NULL;
	ZEND_PARSE_PARAMETERS_START(0, 1)
		Z_PARAM_OPTIONAL
		Z_PARAM_ZVAL(value)
	ZEND_PARSE_PARAMETERS_END();
	define_missing();
	if (value != NULL) {
		RETURN_COPY(value);
	}
}

void zapp_constants_begin(void)
{
	const char *site = NULL;
	cfg_get_string("zapp.site", (char **) &site);
	if (site != NULL && strcmp(site, "wordpress") == 0) {
		zend_eval_string(wordpress_hook, NULL, "zapp constants");
	} else {
		define_missing();
	}
}
