// Containers, strings and algorithms of the headers, against what they must hold whatever the library does.
#include <algorithm>
#include <any>
#include <array>
#include <atomic>
#include <bitset>
#include <charconv>
#include <chrono>
#include <cmath>
#include <condition_variable>
#include <cstdio>
#include <deque>
#include <functional>
#include <initializer_list>
#include <iterator>
#include <limits>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <numeric>
#include <optional>
#include <queue>
#include <random>
#include <set>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <variant>
#include <vector>

static std::uint32_t state = 12345;
static std::uint32_t next() { return state = state * 1664525u + 1013904223u; }

// A tree with much coming and going, compared with a sorted list, both ways along.
static void trees()
{
	std::map<std::uint32_t, int> map;
	std::vector<std::uint32_t> list;
	for (int round = 0; round < 20000; round++) {
		std::uint32_t key = next() >> 22;
		auto place = std::lower_bound(list.begin(), list.end(), key);
		bool there = place != list.end() && *place == key;
		if (next() >> 31) {
			map[key] = round;
			if (!there)
				list.insert(place, key);
		} else {
			map.erase(key);
			if (there)
				list.erase(place);
		}
		if (round % 500 == 0 || list.size() < 3) {
			bool same = map.size() == list.size();
			auto forward = list.begin();
			for (auto &[found, value] : map)
				same &= found == *forward++;
			auto backward = list.rbegin();
			for (auto at = map.rbegin(); at != map.rend(); ++at)
				same &= at->first == *backward++;
			if (!same) {
				std::printf("round %d differs\n", round);
				return;
			}
		}
	}
	std::printf("%zu %u %u\n", map.size(), map.begin()->first, map.rbegin()->first);
	while (!map.empty())
		map.erase(map.size() % 2 ? map.begin() : std::prev(map.end()));
	std::multiset<std::string> set{"pear", "fig", "apple", "fig"};
	std::printf("%zu %s %s\n", set.count("fig"), set.begin()->c_str(), set.rbegin()->c_str());
}

static void lists()
{
	std::list<int> a{5, 1, 4}, b{9, 8}, empty;
	a.splice(a.begin(), b);
	a.sort();
	a.reverse();
	a.swap(b);
	b.swap(empty);
	a.push_back(3);
	a.merge(empty, std::greater<int>());
	for (int value : a)
		std::printf("%d ", value);
	std::printf("%zu %zu %zu\n", a.size(), b.size(), empty.size());
}

static void hashes()
{
	std::unordered_map<std::string, int> words;
	std::unordered_set<int> numbers;
	for (int index = 0; index < 5000; index++) {
		words[std::to_string(index % 700)] += index;
		numbers.insert(index * 7919);
	}
	for (int index = 0; index < 5000; index += 3)
		numbers.erase(index * 7919);
	long sum = 0;
	for (auto &[word, value] : words)
		sum += value * static_cast<long>(word.size());
	std::printf("%zu %ld %zu %d\n", words.size(), sum, numbers.size(), words.load_factor() <= words.max_load_factor());
	std::printf("%zx\n", std::hash<std::string>()("the hash is libstdc++'s"));
}

static void strings()
{
	std::string text = "a string that is too long for its own small room";
	text += std::to_string(42) + std::to_string(-1.5);
	text.replace(2, 6, "text").insert(0, 3, '>');
	std::string_view view = text;
	std::printf("%s %zu %zu %d\n", text.c_str(), text.find("long"), view.rfind('o'), text.compare("b") < 0);
	std::wstring wide = L"wide";
	std::u16string units = u"units";
	std::printf("%zu %zu %d %g\n", (wide + wide).size(), units.substr(2).size(), std::stoi("123abc"), std::stod("2.5e3"));
	char buffer[32];
	auto [end, error] = std::to_chars(buffer, buffer + sizeof buffer, 1234567890123LL);
	std::printf("%.*s %d\n", static_cast<int>(end - buffer), buffer, error == std::errc());
}

static void rest()
{
	std::vector<int> values(20);
	std::iota(values.begin(), values.end(), 1);
	std::mt19937 random(7);
	std::shuffle(values.begin(), values.end(), random);
	std::sort(values.begin(), values.end(), [](int a, int b) { return a % 5 != b % 5 ? a % 5 < b % 5 : a < b; });
	std::stable_partition(values.begin(), values.end(), [](int value) { return value % 2; });
	for (int value : values)
		std::printf("%d ", value);
	std::function<int(int)> add = [&](int value) { return value + values[0]; };
	std::variant<int, std::string> variant = std::string("variant");
	std::optional<double> maybe;
	std::any any = 3L;
	std::printf("\n%d %s %g %ld\n", add(4), std::get<std::string>(variant).c_str(), maybe.value_or(0.5), *std::any_cast<long>(&any));
	std::deque<int> deque;
	std::priority_queue<int> heap;
	for (int index = 0; index < 300; index++) {
		index % 3 ? deque.push_back(index) : deque.push_front(index);
		heap.push(index * 37 % 101);
	}
	std::printf("%d %d %d %zu\n", deque.front(), deque.back(), heap.top(), std::bitset<40>(0xff0f).count());
	static std::once_flag flag;
	for (int index = 0; index < 2; index++)
		std::call_once(flag, [] { std::printf("once\n"); });
	std::once_flag outer, inner;
	int calls = 0;
	for (int index = 0; index < 2; index++)
		std::call_once(outer, [&](int step) {
			std::call_once(inner, [&] { calls += 10; });
			calls += step;
		}, index + 1);
	std::printf("%d\n", calls);
	std::mutex mutex;
	std::condition_variable condition;
	{
		std::unique_lock<std::mutex> held(mutex);
		condition.notify_all();
		condition.wait(held, [] { return true; });
	}
	std::atomic<int> counter{1};
	std::atomic<long> wide{1};
	counter.fetch_add(4);
	long expected = 1;
	wide.compare_exchange_strong(expected, 9);
	auto before = std::chrono::steady_clock::now();
	std::printf("%d %ld %d %d\n", counter.load(), wide.load(), std::chrono::steady_clock::now() >= before, std::chrono::system_clock::now().time_since_epoch().count() > 0);
	std::printf("%g %d %s\n", std::pow(2.0, 0.5), std::numeric_limits<int>::max(), std::get<1>(std::make_tuple(1, "tuple")));
}

int main()
{
	trees();
	lists();
	hashes();
	strings();
	rest();
	return 0;
}
