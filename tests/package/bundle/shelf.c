/* A plugin with two libraries of its own and some assets. */
#include <moat/plugin.h>

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

const char *beta_order(void);

static const struct moat_host *host;
static char first_word[16]; /* read while the plugin was initialised */

static bool initialize(const struct moat_host *given, const char *config, size_t len)
{
    host = given;
    if (host->size < offsetof(struct moat_host, asset) + sizeof host->asset || !host->asset)
        return false;
    const char *words = host->asset("data/words.txt", NULL);
    if (words)
        sscanf(words, "%15s", first_word);
    return true;
}

static bool answer(struct moat_call *call, const char *format, size_t a, size_t b, const char *text)
{
    char json[256];
    return host->answer(call, json, (size_t)snprintf(json, sizeof json, format, a, b, text));
}

/* The length of an asset and a sum over its bytes. */
static bool sum(struct moat_call *call, const char *name)
{
    size_t len = 0, total = 0;
    const unsigned char *bytes = host->asset(name, &len);
    if (!bytes)
        return host->fail(call, "no_asset", "there is no asset of that name");
    for (size_t i = 0; i < len; i++)
        total += bytes[i];
    return answer(call, "{\"len\":%zu,\"sum\":%zu,\"behind\":\"%s\"}", len, total, bytes[len] ? "not 0" : "0");
}

static bool scribble(struct moat_call *call)
{
    char *bytes = (char *)(unsigned long)host->asset("data/words.txt", NULL);
    bytes[0] = 'X';
    return answer(call, "{}", 0, 0, "");
}

/* Every way to make the asset writable or code; which were allowed? */
static bool pry(struct moat_call *call)
{
    size_t len = 0;
    void *bytes = (void *)(unsigned long)host->asset("data/words.txt", &len);
    bool writable = mprotect(bytes, 4096, PROT_READ | PROT_WRITE) == 0;
    bool code = mprotect(bytes, 4096, PROT_READ | PROT_EXEC) == 0;
    bool held = false;
    for (int fd = 3; fd < 64; fd++) /* no descriptor of it is left to map it by */
        held = held || lseek(fd, 0, SEEK_END) > 4096;
    return answer(call, "{\"writable\":%zu,\"code\":%zu,\"held\":\"%s\"}", writable, code, held ? "yes" : "no");
}

/* Reads all of the large asset, then holds this worker, so that another call needs another one. */
static bool wait_here(struct moat_call *call)
{
    sum(call, "data/large.bin");
    for (int i = 0; i < 2000 && !host->cancelled(call); i++)
        usleep(5000);
    return answer(call, "{}", 0, 0, "");
}

static bool execute(struct moat_call *call, const char *action, const char *parameters, size_t len)
{
    if (strcmp(action, "order") == 0)
        return answer(call, "{\"a\":%zu,\"b\":%zu,\"text\":\"%s\"}", 0, 0, beta_order());
    if (strcmp(action, "first_word") == 0)
        return answer(call, "{\"a\":%zu,\"b\":%zu,\"text\":\"%s\"}", 0, 0, first_word);
    if (strcmp(action, "words") == 0)
        return sum(call, "data/words.txt");
    if (strcmp(action, "large") == 0)
        return sum(call, "data/large.bin");
    if (strcmp(action, "empty") == 0)
        return sum(call, "data/empty");
    if (strcmp(action, "missing") == 0)
        return sum(call, "libalpha.so");
    if (strcmp(action, "scribble") == 0)
        return scribble(call);
    if (strcmp(action, "pry") == 0)
        return pry(call);
    return wait_here(call);
}

MOAT_PLUGIN(.initialize = initialize, .execute = execute);
