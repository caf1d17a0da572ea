/*
 * PHP's own command line with opcache in it, as distributions have it: present, and off unless opcache.enable_cli says
 * otherwise. zapp.mk makes its main() call this in place of sapi_startup().
 */
#include "zapp.h"

static void (*command_line_defaults)(HashTable *);

static void ini_defaults(HashTable *configuration)
{
	command_line_defaults(configuration);
	/* A script means the same on the command line and to visitors. */
	zval off;
	ZVAL_NEW_STR(&off, zend_string_init("0", 1, 1));
	zend_hash_str_update(configuration, "short_open_tag", sizeof "short_open_tag" - 1, &off);
	zapp_register_opcache();
}

void zapp_cli_startup(sapi_module_struct *module)
{
	command_line_defaults = module->ini_defaults;
	module->ini_defaults = ini_defaults;
	sapi_startup(module);
}
