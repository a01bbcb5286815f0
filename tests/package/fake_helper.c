/* A moat-helper in an attacker's hands; MODE says what it does. */
#include <limits.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "wire/archive.h"

enum {
    CRASH,
    SILENT,
    GARBAGE,
    FLOOD,
    NOTHING,
    STATUS,
    LINGER,
    TAIL,
    SWAPPED,
    HUGE_FILE,
    LONG_TEXT,
    EXTRA,
    MISSING,
    NUL,
    LOOSE_FACTS,
    MANY_FACTS,
    MANY_IMPORTS,
    LOOSE_IMPORT,
    VALUED_IMPORT,
    LYING_IMPORTS,
    OTHER_FILE,
    ENDLESS_IMPORTS,
    DRIBBLE,
    LATE,
    UNKNOWN_RECORD,
    UNKNOWN_REFUSAL,
    TWO_ELVES,
    AFTER_REFUSAL,
    REFUSAL,
    NO_LOCK,
    HALF,
    SPIN
};

static void put(const void *data, size_t len)
{
    for (const char *p = data; len;) {
        ssize_t n = write(1, p, len);
        if (n <= 0)
            _exit(9);
        p += n;
        len -= (size_t)n;
    }
}

static void record(uint32_t type, const char *text, size_t len, uint64_t value)
{
    struct inspect_record r = {.type = type, .text_len = (uint32_t)len, .value = value};
    put(&r, sizeof r);
    put(text, len);
}

/* The one file of the package that the test makes: "demo.so" with the content "hello". */
static void honest(void)
{
    record(INSPECT_FILE, "demo.so", 7, 5);
    put("hello", 5);
}

static void say_end(void)
{
    record(INSPECT_END, "", 0, 0);
}

static void flood(void)
{
    static char zeros[65536];
    record(INSPECT_FILE, "demo.so", 7, 1 << 20);
    for (;;)
        put(zeros, sizeof zeros);
}

static void facts(int n)
{
    record(INSPECT_ELF, "", 0, 0);
    for (int i = 0; i < n; i++)
        record(INSPECT_NEEDED, "libc.so.6", 9, 0);
}

static void imports(unsigned long n)
{
    record(INSPECT_ELF, "", 0, 0);
    for (unsigned long i = 0; i < n; i++)
        record(INSPECT_IMPORT, "printf", 6, 0);
}

/* One byte at a time, slower than anybody waits. */
static void dribble(void)
{
    record(INSPECT_FILE, "demo.so", 7, 1 << 20);
    for (;;) {
        put("\1", 1);
        usleep(20000);
    }
}

int main(void)
{
    volatile uintptr_t nowhere = 16;
    static char long_text[ARCHIVE_TEXT_MAX + 1];
    memset(long_text, 'x', sizeof long_text);
    switch (MODE) {
    case CRASH:
        honest();
        *(volatile int *)nowhere = 1;
        break;
    case SILENT:
        for (;;)
            pause();
    case SPIN:
        for (;;)
            ;
    case GARBAGE:
        for (unsigned i = 1; i < 100000; i += 7)
            put(&i, sizeof i);
        break;
    case FLOOD:
        flood();
        break;
    case NOTHING:
        break;
    case STATUS:
        honest();
        say_end();
        return 77;
    case LINGER:
        honest();
        say_end();
        close(1);
        for (;;)
            pause();
    case TAIL:
        honest();
        say_end();
        put("x", 1);
        break;
    case SWAPPED:
        record(INSPECT_FILE, "demo.so", 7, 5);
        put("hellO", 5);
        say_end();
        break;
    case HUGE_FILE:
        record(INSPECT_FILE, "demo.so", 7, UINT64_MAX);
        break;
    case LONG_TEXT:
        record(INSPECT_FILE, long_text, sizeof long_text, 5);
        break;
    case EXTRA:
        honest();
        record(INSPECT_FILE, "extra", 5, 0);
        say_end();
        break;
    case MISSING:
        say_end();
        break;
    case NUL:
        record(INSPECT_FILE, "demo.so\0x", 9, 5);
        break;
    case LOOSE_FACTS:
        facts(0);
        break;
    case MANY_FACTS:
        honest();
        facts(INSPECT_ELF_TEXTS_MAX + 1);
        break;
    case MANY_IMPORTS:
        honest();
        imports(INSPECT_ELF_IMPORTS_MAX + 1);
        break;
    case ENDLESS_IMPORTS:
        honest();
        imports(ULONG_MAX);
        break;
    case LOOSE_IMPORT:
        honest();
        record(INSPECT_IMPORT, "printf", 6, 0);
        break;
    case VALUED_IMPORT:
        honest();
        record(INSPECT_ELF, "", 0, 0);
        record(INSPECT_IMPORT, "printf", 6, 1);
        break;
    case LYING_IMPORTS: /* it may say of the code what it likes, and nothing follows but a refusal */
        honest();
        record(INSPECT_ELF, "", 0, INSPECT_ELF_PLUGIN | 62ull << 32 | 3ull << 48);
        record(INSPECT_IMPORT, "socket", 6, 0);
        say_end();
        break;
    case TWO_ELVES:
        honest();
        record(INSPECT_ELF, "", 0, 0);
        record(INSPECT_ELF, "", 0, 0);
        break;
    case OTHER_FILE:
        record(INSPECT_FILE, "other.so", 8, 5);
        put("hello", 5);
        say_end();
        break;
    case DRIBBLE:
        dribble();
        break;
    case LATE:
        honest();
        for (;;)
            pause();
    case UNKNOWN_RECORD:
        record(INSPECT_TYPES, "", 0, 0);
        break;
    case UNKNOWN_REFUSAL:
        record(INSPECT_REFUSED, "", 0, INSPECT_REFUSALS_END);
        break;
    case AFTER_REFUSAL:
        record(INSPECT_REFUSED, "", 0, INSPECT_REFUSAL_KIND);
        honest();
        say_end();
        break;
    case REFUSAL:
        record(INSPECT_REFUSED, "\33[2J", 4, INSPECT_REFUSAL_KIND);
        break;
    case NO_LOCK:
        return HELPER_NO_LOCK;
    case HALF:
        record(INSPECT_FILE, "demo.so", 7, 5);
        put("he", 2);
        break;
    }
    return 0;
}
