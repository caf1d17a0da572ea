# The libraries that PHP can be linked with, a stanza each: NAME.source are the folders of the C files NAME.files (the first one that has
# a file counts), NAME.options what they are compiled with, NAME.needs what must be there first, NAME.headers what is copied to include/,
# NAME.made files that are made into the folder NAME, and NAME.halved files that are compiled with half the effort. recipe.mk makes the rules. One more library is one more stanza and a line in `sources`,
# where the part has the library's name; extensions.mk says which extension wants it.

# LIBRARIES is what all sets want, and what the extensions of this one want.
LIBRARIES := $(sort sqlite3 xml2 z $(foreach extension,$(EXTENSIONS),$($(extension).libraries)))

# sources FOLDER,PATTERN...: the C files there, without folder and .c; none before they are unpacked.
sources = $(patsubst $(1)/%.c,%,$(wildcard $(addprefix $(1)/,$(addsuffix .c,$(2)))))

# -O2 without what takes GCC half of the time there and is hardly noticed where code branches more than it counts.
HALVED := -O1 -finline-small-functions -findirect-inlining -fpartial-inlining -foptimize-sibling-calls -fstrict-aliasing -ftree-vrp \
	-fthread-jumps -fcaller-saves -fpeephole2 -freorder-blocks-algorithm=stc -freorder-functions \
	-freorder-blocks-and-partition -fipa-ra -ftree-switch-conversion -fstore-merging

# What the parser has to know as well, when SQLite becomes one file.
SQLITE_PARSER := -DSQLITE_ENABLE_UPDATE_DELETE_LIMIT

# What Debian's build has, and what read-only images make of it: databases are read through a mapping where one can be
# had, and there are no other threads.
sqlite3.source := sqlite
sqlite3.needs := sqlite/sqlite3.c
sqlite3.files := sqlite3
# Its own speedtest1 takes as long as with -O2, and the code is a sixth smaller.
sqlite3.halved := sqlite3
sqlite3.options := $(SQLITE_PARSER) -DSQLITE_THREADSAFE=0 -DSQLITE_ENABLE_FTS3 -DSQLITE_ENABLE_FTS3_PARENTHESIS \
	-DSQLITE_ENABLE_FTS3_TOKENIZER -DSQLITE_ENABLE_FTS4 -DSQLITE_ENABLE_FTS5 -DSQLITE_ENABLE_RTREE \
	-DSQLITE_ENABLE_MATH_FUNCTIONS -DSQLITE_ENABLE_COLUMN_METADATA -DSQLITE_ENABLE_DBSTAT_VTAB \
	-DSQLITE_ENABLE_DESERIALIZE -DSQLITE_ENABLE_STMTVTAB -DSQLITE_MAX_VARIABLE_NUMBER=250000 -DSQLITE_SECURE_DELETE \
	-DSQLITE_SOUNDEX -DSQLITE_USE_URI -DSQLITE_OMIT_LOAD_EXTENSION -DSQLITE_DEFAULT_MMAP_SIZE=1073741824 \
	-DSQLITE_LIKE_DOESNT_MATCH_BLOBS -DHAVE_USLEEP -DHAVE_FDATASYNC -DHAVE_GMTIME_R -DHAVE_LOCALTIME_R -DHAVE_STRERROR_R

xml2.source := source/libxml2
xml2.needs := include/libxml2/libxml/xmlversion.h
xml2.files := SAX entities encoding error parserInternals parser tree hash list xmlIO xmlmemory uri valid xlink HTMLparser \
	HTMLtree debugXML xpath xpointer xinclude catalog globals threads c14n xmlstring buf xmlregexp xmlschemas \
	xmlschemastypes xmlunicode xmlreader relaxng dict SAX2 xmlwriter legacy chvalid pattern xmlsave xmlmodule schematron \
	nanohttp nanoftp DOCBparser xzlib
# A page that parses XML needs none of these.
xml2.halved := c14n catalog debugXML DOCBparser legacy nanoftp nanohttp relaxng schematron xinclude xmlmodule xmlregexp xmlschemas \
	xmlschemastypes xpointer
xml2.options := -DHAVE_CONFIG_H -D_REENTRANT -I$(RECIPE)/config/xml2 -Iinclude/libxml2 -Isource/libxml2/include

z.source := source/zlib
z.files := adler32 compress crc32 deflate gzclose gzlib gzread gzwrite infback inffast inflate inftrees trees uncompr zutil
z.options := -DHAVE_UNISTD_H -D_LARGEFILE64_SOURCE=1 -DHAVE_HIDDEN
z.headers := source/zlib/zlib.h source/zlib/zconf.h

# No tables of other systems (AIX, OSF/1), but those of DOS and of glibc's names for more.
iconv.source := source/iconv/support source/iconv/deps/libiconv/lib
iconv.files := iconv localcharset
iconv.options := -DICONV_CONST=const -DENABLE_EXTRA=1 -Isource/iconv/support

# Where PHP's configure looks for it, apart from musl's header of that name.
gnu/include/iconv.h: source/iconv/support/iconv.h
	mkdir -p $(@D)
	cp $< $@

jpeg.source := source/jpeg
jpeg.files := jcapimin jcapistd jccoefct jccolor jcdctmgr jchuff jcicc jcinit jcmainct jcmarker jcmaster jcomapi jcparam jcphuff \
	jcprepct jcsample jctrans jdapimin jdapistd jdatadst jdatasrc jdcoefct jdcolor jddctmgr jdhuff jdicc jdinput jdmainct \
	jdmarker jdmaster jdmerge jdphuff jdpostct jdsample jdtrans jerror jfdctflt jfdctfst jfdctint jidctflt jidctfst jidctint \
	jidctred jquant1 jquant2 jutils jmemmgr jmemnobs jaricom jcarith jdarith jsimd_none
jpeg.headers := source/jpeg/jpeglib.h source/jpeg/jmorecfg.h source/jpeg/jerror.h $(RECIPE)/config/jpeg/jconfig.h
jpeg.needs := jpeg/jversion.h
jpeg.options := -I$(RECIPE)/config/jpeg -Ijpeg

jpeg/jversion.h: source/jpeg/jversion.h.in
	mkdir -p $(@D)
	sed 's/@COPYRIGHT_YEAR@/1991-2023/' $< >$@

png.source := source/png
png.files := png pngerror pngget pngmem pngpread pngread pngrio pngrtran pngrutil pngset pngtrans pngwio pngwrite pngwtran pngwutil
png.headers := source/png/png.h source/png/pngconf.h png/pnglibconf.h
png.needs := png/pnglibconf.h include/zlib.h include/zconf.h
# Where a loop's pointers are merged, GCC 12 takes a string instruction that the sandbox does not know.
png.options := -Ipng -Iinclude -DPNG_INTEL_SSE_OPT=0 -fno-ivopts

png/pnglibconf.h: source/png/scripts/pnglibconf.h.prebuilt
	mkdir -p $(@D)
	cp $< $@

freetype.source := source/freetype/src
freetype.files := $(addprefix base/,ftsystem ftinit ftdebug ftbase ftbbox ftbdf ftbitmap ftcid ftfstype ftgasp ftglyph ftgxval ftmm \
	ftotval ftpatent ftpfr ftstroke ftsynth fttype1 ftwinfnt) truetype/truetype type1/type1 cff/cff cid/type1cid pfr/pfr \
	type42/type42 winfonts/winfnt pcf/pcf bdf/bdf sfnt/sfnt autofit/autofit pshinter/pshinter smooth/smooth raster/raster \
	svg/svg sdf/sdf cache/ftcache gzip/ftgzip lzw/ftlzw bzip2/ftbzip2 psaux/psaux psnames/psnames
freetype.needs := include/zlib.h include/zconf.h
freetype.options := -DFT2_BUILD_LIBRARY -DFT_CONFIG_OPTION_SYSTEM_ZLIB -Isource/freetype/include -Iinclude

# Only what writes and reads one picture. What the processor can do is not asked.
webp.source := $(RECIPE)/config/webp source/webp
webp.files = $(filter-out %_neon %_msa %_mips32 %_mips_dsp_r2,$(call sources,source/webp,src/dec/* src/dsp/* src/enc/* src/utils/* sharpyuv/*))
webp.options := -I$(RECIPE)/config/webp -Isource/webp

# Without encryption by AES, which wants a cryptographic library.
zip.source := $(RECIPE)/config/zip source/zip/lib
zip.made := zip_err_str
zip.files = zip_err_str $(filter-out zip_algorithm_bzip2 zip_algorithm_xz zip_crypto_% zip_random_uwp zip_random_win32 \
	zip_source_file_win32% zip_source_winzip_aes_% zip_winzip_aes,$(call sources,source/zip/lib,*))
zip.needs := zip/zip_err_str.c include/zlib.h include/zconf.h
zip.headers := source/zip/lib/zip.h $(RECIPE)/config/zip/zipconf.h
zip.options := -DHAVE_CONFIG_H -I$(RECIPE)/config/zip -Isource/zip/lib -Iinclude

# The texts of errors are the comments of the header, each behind a letter for its kind.
zip/zip_err_str.c: source/zip/lib/zip.h
	mkdir -p $(@D)
	sed -n 's/^#define ZIP_ER_[A-Z_]* *[0-9]* *\/\* \([A-Z]\) \(.*\) \*\/$$/\1 "\2",/p' $< >$@.list
	(printf '#include "zipint.h"\nconst char *const _zip_err_str[] = {\n'; sed 's/^. //' $@.list; \
		printf '};\nconst int _zip_nerr_str = sizeof _zip_err_str / sizeof *_zip_err_str;\nconst int _zip_err_type[] = {\n'; \
		sed 's/^N.*/ZIP_ET_NONE,/;s/^S.*/ZIP_ET_SYS,/;s/^Z.*/ZIP_ET_ZLIB,/' $@.list; printf '};\n') >$@.tmp
	mv $@.tmp $@

onig.source := source/onig/src
onig.files := regparse regcomp regexec regenc regerror regext regsyntax regtrav regversion st reggnu unicode unicode_unfold_key \
	unicode_fold1_key unicode_fold2_key unicode_fold3_key ascii utf8 utf16_be utf16_le utf32_be utf32_le euc_jp euc_jp_prop \
	sjis sjis_prop $(foreach number,1 2 3 4 5 6 7 8 9 10 11 13 14 15 16,iso8859_$(number)) euc_tw euc_kr big5 gb18030 koi8_r \
	cp1251 onig_init
onig.headers := source/onig/src/oniguruma.h
onig.options := -DHAVE_CONFIG_H -I$(RECIPE)/config/onig

# Without the variants for particular processors, which it would choose among by asking.
sodium.source := source/sodium/src/libsodium
sodium.files = $(filter-out %-avx2 %-avx512f,$(call sources,source/sodium/src/libsodium,*/* */*/* */*/*/* */*/*/*/*))
sodium.needs := sodium/sodium/version.h
sodium.options := -DCONFIGURED=1 -DNATIVE_LITTLE_ENDIAN=1 -DHAVE_TI_MODE=1 -DHAVE_C_VARARRAYS=1 -DHAVE_CATCHABLE_SEGV=0 \
	-DHAVE_GETRANDOM=1 -DHAVE_SYS_RANDOM_H=1 -DHAVE_EXPLICIT_BZERO=1 -DHAVE_INLINE_ASM=0 -DHAVE_ATOMIC_OPS=1 \
	-Isodium/sodium -Isodium -Isource/sodium/src/libsodium/include/sodium -Isource/sodium/src/libsodium/include

sodium/sodium/version.h: source/sodium/src/libsodium/include/sodium/version.h.in
	mkdir -p $(@D)
	sed 's/@VERSION@/1.0.18/;s/@SODIUM_LIBRARY_VERSION_MAJOR@/10/;s/@SODIUM_LIBRARY_VERSION_MINOR@/3/;s/@SODIUM_LIBRARY_MINIMAL_DEF@//;s/"export.h"/"sodium\/export.h"/' \
		$< >$@.tmp
	mv $@.tmp $@

# In C alone. A few files hold several functions, one for each name they are compiled with.
gmp.source := source/gmp
gmp.several := and_n:logops_n andn_n:logops_n nand_n:logops_n ior_n:logops_n iorn_n:logops_n nior_n:logops_n xor_n:logops_n \
	xnor_n:logops_n popcount:popham hamdist:popham sec_add_1:sec_aors_1 sec_sub_1:sec_aors_1 sec_div_qr:sec_div \
	sec_div_r:sec_div sec_pi1_div_qr:sec_pi1_div sec_pi1_div_r:sec_pi1_div
gmp.made := fib_table mp_bases $(foreach pair,$(gmp.several),$(firstword $(subst :, ,$(pair))))
gmp.files = $(gmp.made) assert errno invalid memory compat extract-dbl version primesieve nextprime tal-reent mp_bpl mp_clz_tab mp_dv_tab \
	mp_minv_tab mp_get_fns mp_set_fns $(call sources,source/gmp,mpz/* rand/*) \
	$(filter-out $(addprefix mpn/generic/,logops_n popham sec_aors_1 sec_div sec_pi1_div udiv_w_sdiv add_n_sub_n div_qr_1n_pi2 \
	div_qr_1u_pi2),$(call sources,source/gmp,mpn/generic/*))
gmp.tables := fac_table.h fib_table.h mp_bases.h sieve_table.h trialdivtab.h jacobitab.h perfsqr.h
gmp.needs = include/gmp.h $(gmp.tables:%=gmp/%) $(gmp.made:%=gmp/%.c)
gmp.options := -D__GMP_WITHIN_GMP -I$(RECIPE)/config/gmp -Iinclude -Igmp -Isource/gmp -Isource/gmp/mpn/generic

include/gmp.h: source/gmp/gmp-h.in
	mkdir -p $(@D)
	sed 's/@HAVE_HOST_CPU_FAMILY_power[pc]*@/0/;s/@GMP_LIMB_BITS@/64/;s/@GMP_NAIL_BITS@/0/;s/@DEFN_LONG_LONG_LIMB@//;s/@LIBGMP_DLL@/0/;s/@CC@/gcc/;s/@CFLAGS@/-O2/' \
		$< >$@.tmp
	mv $@.tmp $@

# Programs that write tables, and how they are asked for them.
gmp/gen-%: source/gmp/gen-%.c
	mkdir -p $(@D)
	gcc -O1 -Isource/gmp -o $@ $< -lm

gmp.table = ./$< $(1) >$@.tmp && mv $@.tmp $@
gmp/fac_table.h: gmp/gen-fac
	$(call gmp.table,64 0)
gmp/fib_table.h: gmp/gen-fib
	$(call gmp.table,header 64 0)
gmp/fib_table.c: gmp/gen-fib
	$(call gmp.table,table 64 0)
gmp/mp_bases.h: gmp/gen-bases
	$(call gmp.table,header 64 0)
gmp/mp_bases.c: gmp/gen-bases
	$(call gmp.table,table 64 0)
gmp/sieve_table.h: gmp/gen-sieve
	$(call gmp.table,64)
gmp/trialdivtab.h: gmp/gen-trialdivtab
	$(call gmp.table,64 8000)
gmp/jacobitab.h: gmp/gen-jacobitab
	$(call gmp.table)
gmp/perfsqr.h: gmp/gen-psqr
	$(call gmp.table,64 0)

define GMP_SEVERAL
gmp/$(1).c:
	mkdir -p gmp
	printf '#define OPERATION_$(1) 1\n#include "mpn/generic/$(2).c"\n' >$$@

endef
$(foreach pair,$(gmp.several),$(eval $(call GMP_SEVERAL,$(firstword $(subst :, ,$(pair))),$(lastword $(subst :, ,$(pair))))))

include $(RECIPE)/config/openssl/library.mk

# Without threads and the protocols that PHP's own tests do not know.
curl.source := source/curl/lib
curl.files = $(call sources,source/curl/lib,* curlx/* vauth/* vtls/* vquic/* vssh/*)
curl.needs := openssl/include/openssl/opensslv.h include/zlib.h include/zconf.h
curl.options = -DHAVE_CONFIG_H -DBUILDING_LIBCURL -DCURL_STATICLIB -I$(RECIPE)/config/curl -Isource/curl/include -Isource/curl/lib -Iinclude \
	$(openssl.include) $(if $(filter guest,$(HOST)),-DZAPP_GUEST)
