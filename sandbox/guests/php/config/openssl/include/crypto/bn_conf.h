/* What OpenSSL's Configure would write, and the product of two words, which it takes for assembly and leaves out with no-asm. */
#ifndef OSSL_CRYPTO_BN_CONF_H
#define OSSL_CRYPTO_BN_CONF_H
#define SIXTY_FOUR_BIT_LONG
#define BN_UMULT_HIGH(a, b) ((BN_ULONG) (((__uint128_t) (a) * (b)) >> 64))
#define BN_UMULT_LOHI(low, high, a, b) \
	({ \
		__uint128_t product = (__uint128_t) (a) * (b); \
		(high) = (BN_ULONG) (product >> 64); \
		(low) = (BN_ULONG) product; \
	})
#endif
