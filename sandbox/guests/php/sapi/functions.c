/* PHP functions that come with a web server: those of the FastCGI process manager that make sense here. */
#include "zapp.h"

#include "php_main.h"
#include "php_output.h"
#include "ext/standard/head.h"
#include "ext/standard/info.h"

#include "request.h"

ZEND_BEGIN_ARG_WITH_RETURN_TYPE_INFO_EX(arginfo_yes_or_no, 0, 0, _IS_BOOL, 0)
ZEND_END_ARG_INFO()

ZEND_BEGIN_ARG_INFO_EX(arginfo_filter, 0, 0, 0)
	ZEND_ARG_INFO(0, value)
ZEND_END_ARG_INFO()

ZEND_BEGIN_ARG_WITH_RETURN_TYPE_INFO_EX(arginfo_headers, 0, 0, IS_ARRAY, 0)
ZEND_END_ARG_INFO()

ZEND_BEGIN_ARG_WITH_RETURN_TYPE_INFO_EX(arginfo_keep, 0, 1, IS_VOID, 0)
	ZEND_ARG_TYPE_INFO(0, text, IS_STRING, 0)
ZEND_END_ARG_INFO()

ZEND_BEGIN_ARG_WITH_RETURN_TYPE_INFO_EX(arginfo_kept, 0, 0, IS_STRING, 1)
ZEND_END_ARG_INFO()

/* Sends everything there is. The instance goes on, and what it prints later goes nowhere, as users know it. */
static PHP_FUNCTION(fastcgi_finish_request)
{
	ZEND_PARSE_PARAMETERS_NONE();
	php_output_end_all();
	php_header();
	sapi_flush();
	php_output_set_status(PHP_OUTPUT_DISABLED);
	RETURN_TRUE;
}

/* HTTP_ACCEPT_LANGUAGE becomes Accept-Language, and so on. */
static PHP_FUNCTION(apache_request_headers)
{
	ZEND_PARSE_PARAMETERS_NONE();
	array_init(return_value);
	for (size_t index = 0; index < request_variable_count(); index++) {
		const struct request_variable *variable = request_variable(index);
		sapi_add_request_header(variable->name, (unsigned int) variable->name_size, (char *) variable->value,
			(unsigned int) variable->value_size, return_value);
	}
}

static const zend_function_entry functions[] = {
	PHP_FE(fastcgi_finish_request, arginfo_yes_or_no)
	PHP_FE(zapp_freeze, arginfo_yes_or_no)
	PHP_FE(zapp_keep, arginfo_keep)
	PHP_FE(zapp_kept, arginfo_kept)
	PHP_FE(zapp_constants, arginfo_filter)
	PHP_FE(apache_request_headers, arginfo_headers)
	PHP_FALIAS(getallheaders, apache_request_headers, arginfo_headers)
	PHP_FE_END
};

static PHP_MINFO_FUNCTION(zapp)
{
	php_info_print_table_start();
	php_info_print_table_row(2, "zapp", "one fresh instance for each request");
	php_info_print_table_end();
}

zend_module_entry zapp_module_entry = {
	STANDARD_MODULE_HEADER,
	"zapp",
	functions,
	NULL,
	NULL,
	NULL,
	NULL,
	PHP_MINFO(zapp),
	PHP_VERSION,
	STANDARD_MODULE_PROPERTIES
};
