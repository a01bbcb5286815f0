// A plugin in C++ with what its library is needed for: exceptions, containers, streams, a thread.
#include <moat/plugin.h>

#include <map>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>

static const moat_host *host;

static bool initialize(const moat_host *given, const char *, size_t)
{
    host = given;
    return true;
}

static std::map<std::string, int> count(const std::string &text)
{
    std::map<std::string, int> words;
    std::istringstream in(text);
    for (std::string word; in >> word;)
        words[word]++;
    if (words.empty())
        throw std::runtime_error("no words");
    return words;
}

static bool execute(moat_call *call, const char *, const char *parameters, size_t len)
{
    std::string text(parameters, len), out;
    const auto from = text.find(":\"") + 2;
    text = text.substr(from, text.rfind('"') - from);
    std::string problem;
    std::thread([&] {
        try {
            std::ostringstream json;
            for (const auto &[word, n] : count(text))
                json << (json.tellp() ? "," : "{") << '"' << word << "\":" << n;
            out = json.str() + "}";
        } catch (const std::exception &e) {
            problem = e.what();
        }
    }).join();
    return problem.empty() ? host->answer(call, out.data(), out.size()) : host->fail(call, "empty", problem.c_str());
}

MOAT_PLUGIN(.initialize = initialize, .execute = execute);
