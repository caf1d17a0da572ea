# Included after PHP's own Makefile, in its build directory: adds opcache as objects, the server API of this folder, and the
# program that holds everything. Wants ZAPP (this folder), HOST (guest or native), LIBRARIES (archives), LIBTOOL and HALVED (options) as
# recipe.mk sets them.

include Makefile

ZAPP_OPCACHE := ZendAccelerator shared_alloc_mmap shared_alloc_posix shared_alloc_shm zend_accelerator_blacklist \
	zend_accelerator_debug zend_accelerator_hash zend_accelerator_module zend_accelerator_util_funcs zend_file_cache \
	zend_persist zend_persist_calc zend_shared_alloc
ZAPP_SAPI := main cli zapp bootstrap compile constants functions glob request host_$(HOST)
ZAPP_PHP := $(PHP_GLOBAL_OBJS) $(PHP_BINARY_OBJS) $(PHP_CLI_OBJS)
ifeq ($(HOST),guest)
# A guest cannot exchange stacks by itself; fiber.s asks the host. It has no network either.
ZAPP_SAPI += fiber network
ZAPP_PHP := $(filter-out Zend/asm/%,$(ZAPP_PHP))
override CPPFLAGS += -DZAPP_GUEST
endif
ZAPP_OBJECTS := $(ZAPP_OPCACHE:%=zapp/opcache/%.o) $(ZAPP_SAPI:%=zapp/%.o)
ZAPP_LONGEST := Zend/zend_execute.lo ext/date/lib/parse_date.lo ext/pcre/pcre2lib/pcre2_match.lo

# main() of the command line becomes a function that main.c calls, and starts by way of cli.c.
sapi/cli/php_cli.lo: COMMON_FLAGS += -Dmain=php_cli_main -Dsapi_startup=zapp_cli_startup

# Warnings are PHP's own affair, and cost a tenth of the time.
CFLAGS_CLEAN := $(filter-out -W%,$(CFLAGS_CLEAN))

# What the training hardly enters is compiled with half the effort: scripts are optimised once, before any request; these extensions wait
# for libxml2, files or nobody; parse_date.c is one function of a lexer, which took a tenth of the whole build. What
# runs along bytes (hashes, encodings, compression, patterns) is not here, whether it was trained or not.
ZAPP_HALVED := Zend/Optimizer/% ext/dom/% ext/fileinfo/% ext/libxml/% ext/reflection/% ext/session/% ext/simplexml/% ext/tokenizer/% \
	ext/xml/% ext/xmlreader/% ext/xmlwriter/% sapi/cli/% ext/date/lib/parse_date ext/date/lib/parse_iso_intervals \
	ext/pcre/pcre2lib/pcre2_convert ext/pcre/pcre2lib/pcre2_dfa_match ext/pcre/pcre2lib/pcre2_jit_compile \
	$(addprefix ext/standard/,browscap credits dns exec ftp_fopen_wrapper http_fopen_wrapper image info iptc \
	libavifinfo/avifinfo mail proc_open) main/network main/streams/xp_socket \
	Zend/zend_highlight Zend/zend_ini_parser Zend/zend_ini_scanner zapp/opcache/zend_file_cache
ZAPP_HALVED := $(filter $(ZAPP_HALVED),$(ZAPP_PHP:.lo=) $(ZAPP_OBJECTS:.o=))
$(ZAPP_HALVED:%=%.lo) $(ZAPP_HALVED:%=%.o): CFLAGS_CLEAN := $(subst -O2,$(HALVED),$(CFLAGS_CLEAN))

# Code is laid out after counts of how often each branch is taken: `train` made them, recipe.mk puts them beside the objects.
# What was never reached is compiled as without counts, not for size; and cold code would otherwise
# have string instructions that the sandbox does not know.
ZAPP_COUNTED := $(filter-out $(ZAPP_HALVED),$(patsubst ./%.gcda,%,$(shell find . -name '*.gcda')))
$(ZAPP_COUNTED:%=%.lo) $(ZAPP_COUNTED:%=%.o): COMMON_FLAGS += -fprofile-use -fprofile-partial-training \
	--param=profile-func-internal-id=1 -mstringop-strategy=libcall -Wno-missing-profile -Wno-coverage-mismatch

ZAPP_COMPILE = $(CC) $(COMMON_FLAGS) $(CFLAGS_CLEAN) -DZEND_ENABLE_STATIC_TSRMLS_CACHE=1 -std=gnu11

# What opcache's configure would have found, and the names it has only as a shared object.
zapp/opcache/%.o: $(top_srcdir)/ext/opcache/%.c $(ZAPP)/shim/opcache.h
	@mkdir -p $(@D)
	$(ZAPP_COMPILE) -I$(top_srcdir)/ext/opcache -include $(ZAPP)/shim/opcache.h -DHAVE_SHM_MMAP_ANON=1 -DHAVE_MPROTECT=1 \
		-Dzend_extension_entry=opcache_extension -Dextension_version_info=opcache_version -c $< -o $@
	@echo compiled $@

zapp/%.o: $(ZAPP)/sapi/%.c $(wildcard $(ZAPP)/sapi/*.h)
	@mkdir -p $(@D)
	$(ZAPP_COMPILE) -Wall -Wextra -Wno-unused-parameter -c $< -o $@
	@echo compiled $@

zapp/%.o: $(ZAPP)/sapi/%.s
	@mkdir -p $(@D)
	$(CC) -c $< -o $@
	@echo compiled $@

.PHONY: total objects
total:
	@echo total $(words $(ZAPP_PHP) $(ZAPP_OBJECTS)) $(words $(wildcard $(ZAPP_PHP) $(ZAPP_OBJECTS)))

# Those that take longest begin first, so that no processor is idle while the last one is compiled.
objects: $(ZAPP_LONGEST) $(ZAPP_PHP) $(ZAPP_OBJECTS)

zapp/php: $(ZAPP_PHP) $(ZAPP_OBJECTS)
	$(CC) $(CFLAGS_CLEAN) $(^:.lo=.o) zapp/magic.o $(LIBRARIES) -lm -o $@.tmp
	mv $@.tmp $@
