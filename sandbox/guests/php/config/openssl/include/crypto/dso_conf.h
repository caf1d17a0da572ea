/* What OpenSSL's Configure would write: there are no shared objects. */
#ifndef OSSL_CRYPTO_DSO_CONF_H
#define OSSL_CRYPTO_DSO_CONF_H
#define DSO_NONE
#define DSO_EXTENSION ".so"
#endif
