// Types at run time, by the Itanium C++ ABI: the classes of what the compiler writes for `typeid`, and dynamic_cast.

#include <cstddef>
#include <cstring>
#include <typeinfo>

namespace std {

type_info::~type_info() {}

// Asked by handlers of exceptions only.
bool type_info::__is_pointer_p() const { return false; }
bool type_info::__is_function_p() const { return false; }
bool type_info::__do_catch(const type_info *, void **, unsigned) const { return false; }
bool type_info::__do_upcast(const __cxxabiv1::__class_type_info *, void **) const { return false; }

}

namespace __cxxabiv1 {

// A type of one of these makes the compiler write those of all fundamental types here, because here are the destructors.
#define KIND(name) \
	class name : public std::type_info { \
	public: \
		virtual ~name(); \
	}; \
	name::~name() {}

KIND(__fundamental_type_info)
KIND(__array_type_info)
KIND(__function_type_info)
KIND(__enum_type_info)

class __pbase_type_info : public std::type_info {
public:
	unsigned flags;
	const std::type_info *pointee;
	virtual ~__pbase_type_info();
};
__pbase_type_info::~__pbase_type_info() {}

class __pointer_type_info : public __pbase_type_info {
public:
	virtual ~__pointer_type_info();
};
__pointer_type_info::~__pointer_type_info() {}

class __class_type_info : public std::type_info {
public:
	virtual ~__class_type_info();
};
__class_type_info::~__class_type_info() {}

class __pointer_to_member_type_info : public __pbase_type_info {
public:
	const __class_type_info *context;
	virtual ~__pointer_to_member_type_info();
};
__pointer_to_member_type_info::~__pointer_to_member_type_info() {}

// One public base at offset 0.
class __si_class_type_info : public __class_type_info {
public:
	const __class_type_info *base;
	virtual ~__si_class_type_info();
};
__si_class_type_info::~__si_class_type_info() {}

struct Base {
	const __class_type_info *type;
	long offset_flags;

	bool is_virtual() const { return offset_flags & 1; }
	bool is_public() const { return offset_flags & 2; }
	// Of a virtual base, the offset in the table of the object where its offset is.
	std::ptrdiff_t offset() const { return offset_flags >> 8; }
};

class __vmi_class_type_info : public __class_type_info {
public:
	unsigned flags;
	unsigned count;
	Base bases[1];
	virtual ~__vmi_class_type_info();
};
__vmi_class_type_info::~__vmi_class_type_info() {}

namespace {

const char *table_of(const void *object)
{
	return *static_cast<const char *const *>(object);
}

// Calls `each(type, object, public)` for every direct base.
template <typename Each> void for_bases(const __class_type_info *type, const char *object, Each each)
{
	const std::type_info &kind = typeid(*type);
	if (kind == typeid(__si_class_type_info))
		each(static_cast<const __si_class_type_info *>(type)->base, object, true);
	else if (kind == typeid(__vmi_class_type_info)) {
		auto many = static_cast<const __vmi_class_type_info *>(type);
		for (unsigned index = 0; index < many->count; index++) {
			const Base &base = many->bases[index];
			std::ptrdiff_t offset = base.offset();
			if (base.is_virtual())
				std::memcpy(&offset, table_of(object) + offset, sizeof offset);
			each(base.type, object + offset, base.is_public());
		}
	}
}

enum Path { None, Private, Public };

// How `type` at `object` contains the base `wanted` at `place`: by the best of all paths.
Path contains(const __class_type_info *type, const char *object, const __class_type_info *wanted, const char *place)
{
	if (object == place && *type == *wanted)
		return Public;
	Path best = None;
	for_bases(type, object, [&](const __class_type_info *base, const char *at, bool is_public) {
		if (best == Public)
			return;
		Path path = contains(base, at, wanted, place);
		if (path == Public && !is_public)
			path = Private;
		if (path > best)
			best = path;
	});
	return best;
}

// The objects of one type within a whole one.
struct Search {
	const __class_type_info *target, *source;
	const char *place; // of the source
	// Those that contain the source: the first one, and whether there are others.
	const char *around = nullptr;
	bool around_public = false, around_several = false;
	// All of them, as bases of the whole.
	const char *found = nullptr;
	bool found_public = false, found_several = false;

	void walk(const __class_type_info *type, const char *object, bool is_public)
	{
		if (*type == *target) {
			meet(object, is_public);
			return; // no class contains itself
		}
		for_bases(type, object, [&](const __class_type_info *base, const char *at, bool base_is_public) {
			walk(base, at, is_public && base_is_public);
		});
	}

	void meet(const char *object, bool is_public)
	{
		found_several |= found && found != object;
		found_public = (found == object && found_public) || is_public;
		found = object;
		Path path = contains(target, object, source, place);
		if (path == None)
			return;
		around_several |= around && around != object;
		around_public = path == Public;
		around = object;
	}
};

}

// The source is the type of the expression, a class with virtual functions; `hint` is where it lies in the target, or -1 unknown, -2 it
// is no public base of it, -3 it is one several times.
extern "C" void *__dynamic_cast(const void *object, const __class_type_info *source, const __class_type_info *target, std::ptrdiff_t hint)
{
	const char *place = static_cast<const char *>(object);
	const char *table = table_of(object);
	std::ptrdiff_t to_whole;
	const __class_type_info *type;
	std::memcpy(&to_whole, table - 2 * sizeof(void *), sizeof to_whole);
	std::memcpy(&type, table - sizeof(void *), sizeof type);
	const char *whole = place + to_whole;
	// Mostly one asks for what the object is.
	if (hint >= 0 && whole + hint == place && *type == *target)
		return const_cast<char *>(whole);
	Search search{target, source, place};
	search.walk(type, whole, true);
	if (search.around && !search.around_several && search.around_public)
		return const_cast<char *>(search.around);
	if (search.found && !search.found_several && search.found_public && contains(type, whole, source, place) == Public)
		return const_cast<char *>(search.found);
	return nullptr;
}

}
