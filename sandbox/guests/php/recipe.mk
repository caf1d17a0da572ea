# What `build` has make do in a work folder where it has unpacked the sources. One make for all of it, so that the long compilation of
# SQLite, the one-processor configure and PHP's files lie beside each other on all processors.
#
#   make -f recipe.mk RECIPE=this-folder prepared                       what needs no compiler for guests
#   make -f recipe.mk RECIPE=… HOST=guest|native CC=… php/zapp/php      the program
#
# An object gets its name when it is whole, so that a build that was ended goes on where it was. `build` reads what is printed:
# `step NAME` when one begins, `total N` and `compiled NAME` to tell how far it is.

MAKEFLAGS += --no-builtin-rules
.DELETE_ON_ERROR:
.PHONY: prepared libraries set parts

include $(RECIPE)/extensions.mk
include $(RECIPE)/libraries.mk

HEADERS := include/sqlite3.h include/libxml2/libxml/xmlversion.h intl/include/libintl.h \
	$(foreach library,$(LIBRARIES),$(addprefix include/,$(notdir $($(library).headers))) $(filter %.h,$($(library).needs)))

STUBS := $(LIBRARIES:%=stub/lib%.a) $(if $(filter iconv,$(LIBRARIES)),gnu/include/iconv.h gnu/lib/libiconv.a)

# What a build contains: part of its name, and what has to be unpacked.
set:
	@echo $(EXTENSIONS)
parts:
	@echo php sqlite $(patsubst z,zlib,$(patsubst xml2,libxml2,$(filter-out sqlite3,$(LIBRARIES))))

# With all that configure waits for, so that it begins at once when make does.
prepared: sqlite/sqlite3.c magic.bin $(HEADERS) $(STUBS)

# SQLite as one file. Its makefile needs no configure for that, only tclsh and a compiler for the tools that write C. The header is made
# earlier, and would be copied again, and all of PHP compiled again, whenever a build goes on.
sqlite/sqlite3.c:
	mkdir -p sqlite
	$(MAKE) -C sqlite -f ../source/sqlite/main.mk TOP=../source/sqlite BCC=gcc TCC=gcc OPTS='$(SQLITE_PARSER)' sqlite3.c
	touch sqlite/sqlite3.h

sqlite/sqlite3.h: sqlite/sqlite3.c ;

# The database of file types, 7 MB, as the bytes it is.
magic.bin: $(RECIPE)/bytes.c
	gcc -O1 -o bytes $<
	./bytes <source/php/ext/fileinfo/magic.c >$@.tmp
	mv $@.tmp $@

include/%.h: sqlite/%.h
	mkdir -p $(@D)
	cp $< $@

intl/include/libintl.h:
	mkdir -p $(@D)
	echo '#include_next <libintl.h>' >$@

# Without threads, files that are compressed, the network, and what is only for its own debugging.
include/libxml2/libxml/xmlversion.h: source/libxml2/include/libxml/xmlversion.h.in
	mkdir -p $(@D)
	cp source/libxml2/include/libxml/*.h $(@D)/
	sed -e 's/@VERSION@/2.9.14/;s/@LIBXML_VERSION_NUMBER@/20914/;s/@LIBXML_VERSION_EXTRA@//;s/@MODULE_EXTENSION@//' \
		-e 's/@WITH_\(THREADS\|THREAD_ALLOC\|ZLIB\|LZMA\|HTTP\|FTP\|DEBUG\|MODULES\|LEGACY\|TRIO\|MEM_DEBUG\|RUN_DEBUG\|ICU\)@/0/' \
		-e 's/@WITH_[A-Z0-9]*@/1/' $< >$@.tmp
	mv $@.tmp $@

# configure wants something to link with; what it would ask about it is among the answers.
stub/%.a gnu/lib/%.a:
	mkdir -p $(@D)
	ar rcD $@

define LIBRARY
$(1).objects := $$($(1).files:%=lib/$(1)/%.o)

$$($(1).objects): lib/$(1)/%.o: $$($(1).needs)
	@mkdir -p $$(@D)
	$$(CC) $$(if $$(filter $$*,$$($(1).halved)),$$(HALVED),-O2) -D_GNU_SOURCE $$($(1).options) \
		-c $$(if $$(filter $$*,$$($(1).made)),$(1)/$$*.c,$$(firstword $$(wildcard $$($(1).source:%=%/$$*.c)))) -o $$@.tmp
	mv $$@.tmp $$@
	@echo compiled $$@

lib/lib$(1).a: $$($(1).objects)
	rm -f $$@
	ar rcD $$@ $$^

$(foreach header,$($(1).headers),
include/$(notdir $(header)): $(header)
	@mkdir -p include
	cp $$< $$@
)
endef
$(foreach library,$(LIBRARIES),$(eval $(call LIBRARY,$(library))))

ARCHIVES := $(LIBRARIES:%=lib/lib%.a)
libraries: $(ARCHIVES)
OBJECTS := $(foreach library,$(LIBRARIES),$($(library).objects))

# As for another machine: what it would find by running programs is among the answers, the same for both kinds. `answer` sets both
# variables otherwise.
ANSWERS = $(RECIPE)/answers
MACHINES = --build=x86_64-linux-gnu --host=x86_64-linux-musl

configured: $(HEADERS) $(STUBS) $(wildcard $(ANSWERS)/*)
	@echo step configure
	rm -rf php
	mkdir php
	cp $(ANSWERS)/configure php/answers
	cd php && env CC='$(CC)' CFLAGS=-O2 CPPFLAGS=-D_GNU_SOURCE $(call package,LIBXML,xml2,-I$(CURDIR)/include/libxml2) \
		$(call package,ZLIB,z) $(call package,SQLITE,sqlite3) $(foreach extension,$(EXTENSIONS),$($(extension).environment)) \
		../source/php/configure --cache-file=answers $(MACHINES) --prefix=/usr --with-config-file-path=/etc/php \
		--disable-cgi --disable-phpdbg --without-pear --disable-opcache --without-pcre-jit --enable-mbstring --with-zlib \
		--disable-zend-signals --disable-ipv6 --without-valgrind $(foreach extension,$(EXTENSIONS),$($(extension).configure)) \
		$(foreach extension,$(filter-out $(EXTENSIONS),$(full)),$($(extension).without))
	cat $(ANSWERS)/php_config.h $(wildcard $(EXTENSIONS:%=$(RECIPE)/config/%/php_config.h)) >>php/main/php_config.h
	$(if $(PROFILE),tar -xf $(PROFILE) -C php)
	touch $@

php/zapp/magic.o: magic.bin configured
	@mkdir -p $(@D)
	printf '\t.section .rodata\n\t.balign 32\n\t.globl php_magic_database\nphp_magic_database:\n\t.incbin "%s"\n\t.section .note.GNU-stack,"",@progbits\n' \
		$< | as --64 -o $@.tmp -
	mv $@.tmp $@

# An undeclared function would be taken to return an int, and lose half of a pointer.
ZAPP_MAKE = $(MAKE) -C php -f $(RECIPE)/zapp.mk ZAPP=$(RECIPE) HOST=$(HOST) LIBTOOL=$(RECIPE)/libtool CC='$(CC)' \
	CPPFLAGS='-I$(RECIPE)/shim -D_GNU_SOURCE -Werror=implicit-function-declaration' LIBRARIES='$(ARCHIVES:%=../%)' HALVED='$(HALVED)'

.PHONY: objects
objects: configured
	@echo step php
	@echo total $(words $(OBJECTS)) $(words $(wildcard $(OBJECTS)))
	@+$(ZAPP_MAKE) --no-print-directory -s total
	+$(ZAPP_MAKE) objects

# The longest compilation first, then what all of PHP waits for.
php/zapp/php: lib/sqlite3/sqlite3.o objects $(OBJECTS) $(ARCHIVES) php/zapp/magic.o
	@echo step link
	+$(ZAPP_MAKE) zapp/php
