// What <mutex>, <condition_variable>, <memory> and <chrono> leave to the library. There is one thread.

#include <chrono>
#include <condition_variable>
#include <ctime>
#include <functional>
#include <memory>
#include <mutex>

namespace std {

// What call_once shall call, held under a lock until the call begins, so that it may call another one.
function<void()> __once_functor;
static unique_lock<mutex> *once_lock;

mutex &__get_once_mutex()
{
	static mutex once;
	return once;
}

void __set_once_functor_lock_ptr(unique_lock<mutex> *lock) { once_lock = lock; }

extern "C" void __once_proxy()
{
	function<void()> call = std::move(__once_functor);
	if (unique_lock<mutex> *lock = once_lock) {
		once_lock = nullptr;
		lock->unlock();
	}
	call();
}

condition_variable::condition_variable() noexcept = default;
condition_variable::~condition_variable() noexcept = default;
void condition_variable::notify_one() noexcept { _M_cond.notify_one(); }
void condition_variable::notify_all() noexcept { _M_cond.notify_all(); }
void condition_variable::wait(unique_lock<mutex> &lock) { _M_cond.wait(*lock.mutex()); }

bool _Sp_make_shared_tag::_S_eq(const type_info &type) noexcept
{
	return type == typeid(_Sp_make_shared_tag);
}

namespace chrono {
inline namespace _V2 {

static nanoseconds now(clockid_t clock)
{
	timespec time;
	clock_gettime(clock, &time);
	return seconds(time.tv_sec) + nanoseconds(time.tv_nsec);
}

system_clock::time_point system_clock::now() noexcept
{
	return time_point(duration_cast<duration>(_V2::now(CLOCK_REALTIME)));
}

steady_clock::time_point steady_clock::now() noexcept
{
	return time_point(duration_cast<duration>(_V2::now(CLOCK_MONOTONIC)));
}

}
}

}
