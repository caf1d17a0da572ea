/* The web face of this PHP: a server API (SAPI) over request.h. See main.c for the other face, the command line. */
#ifndef ZAPP_SAPI_H
#define ZAPP_SAPI_H

#include "php.h"
#include "SAPI.h"

extern sapi_module_struct zapp_sapi_module;

/* Functions a site expects of a web server's PHP. */
extern zend_module_entry zapp_module_entry;

/* Fills SG(request_info) from the request that was accepted last. */
void zapp_request_info(void);

/* Makes every generator of random numbers that outlives a request start afresh. */
void zapp_reseed(void);

/* To be called from ini_defaults: the one moment between the start of the engine and that of its extensions at which it asks its SAPI. */
void zapp_register_opcache(void);

/* sapi_startup() of the command line. */
void zapp_cli_startup(sapi_module_struct *module);

/* Before the script of a request: see constants.c and bootstrap.c. */
void zapp_constants_begin(void);
PHP_FUNCTION(zapp_constants);
void zapp_bootstrap_begin(void);

/* When that is what the request is for, compiles all scripts of the site: see compile.c. */
bool zapp_compile(void);

PHP_FUNCTION(zapp_freeze);
PHP_FUNCTION(zapp_keep);
PHP_FUNCTION(zapp_kept);

/* Starts PHP with the given lines of php.ini on top of all others, answers requests until there are none, and returns the exit status. */
int zapp_serve(const char *ini_lines);

#endif
