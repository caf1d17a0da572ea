# OpenSSL: libcrypto and libssl as one library, in C alone, as config/openssl/include/openssl/configuration.h says. Its lists of files are its
# folders without what is for other processors, other systems and what is left out.

openssl.source := $(RECIPE)/config/openssl source/openssl
openssl.made := $(addprefix providers/common/der/der_,$(addsuffix _gen,digests dsa ec ecx rsa sm2 wrap))
openssl.folders := crypto $(addprefix crypto/,aes aria asn1 async async/arch bio bn buffer camellia chacha cmac cms comp conf des dh dsa dso ec \
	ec/curve448 ec/curve448/arch_64 encode_decode err ess evp ffc hmac http kdf lhash md4 md5 modes objects pem pkcs12 \
	pkcs7 poly1305 property rand rc2 rc4 ripemd rsa sha siphash sm2 sm3 sm4 stack store txt_db ui x509) providers providers/common \
	providers/common/der $(addprefix providers/implementations/,asymciphers ciphers digests encode_decode exchange kdfs kem \
	keymgmt macs rands rands/seeding signature storemgmt) ssl ssl/record ssl/statem
openssl.others := $(addprefix crypto/,LPdir_% armcap dllmain ppccap s390xcap sparcv9cap bn/bn_ppc bn/bn_sparc bn/rsaz_exp bn/rsaz_exp_x2 \
	chacha/chacha_ppc des/ncbc_enc ec/ecp_nistz256 ec/ecp_nistz256_table ec/ecp_ppc ec/ecp_s390x_nistp ec/ecx_s390x evp/e_seed \
	evp/legacy_md2 evp/legacy_mdc2 evp/legacy_wp poly1305/poly1305_base2_44 poly1305/poly1305_ieee754 \
	poly1305/poly1305_ppc rand/rand_egd rsa/rsa_acvp_test_params sha/sha_ppc) providers/legacyprov \
	providers/common/securitycheck_fips $(addprefix providers/implementations/,ciphers/cipher_blowfish% ciphers/cipher_cast5% \
	ciphers/cipher_des ciphers/cipher_des_hw ciphers/cipher_desx% ciphers/cipher_idea% ciphers/cipher_rc2% ciphers/cipher_rc4% \
	ciphers/cipher_rc5% ciphers/cipher_seed% digests/md2_prov digests/md4_prov digests/mdc2_prov digests/wp_prov kdfs/pbkdf1 \
	macs/blake2_mac_impl rands/seeding/rand_vms rands/seeding/rand_vxworks) ssl/ktls
openssl.files = $(openssl.made) $(filter-out $(openssl.others),$(call sources,source/openssl,$(openssl.folders:%=%/*)))
# What computes has -O2; what reads certificates, messages and names waits for that.
openssl.halved = $(filter-out $(addprefix crypto/,aes/% aria/% bn/% camellia/% chacha/% des/% ec/% md4/% md5/% modes/% poly1305/% rc4/% ripemd/% \
	sha/% siphash/% sm3/% sm4/% lhash/%) providers/implementations/ciphers/% providers/implementations/digests/%,$(openssl.files))
openssl.needs := openssl/include/openssl/opensslv.h openssl/include/openssl_cnf.h
openssl.options := -DL_ENDIAN -DNDEBUG -DOPENSSL_BUILDING_OPENSSL '-DOPENSSLDIR="/usr/lib/ssl"' '-DENGINESDIR="/usr/lib/engines-3"' \
	'-DMODULESDIR="/usr/lib/ossl-modules"' -I$(RECIPE)/config/openssl/include -Iopenssl/include -Iopenssl/providers/common/include \
	-Isource/openssl -Isource/openssl/include -Isource/openssl/providers/common/include \
	-Isource/openssl/providers/implementations/include
# For those who use it.
openssl.include = -I$(CURDIR)/openssl/include -I$(RECIPE)/config/openssl/include -I$(CURDIR)/source/openssl/include

openssl/include/openssl/opensslv.h: $(RECIPE)/config/openssl/generate
	mkdir -p openssl
	perl $< source/openssl openssl
	touch $@

$(openssl.made:%=openssl/%.c): openssl/include/openssl/opensslv.h ;

# The example of upstream, as a string.
openssl/include/openssl_cnf.h: source/openssl/apps/openssl.cnf
	mkdir -p $(@D)
	sed 's/[\\"]/\\&/g;s/.*/"&\\n"/' $< >$@.tmp
	mv $@.tmp $@
