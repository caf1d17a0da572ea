# The extensions beside those that every build has, a stanza each: NAME.configure is how PHP's configure is asked for it, NAME.without how it is
# told to do without, where that is not its default, NAME.libraries what of libraries.mk it is linked with.
#
# WITH is what a build shall have: `small`, `full`, or names with commas between.

comma := ,
small :=
full := bcmath calendar curl exif ftp gd gettext gmp iconv mbregex mysqli openssl pdo_mysql phar posix soap sodium zip

EXTENSIONS := $(sort $(foreach name,$(subst $(comma), ,$(or $(WITH),full)),$(if $(filter small full,$(name)),$($(name)),$(name))))
UNKNOWN := $(filter-out $(full),$(EXTENSIONS))
$(if $(UNKNOWN),$(error no extension $(UNKNOWN); there are: $(full), and the sets small and full))

# Where a library's headers are, and a name to link with: configure asks pkg-config only for what it is not told.
package = $(1)_CFLAGS='$(or $(3),-I$(CURDIR)/include)' $(1)_LIBS='-L$(CURDIR)/stub -l$(2)'

bcmath.configure := --enable-bcmath
calendar.configure := --enable-calendar
curl.configure := --with-curl
curl.libraries := curl openssl
curl.environment = $(call package,CURL,curl,-I$(CURDIR)/source/curl/include -DCURL_STATICLIB)
exif.configure := --enable-exif
ftp.configure := --enable-ftp
gd.configure := --enable-gd --with-jpeg --with-webp --with-freetype
gd.libraries := freetype jpeg png webp
gd.environment = $(call package,PNG,png) $(call package,JPEG,jpeg) $(call package,WEBP,webp,-I$(CURDIR)/source/webp/src) \
	$(call package,FREETYPE2,freetype,-I$(CURDIR)/source/freetype/include)
# musl has gettext. configure looks for the header in /usr and would take that of the machine.
gettext.configure = --with-gettext=$(CURDIR)/intl
gmp.configure := --with-gmp
gmp.libraries := gmp
iconv.configure = --with-iconv=$(CURDIR)/gnu
iconv.libraries := iconv
mbregex.without := --disable-mbregex
mbregex.libraries := onig
mbregex.environment = $(call package,ONIG,onig)
mysqli.configure := --with-mysqli
openssl.configure := --with-openssl
openssl.libraries := openssl
openssl.environment = $(call package,OPENSSL,openssl,$(openssl.include))
pdo_mysql.configure := --with-pdo-mysql
phar.without := --disable-phar
posix.without := --disable-posix
soap.configure := --enable-soap
sodium.configure := --with-sodium
sodium.libraries := sodium
sodium.environment = $(call package,LIBSODIUM,sodium,-I$(CURDIR)/source/sodium/src/libsodium/include -I$(CURDIR)/sodium)
zip.configure := --with-zip
zip.libraries := zip
zip.environment = $(call package,LIBZIP,zip)
