/* A plugin in C++: exceptions, threads and the standard library behind the wall. */
#include <algorithm>
#include <cstdio>
#include <fstream>
#include <map>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

static int throws(int depth)
{
    if (depth == 0)
        throw std::runtime_error("thrown");
    return throws(depth - 1) + 1;
}

static bool catches()
{
    try {
        throws(20);
    } catch (const std::exception &e) {
        return std::string(e.what()) == "thrown";
    }
    return false;
}

static bool standard_library()
{
    std::map<std::string, int> m{{"a", 1}, {"b", 2}};
    std::vector<int> v(1000);
    for (int i = 0; i < 1000; i++)
        v[static_cast<size_t>(i)] = 1000 - i;
    std::sort(v.begin(), v.end());
    bool in_thread = false;
    std::thread t([&] { in_thread = catches(); });
    t.join();
    std::ofstream("/tmp/cpp") << 42;
    int n = 0;
    std::ifstream("/tmp/cpp") >> n;
    return m["b"] == 2 && v[0] == 1 && in_thread && n == 42;
}

extern "C" __attribute__((visibility("default"))) int probe_main(const char *, int, int)
{
    std::printf("exceptions -> %s\nlibrary -> %s\n", catches() ? "ok" : "failed", standard_library() ? "ok" : "failed");
    std::fflush(stdout);
    return 0;
}
