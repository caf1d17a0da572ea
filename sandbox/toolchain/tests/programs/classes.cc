// Virtual calls, several and virtual bases, pointers to members, typeid and dynamic_cast.
#include <cstdio>
#include <cstring>
#include <typeinfo>

struct Shape {
	virtual ~Shape() { std::printf("~Shape\n"); }
	virtual int area() const = 0;
	virtual const char *name() const { return "shape"; }
};

struct Colour {
	int value = 7;
	virtual ~Colour() { std::printf("~Colour\n"); }
	virtual int colour() const { return value; }
};

struct Square : Shape {
	int side;
	explicit Square(int s) : side(s) {}
	int area() const override { return side * side; }
	const char *name() const override { return "square"; }
};

struct Tile final : Square, Colour {
	explicit Tile(int s) : Square(s) {}
	~Tile() override { std::printf("~Tile\n"); }
	int colour() const override { return value + side; }
};

struct Top { int top = 1; virtual ~Top() {} virtual int id() const { return 1; } };
struct Left : virtual Top { int left = 2; int id() const override { return 2; } };
struct Right : virtual Top { int right = 3; virtual int own() const { return 30; } };
struct Bottom : Left, Right { int bottom = 4; int id() const override { return top + left + right + bottom; } int own() const override { return 40; } };

// The same base twice, and one that is private.
struct Part { int part; virtual ~Part() {} };
struct One : Part {};
struct Two : Part {};
struct Both : One, Two {};
struct Hidden { virtual ~Hidden() {} };
struct Keeper : private Hidden, public Part {
	Hidden *hidden() { return this; }
};

// Covariant results go by way of thunks.
struct Maker { virtual ~Maker() {} virtual Colour *make() { return new Colour; } };
struct TileMaker : Maker { Tile *make() override { return new Tile(5); } };

template <typename To, typename From> const char *cast(From *from)
{
	return dynamic_cast<To *>(from) ? "yes" : "no";
}

static int call(const Shape &shape, int (Shape::*member)() const) { return (shape.*member)(); }

int main()
{
	Tile tile(3);
	Shape *shape = &tile;
	Colour *colour = &tile;
	std::printf("%s %d %d\n", shape->name(), call(tile, &Shape::area), (colour->*&Colour::colour)());
	std::printf("across: %d %d\n", dynamic_cast<Colour *>(shape) == colour, dynamic_cast<Shape *>(colour) == shape);
	std::printf("whole: %d %d\n", dynamic_cast<void *>(colour) == &tile, dynamic_cast<Tile *>(colour) == &tile);
	Square square(2);
	Shape *other = &square;
	std::printf("none: %s %s\n", cast<Tile>(other), cast<Colour>(other));

	Bottom bottom;
	Top *top = &bottom;
	std::printf("diamond: %d %d %d\n", top->id(), dynamic_cast<Left *>(top)->left, dynamic_cast<Right *>(top)->own());
	std::printf("down: %d %d\n", dynamic_cast<Bottom *>(top) == &bottom, dynamic_cast<Left *>(static_cast<Right *>(&bottom)) == &bottom);
	Right right;
	Top *alone = &right;
	std::printf("alone: %s %s %d\n", cast<Bottom>(alone), cast<Left>(alone), dynamic_cast<Right *>(alone)->own());

	Both both;
	One *one = &both;
	Part *part = one;
	std::printf("twice: %d %s %s\n", dynamic_cast<Two *>(part) == static_cast<Two *>(&both), cast<Both>(part), cast<Part>(&both == nullptr ? nullptr : static_cast<Two *>(&both)));
	Keeper keeper;
	std::printf("private: %s %s %s\n", cast<Keeper>(keeper.hidden()), cast<Hidden>(static_cast<Part *>(&keeper)), cast<Part>(keeper.hidden()));

	TileMaker tiles;
	Maker *maker = &tiles;
	Colour *made = maker->make();
	std::printf("covariant: %d\n", made->colour());
	delete made;

	std::printf("%s %s %s %s\n", typeid(*shape).name(), typeid(*top).name(), typeid(int).name(), typeid(const char *).name());
	std::printf("%s %s %s %s\n", typeid(&Shape::area).name(), typeid(int[3]).name(), typeid(main).name(), typeid(decltype(nullptr)).name());
	std::printf("%d %d %d\n", typeid(*shape) == typeid(Tile), typeid(*shape) == typeid(Square), typeid(unsigned) == typeid(unsigned int));
	std::printf("%d\n", typeid(Square).before(typeid(Tile)) != typeid(Tile).before(typeid(Square)));
	return 0;
}
