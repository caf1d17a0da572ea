/* What GCC calls instead of emitting code: the part of libgcc that C programs for x86-64-v2 need. */
typedef unsigned __int128 u128;
typedef __int128 i128;
typedef unsigned long u64;

int __popcountdi2(u64 x)
{
	int n = 0;
	for (; x; x &= x - 1) n++;
	return n;
}

int __popcountsi2(unsigned x) { return __popcountdi2(x); }
int __popcountti2(u128 x) { return __popcountdi2((u64)x) + __popcountdi2((u64)(x >> 64)); }
int __paritydi2(u64 x) { return __popcountdi2(x) & 1; }
int __paritysi2(unsigned x) { return __popcountdi2(x) & 1; }
int __parityti2(u128 x) { return __popcountti2(x) & 1; }
int __clzdi2(u64 x) { return __builtin_clzl(x); }
int __ctzdi2(u64 x) { return __builtin_ctzl(x); }
int __ffsdi2(u64 x) { return x ? __builtin_ctzl(x) + 1 : 0; }
int __clzti2(u128 x) { return (x >> 64) ? __builtin_clzl((u64)(x >> 64)) : 64 + __builtin_clzl((u64)x); }
int __ctzti2(u128 x) { return (u64)x ? __builtin_ctzl((u64)x) : 64 + __builtin_ctzl((u64)(x >> 64)); }
int __ffsti2(u128 x) { return x ? __ctzti2(x) + 1 : 0; }
int __clrsbdi2(long x) { x ^= x >> 63; return x ? __builtin_clzl(x) - 1 : 63; }
int __clrsbti2(i128 x) { x ^= x >> 127; return x ? __clzti2(x) - 1 : 127; }

/* 128 / 64 bits where the quotient fits 64 bits: one instruction. */
static u64 divide(u64 high, u64 low, u64 by, u64 *rest)
{
	u64 quotient;
	__asm__("divq %4" : "=a"(quotient), "=d"(*rest) : "0"(low), "1"(high), "r"(by) : "cc");
	return quotient;
}

u128 __udivmodti4(u128 n, u128 d, u128 *rest)
{
	u64 nh = (u64)(n >> 64), nl = (u64)n, dh = (u64)(d >> 64), dl = (u64)d, r;
	u128 quotient;

	if (!dh) {
		u64 high = 0;
		if (nh >= dl) {
			high = nh / dl;
			nh %= dl;
		}
		quotient = (u128)high << 64 | divide(nh, nl, dl, &r);
		if (rest) *rest = r;
		return quotient;
	}
	if (d > n) {
		if (rest) *rest = n;
		return 0;
	}
	/* The quotient is below 2^64: estimate it from the leading bits, then correct it downwards. */
	int shift = __builtin_clzl(dh);
	u64 top = (u64)((d << shift) >> 64);
	u128 half = n >> 1;
	u64 estimate = divide((u64)(half >> 64), (u64)half, top, &r);
	estimate = shift ? estimate >> (63 - shift) : estimate >> 63;
	if (estimate) estimate--;
	u128 left = n - (u128)estimate * d;
	while (left >= d) {
		left -= d;
		estimate++;
	}
	if (rest) *rest = left;
	return estimate;
}

u128 __udivti3(u128 n, u128 d) { return __udivmodti4(n, d, 0); }

u128 __umodti3(u128 n, u128 d)
{
	u128 rest;
	__udivmodti4(n, d, &rest);
	return rest;
}

i128 __divmodti4(i128 n, i128 d, i128 *rest)
{
	u128 r, q = __udivmodti4(n < 0 ? -(u128)n : (u128)n, d < 0 ? -(u128)d : (u128)d, &r);
	if (rest) *rest = n < 0 ? -r : r;
	return (n < 0) != (d < 0) ? -q : q;
}

i128 __divti3(i128 n, i128 d) { return __divmodti4(n, d, 0); }

i128 __modti3(i128 n, i128 d)
{
	i128 rest;
	__divmodti4(n, d, &rest);
	return rest;
}

i128 __multi3(i128 a, i128 b) { return a * b; }
i128 __ashlti3(i128 a, int n) { return a << n; }
i128 __ashrti3(i128 a, int n) { return a >> n; }
i128 __lshrti3(i128 a, int n) { return (u128)a >> n; }
int __cmpti2(i128 a, i128 b) { return a < b ? 0 : a > b ? 2 : 1; }
int __ucmpti2(u128 a, u128 b) { return a < b ? 0 : a > b ? 2 : 1; }
u64 __bswapdi2(u64 x) { return __builtin_bswap64(x); }
unsigned __bswapsi2(unsigned x) { return __builtin_bswap32(x); }

/* -ftrapv */
#define TRAPPING(name, type, builtin) \
	type name(type a, type b) { type r; if (builtin(a, b, &r)) __builtin_trap(); return r; }
TRAPPING(__addvsi3, int, __builtin_add_overflow)
TRAPPING(__addvdi3, long, __builtin_add_overflow)
TRAPPING(__addvti3, i128, __builtin_add_overflow)
TRAPPING(__subvsi3, int, __builtin_sub_overflow)
TRAPPING(__subvdi3, long, __builtin_sub_overflow)
TRAPPING(__subvti3, i128, __builtin_sub_overflow)
TRAPPING(__mulvsi3, int, __builtin_mul_overflow)
TRAPPING(__mulvdi3, long, __builtin_mul_overflow)
TRAPPING(__mulvti3, i128, __builtin_mul_overflow)
int __negvsi2(int a) { return __subvsi3(0, a); }
long __negvdi2(long a) { return __subvdi3(0, a); }
int __absvsi2(int a) { return a < 0 ? __negvsi2(a) : a; }
long __absvdi2(long a) { return a < 0 ? __negvdi2(a) : a; }

i128 __muloti4(i128 a, i128 b, int *overflow)
{
	i128 r;
	*overflow = __builtin_mul_overflow(a, b, &r);
	return r;
}

/* Powers with an integer exponent. */
#define POWER(name, type) \
	type name(type x, int n) \
	{ \
		unsigned m = n < 0 ? -(unsigned)n : (unsigned)n; \
		type y = m % 2 ? x : 1; \
		while (m >>= 1) { \
			x = x * x; \
			if (m % 2) y *= x; \
		} \
		return n < 0 ? 1 / y : y; \
	}
POWER(__powisf2, float)
POWER(__powidf2, double)
POWER(__powixf2, long double)

/* 128-bit integers and floating point. */
#define FROM_U(type, a) ((type)((long double)(u64)((a) >> 64) * 0x1p64L + (long double)(u64)(a)))
long double __floattixf(i128 a)
{
	return (long double)(long)(a >> 64) * 0x1p64L + (long double)(u64)a;
}
long double __floatuntixf(u128 a) { return FROM_U(long double, a); }

/* Rounds once: bits that cannot reach the result become one sticky bit below a 64-bit significand. */
static u64 leading_bits(u128 a, int *scale, int precision)
{
	int width = 128 - __clzti2(a), drop = width - (precision + 2);
	if (drop <= 0) {
		*scale = 0;
		return (u64)a;
	}
	u128 low = a & (((u128)1 << drop) - 1);
	*scale = drop;
	return (u64)(a >> drop) | (low != 0);
}

static double scaled(double x, int n)
{
	union { u64 bits; double value; } power = { (u64)(1023 + n) << 52 };
	return x * power.value;
}

double __floatuntidf(u128 a)
{
	int scale;
	if (!a) return 0;
	u64 bits = leading_bits(a, &scale, 53);
	return scaled((double)bits, scale);
}

double __floattidf(i128 a) { return a < 0 ? -__floatuntidf(-(u128)a) : __floatuntidf((u128)a); }

float __floatuntisf(u128 a)
{
	int scale;
	if (!a) return 0;
	u64 bits = leading_bits(a, &scale, 24);
	return (float)scaled((double)bits, scale);
}

float __floattisf(i128 a) { return a < 0 ? -__floatuntisf(-(u128)a) : __floatuntisf((u128)a); }

u128 __fixunsxfti(long double x)
{
	if (!(x >= 1)) return 0;
	if (x >= 0x1p128L) return ~(u128)0;
	u64 high = (u64)(x * 0x1p-64L);
	return (u128)high << 64 | (u64)(x - (long double)high * 0x1p64L);
}

i128 __fixxfti(long double x)
{
	if (x >= 0x1p127L) return (i128)(~(u128)0 >> 1);
	if (x <= -0x1p127L) return (i128)((u128)1 << 127);
	return x < 0 ? -(i128)__fixunsxfti(-x) : (i128)__fixunsxfti(x);
}

u128 __fixunsdfti(double x) { return __fixunsxfti(x); }
u128 __fixunssfti(float x) { return __fixunsxfti(x); }
i128 __fixdfti(double x) { return __fixxfti(x); }
i128 __fixsfti(float x) { return __fixxfti(x); }

/* Complex products and quotients by the rules of C, Annex G. */
/* Floats have room in a double: no care is needed. */
#define WIDER(type, fabs, min, max, epsilon) \
	double p = a, q = b, r = c, s = d, whole = r * r + s * s; \
	x = (type)((p * r + q * s) / whole); \
	y = (type)((q * r - p * s) / whole);

/* Smith's method with scaling. */
#define SMITH(type, fabs, min, max, epsilon) \
	const type least = min, tiny = epsilon, most = max / 2; \
	type ac = fabs(c), ad = fabs(d), large = ac < ad ? ad : ac, scale = 1; \
	/* Keeps the denominator in range, and numerators that would lose bits. */ \
	if (large >= most) scale = (type)0.5; \
	else if (large < least || (large < most * tiny && \
	         ((fabs(a) < least && fabs(b) < most * tiny) || (fabs(b) < least && fabs(a) < most * tiny)))) \
		scale = 1 / tiny; \
	a *= scale; \
	b *= scale; \
	c *= scale; \
	d *= scale; \
	if (ac < ad) { \
		type ratio = c / d, whole = c * ratio + d; \
		int fine = fabs(ratio) > least; \
		x = ((fine ? a * ratio : c * (a / d)) + b) / whole; \
		y = ((fine ? b * ratio : c * (b / d)) - a) / whole; \
	} else { \
		type ratio = d / c, whole = d * ratio + c; \
		int fine = fabs(ratio) > least; \
		x = ((fine ? b * ratio : d * (b / c)) + a) / whole; \
		y = (b - (fine ? a * ratio : d * (a / c))) / whole; \
	}

#define COMPLEX(mul, div, type, copysign, fabs, inf, quotient, min, max, epsilon) \
	type _Complex mul(type a, type b, type c, type d) \
	{ \
		type ac = a * c, bd = b * d, ad = a * d, bc = b * c, x = ac - bd, y = ad + bc; \
		if (x != x && y != y) { \
			int again = 0; \
			if (__builtin_isinf(a) || __builtin_isinf(b)) { \
				a = copysign(__builtin_isinf(a) ? 1 : 0, a); \
				b = copysign(__builtin_isinf(b) ? 1 : 0, b); \
				if (c != c) c = copysign(0, c); \
				if (d != d) d = copysign(0, d); \
				again = 1; \
			} \
			if (__builtin_isinf(c) || __builtin_isinf(d)) { \
				c = copysign(__builtin_isinf(c) ? 1 : 0, c); \
				d = copysign(__builtin_isinf(d) ? 1 : 0, d); \
				if (a != a) a = copysign(0, a); \
				if (b != b) b = copysign(0, b); \
				again = 1; \
			} \
			if (!again && (__builtin_isinf(ac) || __builtin_isinf(bd) || __builtin_isinf(ad) || \
			               __builtin_isinf(bc))) { \
				if (a != a) a = copysign(0, a); \
				if (b != b) b = copysign(0, b); \
				if (c != c) c = copysign(0, c); \
				if (d != d) d = copysign(0, d); \
				again = 1; \
			} \
			if (again) { \
				x = inf * (a * c - b * d); \
				y = inf * (a * d + b * c); \
			} \
		} \
		return __builtin_complex(x, y); \
	} \
	type _Complex div(type a, type b, type c, type d) \
	{ \
		type x, y; \
		quotient(type, fabs, min, max, epsilon) \
		if (x != x && y != y) { \
			if (c == 0 && d == 0 && (a == a || b == b)) { \
				x = copysign(inf, c) * a; \
				y = copysign(inf, c) * b; \
			} else if ((__builtin_isinf(a) || __builtin_isinf(b)) && __builtin_isfinite(c) && \
			           __builtin_isfinite(d)) { \
				a = copysign(__builtin_isinf(a) ? 1 : 0, a); \
				b = copysign(__builtin_isinf(b) ? 1 : 0, b); \
				x = inf * (a * c + b * d); \
				y = inf * (b * c - a * d); \
			} else if ((__builtin_isinf(c) || __builtin_isinf(d)) && __builtin_isfinite(a) && \
			           __builtin_isfinite(b)) { \
				c = copysign(__builtin_isinf(c) ? 1 : 0, c); \
				d = copysign(__builtin_isinf(d) ? 1 : 0, d); \
				x = 0 * (a * c + b * d); \
				y = 0 * (b * c - a * d); \
			} \
		} \
		return __builtin_complex(x, y); \
	}
COMPLEX(__mulsc3, __divsc3, float, __builtin_copysignf, __builtin_fabsf, __builtin_inff(), WIDER, __FLT_MIN__, __FLT_MAX__, __FLT_EPSILON__)
COMPLEX(__muldc3, __divdc3, double, __builtin_copysign, __builtin_fabs, __builtin_inf(), SMITH, __DBL_MIN__, __DBL_MAX__, __DBL_EPSILON__)
COMPLEX(__mulxc3, __divxc3, long double, __builtin_copysignl, __builtin_fabsl, __builtin_infl(), SMITH, __LDBL_MIN__, __LDBL_MAX__, __LDBL_EPSILON__)

/* __builtin_cpu_supports: cmov, popcnt and SSE to SSE4.2, on every machine. */
struct {
	unsigned vendor, type, subtype, features[1];
} __cpu_model = { 0, 0, 0, { 0x1FD } };
unsigned __cpu_features2[1];
int __cpu_indicator_init(void) { return 0; }
