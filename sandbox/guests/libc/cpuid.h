/*
 * What a guest may ask about its processor: nothing. It was compiled for x86-64-v2 and must answer alike on every host, so
 * there are no leaves, and each question gets zeroes. Names as in GCC's <cpuid.h>; bits as in Intel's manual, volume 2, CPUID.
 */
#ifndef _CPUID_H
#define _CPUID_H

/* Leaf 1, ecx. */
#define bit_SSE3 (1 << 0)
#define bit_PCLMUL (1 << 1)
#define bit_LZCNT (1 << 5)
#define bit_SSSE3 (1 << 9)
#define bit_FMA (1 << 12)
#define bit_CMPXCHG16B (1 << 13)
#define bit_SSE4_1 (1 << 19)
#define bit_SSE4_2 (1 << 20)
#define bit_MOVBE (1 << 22)
#define bit_POPCNT (1 << 23)
#define bit_AES (1 << 25)
#define bit_XSAVE (1 << 26)
#define bit_OSXSAVE (1 << 27)
#define bit_AVX (1 << 28)
#define bit_F16C (1 << 29)
#define bit_RDRND (1 << 30)

/* Leaf 1, edx. */
#define bit_CMPXCHG8B (1 << 8)
#define bit_CMOV (1 << 15)
#define bit_MMX (1 << 23)
#define bit_FXSAVE (1 << 24)
#define bit_SSE (1 << 25)
#define bit_SSE2 (1 << 26)

/* Leaf 7, ebx. */
#define bit_BMI (1 << 3)
#define bit_AVX2 (1 << 5)
#define bit_BMI2 (1 << 8)
#define bit_AVX512F (1 << 16)
#define bit_AVX512DQ (1 << 17)
#define bit_RDSEED (1 << 18)
#define bit_ADX (1 << 19)
#define bit_AVX512CD (1 << 28)
#define bit_SHA (1 << 29)
#define bit_AVX512BW (1 << 30)
#define bit_AVX512VL (1u << 31)

#define __cpuid_count(level, count, a, b, c, d) \
	((void) (level), (void) (count), (a) = (b) = (c) = (d) = 0)
#define __cpuid(level, a, b, c, d) __cpuid_count(level, 0, a, b, c, d)

static __inline unsigned int __get_cpuid_max(unsigned int level, unsigned int *signature)
{
	(void) level;
	if (signature) {
		*signature = 0;
	}
	return 0;
}

/* 0: there is no such leaf, and nothing is written. */
static __inline int __get_cpuid(unsigned int leaf, unsigned int *a, unsigned int *b, unsigned int *c, unsigned int *d)
{
	(void) leaf, (void) a, (void) b, (void) c, (void) d;
	return 0;
}

static __inline int __get_cpuid_count(unsigned int leaf, unsigned int subleaf, unsigned int *a, unsigned int *b, unsigned int *c,
	unsigned int *d)
{
	(void) subleaf;
	return __get_cpuid(leaf, a, b, c, d);
}

#endif
