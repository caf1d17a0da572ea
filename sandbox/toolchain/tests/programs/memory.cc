// All forms of new and delete, failing and replaced ones.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <new>

struct alignas(64) Wide { char bytes[100]; };
struct Counted {
	static int alive;
	int value = 5;
	Counted() { alive++; }
	~Counted() { alive--; }
};
int Counted::alive;

struct Own {
	static void *operator new(std::size_t size) { std::printf("own new %zu\n", size); return std::malloc(size); }
	static void operator delete(void *memory, std::size_t size) { std::printf("own delete %zu\n", size); std::free(memory); }
	virtual ~Own() {}
};
struct Larger : Own { char more[24]; };

static int tries;
static void handler()
{
	if (++tries == 3) {
		std::printf("gave up\n");
		std::set_new_handler(nullptr);
	}
}

int main(int count, char **)
{
	const std::size_t huge = static_cast<std::size_t>(count) << 45;
	std::printf("%d\n", ::operator new(huge, std::nothrow) == nullptr);
	std::printf("%d\n", new (std::nothrow) char[huge] == nullptr);
	std::printf("%d\n", ::operator new(huge, std::align_val_t(64), std::nothrow) == nullptr);
	std::set_new_handler(handler);
	std::printf("%d %d\n", std::get_new_handler() == handler, ::operator new(huge, std::nothrow) == nullptr);
	std::printf("%d\n", tries);

	Wide *wide = new Wide[3];
	std::printf("%d\n", static_cast<int>(reinterpret_cast<std::uintptr_t>(wide) % 64));
	delete[] wide;
	Counted *several = new Counted[static_cast<std::size_t>(count) + 4];
	std::printf("%d %d\n", Counted::alive, several[4].value);
	delete[] several;
	std::printf("%d\n", Counted::alive);
	Own *own = new Larger;
	delete own;
	alignas(Counted) char place[sizeof(Counted)];
	Counted *placed = new (place) Counted;
	placed->~Counted();
	std::printf("%d\n", new char[0] != nullptr);

	std::shared_ptr<Counted> shared = std::make_shared<Counted>();
	std::weak_ptr<Counted> weak = shared;
	std::unique_ptr<Counted[]> unique(new Counted[2]);
	std::printf("%d %ld %d\n", Counted::alive, shared.use_count(), weak.expired());
	shared.reset();
	unique.reset();
	std::printf("%d %d\n", Counted::alive, weak.expired());
	return 0;
}
