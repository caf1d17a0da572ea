
/* What running programs with GNU libiconv would tell configure, in place of what they tell of musl's. */
#undef ICONV_BROKEN_IGNORE
#define ICONV_BROKEN_IGNORE 0
#undef HAVE_LIBICONV
#define HAVE_LIBICONV 1
#undef PHP_ICONV_IMPL
#define PHP_ICONV_IMPL "libiconv"
