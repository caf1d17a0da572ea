// The order in which static objects begin and end, those of functions, inline and thread-local ones.
#include <cstdio>
#include <cstdlib>

struct Noted {
	const char *name;
	explicit Noted(const char *n) : name(n) { std::printf("+%s\n", name); }
	~Noted() { std::printf("-%s\n", name); }
};

static Noted first("first");
__attribute__((init_priority(200))) static Noted early("early");
static Noted second("second");
inline Noted shared("inline");

template <typename T> struct Counter {
	static int count;
	static inline Noted noted{"member"};
	static int next() { return ++count; }
};
template <typename T> int Counter<T>::count = static_cast<int>(sizeof(T));

static Noted &lazy(const char *name)
{
	static Noted noted(name);
	return noted;
}

static thread_local int own = 40;
static thread_local struct Pair { int a = own + 1, b = a + 1; } pair;

constexpr int table[] = {1, 2, 3};
static const int computed = [] { int sum = 0; for (int value : table) sum += value; return sum; }();

static void at_exit() { std::printf("at exit\n"); }
__attribute__((constructor)) static void constructed() { std::printf("constructor\n"); }
__attribute__((destructor)) static void destructed() { std::printf("destructor\n"); }

int main()
{
	std::printf("main\n");
	std::printf("%s %s\n", lazy("lazy").name, lazy("never").name);
	std::atexit(at_exit);
	std::printf("%d %d %d\n", Counter<int>::next(), Counter<char>::next(), Counter<int>::next());
	(void)&Counter<int>::noted;
	own++;
	std::printf("%d %d %d %d\n", own, pair.a, pair.b, computed);
	return 3;
}
