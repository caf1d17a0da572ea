
/* Answers that configure keeps in no cache: found by running programs with musl, which a cross compilation does not. */
#undef COOKIE_SEEKER_USES_OFF64_T
#undef HAVE_FPU_INLINE_ASM_X86
#define HAVE_FPU_INLINE_ASM_X86 1
#undef HAVE_GCC_GLOBAL_REGS
#define HAVE_GCC_GLOBAL_REGS 1
#undef ICONV_BROKEN_IGNORE
#define ICONV_BROKEN_IGNORE 1
#undef ZEND_MM_ALIGNMENT
#define ZEND_MM_ALIGNMENT (size_t)8
#undef ZEND_MM_ALIGNMENT_LOG2
#define ZEND_MM_ALIGNMENT_LOG2 (size_t)3
