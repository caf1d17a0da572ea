/* What OpenSSL's Configure writes for: no-asm no-threads no-async no-engine no-dso no-shared no-module no-legacy no-ui-console
 * no-secure-memory no-autoload-config no-ktls no-dgram no-bf no-cast no-idea no-mdc2 no-rc5 no-seed no-whirlpool no-ocsp no-ts no-cmp no-ct
 * no-srp no-srtp enable-ec_nistp_64_gcc_128 --with-rand-seed=getrandom. */
#ifndef OPENSSL_CONFIGURATION_H
#define OPENSSL_CONFIGURATION_H
#define OPENSSL_CONFIGURED_API 30000
#define OPENSSL_NO_ASM
#define OPENSSL_NO_ASYNC
#define OPENSSL_NO_AUTOLOAD_CONFIG
#define OPENSSL_NO_BF
#define OPENSSL_NO_CAST
#define OPENSSL_NO_CMP
#define OPENSSL_NO_CRMF
#define OPENSSL_NO_CRYPTO_MDEBUG
#define OPENSSL_NO_CRYPTO_MDEBUG_BACKTRACE
#define OPENSSL_NO_CT
#define OPENSSL_NO_DGRAM
#define OPENSSL_NO_DSO
#define OPENSSL_NO_DTLS
#define OPENSSL_NO_DTLS1
#define OPENSSL_NO_DTLS1_2
#define OPENSSL_NO_DYNAMIC_ENGINE
#define OPENSSL_NO_EGD
#define OPENSSL_NO_ENGINE
#define OPENSSL_NO_FIPS_SECURITYCHECKS
#define OPENSSL_NO_IDEA
#define OPENSSL_NO_KTLS
#define OPENSSL_NO_MD2
#define OPENSSL_NO_MDC2
#define OPENSSL_NO_OCSP
#define OPENSSL_NO_RC5
#define OPENSSL_NO_SCTP
#define OPENSSL_NO_SECURE_MEMORY
#define OPENSSL_NO_SEED
#define OPENSSL_NO_SRP
#define OPENSSL_NO_SRTP
#define OPENSSL_NO_SSL3
#define OPENSSL_NO_SSL3_METHOD
#define OPENSSL_NO_TRACE
#define OPENSSL_NO_TS
#define OPENSSL_NO_UI_CONSOLE
#define OPENSSL_NO_WEAK_SSL_CIPHERS
#define OPENSSL_NO_WHIRLPOOL
#define OPENSSL_RAND_SEED_GETRANDOM
#define SIXTY_FOUR_BIT_LONG
#define RC4_INT unsigned int
#endif
