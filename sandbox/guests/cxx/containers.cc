// What the containers of GCC's headers leave to the library: the balance of trees, the links of lists, hashes and numbers of buckets.

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <list>
#include <map>
#include <string>
#include <unordered_map>

namespace std {

// Red-black trees. The header is above the root: its parent is the root, its left the first and its right the last node.

static _Rb_tree_node_base *next(_Rb_tree_node_base *node)
{
	if (node->_M_right)
		return _Rb_tree_node_base::_S_minimum(node->_M_right);
	_Rb_tree_node_base *parent = node->_M_parent;
	while (node == parent->_M_right) {
		node = parent;
		parent = parent->_M_parent;
	}
	// From the last node the walk ends at the header, also where the root has no right child.
	return node->_M_right == parent ? node : parent;
}

static _Rb_tree_node_base *previous(_Rb_tree_node_base *node)
{
	if (node->_M_color == _S_red && node->_M_parent->_M_parent == node)
		return node->_M_right; // the header: its right is the last node
	if (node->_M_left)
		return _Rb_tree_node_base::_S_maximum(node->_M_left);
	_Rb_tree_node_base *parent = node->_M_parent;
	while (node == parent->_M_left) {
		node = parent;
		parent = parent->_M_parent;
	}
	return parent;
}

_Rb_tree_node_base *_Rb_tree_increment(_Rb_tree_node_base *node) throw() { return next(node); }
const _Rb_tree_node_base *_Rb_tree_increment(const _Rb_tree_node_base *node) throw()
{
	return next(const_cast<_Rb_tree_node_base *>(node));
}
_Rb_tree_node_base *_Rb_tree_decrement(_Rb_tree_node_base *node) throw() { return previous(node); }
const _Rb_tree_node_base *_Rb_tree_decrement(const _Rb_tree_node_base *node) throw()
{
	return previous(const_cast<_Rb_tree_node_base *>(node));
}

// Puts `with` where the parent of `node` has `node`.
static void replace(_Rb_tree_node_base *node, _Rb_tree_node_base *with, _Rb_tree_node_base *&root)
{
	if (node == root)
		root = with;
	else if (node == node->_M_parent->_M_left)
		node->_M_parent->_M_left = with;
	else
		node->_M_parent->_M_right = with;
}

// A side of a node, so that each case is written once.
using Side = _Rb_tree_node_base *_Rb_tree_node_base::*;
static constexpr Side left = &_Rb_tree_node_base::_M_left, right = &_Rb_tree_node_base::_M_right;

// Turns a node to `side`: its child of the other side takes its place.
static void rotate(_Rb_tree_node_base *node, Side side, _Rb_tree_node_base *&root)
{
	Side other = side == left ? right : left;
	_Rb_tree_node_base *child = node->*other;
	node->*other = child->*side;
	if (child->*side)
		(child->*side)->_M_parent = node;
	child->_M_parent = node->_M_parent;
	replace(node, child, root);
	child->*side = node;
	node->_M_parent = child;
}

void _Rb_tree_insert_and_rebalance(const bool to_left, _Rb_tree_node_base *node, _Rb_tree_node_base *parent,
	_Rb_tree_node_base &header) throw()
{
	_Rb_tree_node_base *&root = header._M_parent;
	node->_M_parent = parent;
	node->_M_left = node->_M_right = nullptr;
	node->_M_color = _S_red;
	if (to_left) {
		parent->_M_left = node; // of the header as well: the first node
		if (parent == &header) {
			header._M_parent = header._M_right = node;
		} else if (parent == header._M_left)
			header._M_left = node;
	} else {
		parent->_M_right = node;
		if (parent == header._M_right)
			header._M_right = node;
	}
	while (node != root && node->_M_parent->_M_color == _S_red) {
		_Rb_tree_node_base *above = node->_M_parent->_M_parent;
		Side side = node->_M_parent == above->_M_left ? left : right, other = side == left ? right : left;
		_Rb_tree_node_base *uncle = above->*other;
		if (uncle && uncle->_M_color == _S_red) {
			node->_M_parent->_M_color = uncle->_M_color = _S_black;
			above->_M_color = _S_red;
			node = above;
			continue;
		}
		if (node == node->_M_parent->*other) {
			node = node->_M_parent;
			rotate(node, side, root);
		}
		node->_M_parent->_M_color = _S_black;
		above->_M_color = _S_red;
		rotate(above, other, root);
	}
	root->_M_color = _S_black;
}

// Below `parent` stands `node`, perhaps null, with one black node too few above its leaves.
static void fill(_Rb_tree_node_base *node, _Rb_tree_node_base *parent, _Rb_tree_node_base *&root)
{
	auto black = [](_Rb_tree_node_base *some) { return !some || some->_M_color == _S_black; };
	while (node != root && black(node)) {
		Side side = node == parent->_M_left ? left : right, other = side == left ? right : left;
		_Rb_tree_node_base *sibling = parent->*other;
		if (sibling->_M_color == _S_red) {
			sibling->_M_color = _S_black;
			parent->_M_color = _S_red;
			rotate(parent, side, root);
			sibling = parent->*other;
		}
		if (black(sibling->_M_left) && black(sibling->_M_right)) {
			sibling->_M_color = _S_red;
			node = parent;
			parent = parent->_M_parent;
			continue;
		}
		if (black(sibling->*other)) {
			(sibling->*side)->_M_color = _S_black;
			sibling->_M_color = _S_red;
			rotate(sibling, other, root);
			sibling = parent->*other;
		}
		sibling->_M_color = parent->_M_color;
		parent->_M_color = _S_black;
		(sibling->*other)->_M_color = _S_black;
		rotate(parent, side, root);
		break;
	}
	if (node)
		node->_M_color = _S_black;
}

_Rb_tree_node_base *_Rb_tree_rebalance_for_erase(_Rb_tree_node_base *const node, _Rb_tree_node_base &header) throw()
{
	_Rb_tree_node_base *&root = header._M_parent;
	if (header._M_left == node)
		header._M_left = node->_M_right ? _Rb_tree_node_base::_S_minimum(node->_M_right) : node->_M_parent;
	if (header._M_right == node)
		header._M_right = node->_M_left ? _Rb_tree_node_base::_S_maximum(node->_M_left) : node->_M_parent;
	_Rb_tree_color lost = node->_M_color;
	_Rb_tree_node_base *child, *parent;
	if (node->_M_left && node->_M_right) {
		// The next node takes its place and colour; what is missing is missing where that one was.
		_Rb_tree_node_base *heir = _Rb_tree_node_base::_S_minimum(node->_M_right);
		lost = heir->_M_color;
		child = heir->_M_right;
		parent = heir;
		if (heir != node->_M_right) {
			parent = heir->_M_parent;
			parent->_M_left = child;
			if (child)
				child->_M_parent = parent;
			heir->_M_right = node->_M_right;
			heir->_M_right->_M_parent = heir;
		}
		heir->_M_left = node->_M_left;
		heir->_M_left->_M_parent = heir;
		replace(node, heir, root);
		heir->_M_parent = node->_M_parent;
		heir->_M_color = node->_M_color;
	} else {
		child = node->_M_left ? node->_M_left : node->_M_right;
		parent = node->_M_parent;
		replace(node, child, root);
		if (child)
			child->_M_parent = parent;
	}
	if (lost == _S_black && root)
		fill(child, parent, root);
	return node;
}

namespace __detail {

// Lists.

void _List_node_base::swap(_List_node_base &a, _List_node_base &b) noexcept
{
	auto adopt = [](_List_node_base &header, const _List_node_base &old, const _List_node_base *was) {
		if (old._M_next == was) {
			header._M_next = header._M_prev = &header;
		} else {
			header = old;
			header._M_next->_M_prev = header._M_prev->_M_next = &header;
		}
	};
	_List_node_base old_a = a, old_b = b;
	adopt(a, old_b, &b);
	adopt(b, old_a, &a);
}

void _List_node_base::_M_transfer(_List_node_base *const first, _List_node_base *const last) noexcept
{
	if (this == last)
		return;
	_List_node_base *final = last->_M_prev, *before = first->_M_prev;
	before->_M_next = last;
	last->_M_prev = before;
	first->_M_prev = _M_prev;
	_M_prev->_M_next = first;
	final->_M_next = this;
	_M_prev = final;
}

void _List_node_base::_M_reverse() noexcept
{
	_List_node_base *node = this;
	do {
		std::swap(node->_M_next, node->_M_prev);
		node = node->_M_prev;
	} while (node != this);
}

void _List_node_base::_M_hook(_List_node_base *const position) noexcept
{
	_M_next = position;
	_M_prev = position->_M_prev;
	position->_M_prev->_M_next = this;
	position->_M_prev = this;
}

void _List_node_base::_M_unhook() noexcept
{
	_M_next->_M_prev = _M_prev;
	_M_prev->_M_next = _M_next;
}

// Hash tables.

static bool is_prime(size_t number)
{
	if (number % 2 == 0)
		return number == 2;
	for (size_t divisor = 3; divisor <= number / divisor; divisor += 2)
		if (number % divisor == 0)
			return false;
	return number > 1;
}

size_t _Prime_rehash_policy::_M_next_bkt(size_t wanted) const
{
	size_t count = wanted < 2 ? 2 : wanted;
	while (!is_prime(count))
		count++;
	_M_next_resize = static_cast<size_t>(__builtin_floor(count * static_cast<double>(_M_max_load_factor)));
	return count;
}

pair<bool, size_t> _Prime_rehash_policy::_M_need_rehash(size_t buckets, size_t elements, size_t more) const
{
	if (elements + more <= _M_next_resize)
		return {false, 0};
	// A table begins with 11 buckets and at least doubles.
	size_t count = elements + more;
	if (_M_next_resize == 0 && count < 11)
		count = 11;
	double wanted = count / static_cast<double>(_M_max_load_factor);
	if (wanted >= buckets) {
		size_t least = static_cast<size_t>(__builtin_floor(wanted)) + 1, doubled = buckets * _S_growth_factor;
		return {true, _M_next_bkt(least > doubled ? least : doubled)};
	}
	_M_next_resize = static_cast<size_t>(__builtin_floor(buckets * static_cast<double>(_M_max_load_factor)));
	return {false, 0};
}

}

// Murmur's hash of 64 bits, with the constants of libstdc++, so that numbers are its numbers.
size_t _Hash_bytes(const void *bytes, size_t length, size_t seed)
{
	const uint64_t multiplier = 0xc6a4a7935bd1e995;
	auto mix = [](uint64_t value) { return value ^ (value >> 47); };
	const unsigned char *at = static_cast<const unsigned char *>(bytes), *end = at + (length & ~size_t(7));
	uint64_t hash = seed ^ (length * multiplier);
	for (; at != end; at += 8) {
		uint64_t word;
		memcpy(&word, at, 8);
		hash ^= mix(word * multiplier) * multiplier;
		hash *= multiplier;
	}
	if (length & 7) {
		uint64_t rest = 0;
		memcpy(&rest, end, length & 7);
		hash ^= rest;
		hash *= multiplier;
	}
	return mix(mix(hash) * multiplier);
}

size_t _Fnv_hash_bytes(const void *bytes, size_t length, size_t seed)
{
	size_t hash = seed;
	for (const unsigned char *at = static_cast<const unsigned char *>(bytes); length--; at++) {
		hash ^= *at;
		hash *= 1099511628211;
	}
	return hash;
}

}
