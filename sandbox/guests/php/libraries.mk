# The libraries that PHP is linked with, a stanza each: NAME.source is the folder of the C files NAME.files, NAME.options what they are
# compiled with, NAME.needs what must be there first, and NAME.halved files that are compiled with half the effort. recipe.mk makes the rules. One more library is one more stanza,
# a line in `sources` and, if its extension has to be told where it is, a pair of variables where recipe.mk configures PHP.

LIBRARIES := sqlite3 xml2 z

# -O2 without what takes GCC half of the time there and is hardly noticed where code branches more than it counts.
HALVED := -O1 -finline-small-functions -findirect-inlining -fpartial-inlining -foptimize-sibling-calls -fstrict-aliasing -ftree-vrp \
	-fthread-jumps -fcaller-saves -fpeephole2 -freorder-blocks-algorithm=stc -freorder-functions \
	-freorder-blocks-and-partition -fipa-ra -ftree-switch-conversion -fstore-merging

# What Debian's build has, and what read-only images make of it: databases are read through a mapping where one can be
# had, and there are no other threads.
sqlite3.source := sqlite
sqlite3.needs := sqlite/sqlite3.c
sqlite3.files := sqlite3
# Its own speedtest1 takes as long as with -O2, and the code is a sixth smaller.
sqlite3.halved := sqlite3
sqlite3.options := -DSQLITE_THREADSAFE=0 -DSQLITE_ENABLE_FTS3 -DSQLITE_ENABLE_FTS3_PARENTHESIS \
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
xml2.options := -DHAVE_CONFIG_H -D_REENTRANT -I$(RECIPE)/libxml2 -Iinclude/libxml2 -Isource/libxml2/include

z.source := source/zlib
z.files := adler32 compress crc32 deflate gzclose gzlib gzread gzwrite infback inffast inflate inftrees trees uncompr zutil
z.options := -DHAVE_UNISTD_H -D_LARGEFILE64_SOURCE=1 -DHAVE_HIDDEN
