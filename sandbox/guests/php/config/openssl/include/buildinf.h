/* What a build says of itself; the same words for all of them. */
#define PLATFORM "platform: linux-x86_64"
#define DATE "built on: reproducible build, date unspecified"
static const char compiler_flags[] = "compiler: cc";
