/* A third reading of the grammar, byte by byte, written for its messages: it shares nothing with the fast checkers but
 * the piece for UTF-8, and tests hold all of them against each other. */
#include <stdarg.h>
#include <stdio.h>

#include "json/json.h"
#include "json/scan.h"

struct explain {
    const uint8_t *text, *p, *end;
    struct json_fault *fault;
    unsigned depth;
    bool objects[JSON_DEPTH_MAX];
};

__attribute__((format(printf, 3, 4))) static bool refuse(struct explain *x, const uint8_t *at, const char *format, ...)
{
    if (!x->fault)
        return false;
    va_list args;
    va_start(args, format);
    vsnprintf(x->fault->reason, sizeof x->fault->reason, format, args);
    va_end(args);
    x->fault->code = MOAT_E_BAD_JSON;
    x->fault->offset = (size_t)(at - x->text);
    x->fault->pointer[0] = '\0';
    return false;
}

/* "expected WHAT, found …" at the current byte. */
static bool expected(struct explain *x, const char *what)
{
    if (x->p == x->end)
        return refuse(x, x->p, "the text ends where %s should stand", what);
    uint8_t c = *x->p;
    if (c > 0x20 && c < 0x7f)
        return refuse(x, x->p, "expected %s, found '%c'", what, c);
    return refuse(x, x->p, "expected %s, found byte 0x%02x", what, c);
}

static void space(struct explain *x)
{
    while (x->p < x->end && (*x->p == ' ' || *x->p == '\n' || *x->p == '\r' || *x->p == '\t'))
        x->p++;
}

static bool at(const struct explain *x, uint8_t c)
{
    return x->p < x->end && *x->p == c;
}

static bool escape(struct explain *x)
{
    const uint8_t *start = x->p++;
    if (x->p == x->end)
        return refuse(x, x->p, "the text ends inside a string: the closing '\"' is missing");
    uint8_t c = *x->p;
    if (c == 'u') {
        for (int i = 1; i <= 4; i++)
            if (x->p + i >= x->end || scan_hex(x->p[i]) < 0)
                return refuse(x, start, "\\u needs four hexadecimal digits");
        x->p += 5;
        return true;
    }
    if (!c || !strchr("\"\\/bfnrt", c))
        return refuse(x, start, "a backslash in a string goes only before \" \\ / b f n r t u");
    x->p++;
    return true;
}

static bool multibyte(struct explain *x)
{
    /* The 0 that json_explain puts behind the text ends a cut sequence. */
    const uint8_t *next = scan_utf8(x->p);
    if (!next)
        return refuse(x, x->p, "byte 0x%02x is not valid UTF-8 here", *x->p);
    x->p = next;
    return true;
}

static bool string(struct explain *x)
{
    x->p++;
    while (x->p < x->end) {
        uint8_t c = *x->p;
        if (c == '"') {
            x->p++;
            return true;
        }
        if (c < 0x20)
            return refuse(x, x->p, "a control character (0x%02x) in a string must be written as \\u%04x", c, c);
        if (c == '\\') {
            if (!escape(x))
                return false;
        } else if (c >= 0x80) {
            if (!multibyte(x))
                return false;
        } else {
            x->p++;
        }
    }
    return refuse(x, x->p, "the text ends inside a string: the closing '\"' is missing");
}

static bool digits(struct explain *x, const char *where)
{
    if (x->p == x->end || !scan_is_digit(*x->p))
        return expected(x, where);
    while (x->p < x->end && scan_is_digit(*x->p))
        x->p++;
    return true;
}

static bool number(struct explain *x)
{
    if (at(x, '-'))
        x->p++;
    if (at(x, '0')) {
        x->p++;
        if (x->p < x->end && scan_is_digit(*x->p))
            return refuse(x, x->p - 1, "a number may not start with a needless 0");
    } else if (!digits(x, "a digit after '-'")) {
        return false;
    }
    if (at(x, '.')) {
        x->p++;
        if (!digits(x, "a digit after '.'"))
            return false;
    }
    if (at(x, 'e') || at(x, 'E')) {
        x->p++;
        if (at(x, '+') || at(x, '-'))
            x->p++;
        return digits(x, "a digit in the exponent");
    }
    return true;
}

static bool starts(const struct explain *x, const char *word)
{
    size_t n = strlen(word);
    return (size_t)(x->end - x->p) >= n && !memcmp(x->p, word, n);
}

static bool literal(struct explain *x)
{
    static const char *const words[] = {"true", "false", "null"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (!starts(x, words[i]))
            continue;
        x->p += strlen(words[i]);
        return true;
    }
    return false;
}

/* Habits of other notations, each with its own answer. */
static bool not_a_value(struct explain *x)
{
    static const struct {
        const char *start, *reason;
    } habits[] = {
        {"'", "strings are written in double quotes, not in single ones"},
        {"//", "JSON has no comments"},
        {"/*", "JSON has no comments"},
        {"#", "JSON has no comments"},
        {"+", "a number may not start with '+'"},
        {".", "a number needs a digit before '.'"},
        {"NaN", "JSON has no NaN: send null or leave it out"},
        {"Infinity", "JSON has no Infinity: send null or leave it out"},
        {"True", "write true in small letters"},
        {"False", "write false in small letters"},
        {"None", "write null, not None"},
        {"undefined", "write null, not undefined"},
        {"\xef\xbb\xbf", "a byte order mark may not stand in JSON: save the text as UTF-8 without one"},
    };
    for (size_t i = 0; i < sizeof habits / sizeof *habits; i++)
        if (starts(x, habits[i].start))
            return refuse(x, x->p, "%s", habits[i].reason);
    return expected(x, "a value");
}

/* `"name" :`, up to the value. */
static bool name(struct explain *x)
{
    if (!at(x, '"'))
        return at(x, '\'') ? not_a_value(x) : expected(x, "a member's name in double quotes");
    if (!string(x))
        return false;
    space(x);
    if (!at(x, ':'))
        return expected(x, "':' after the member's name");
    x->p++;
    space(x);
    return true;
}

/* Enters a container; *empty when it closed at once, otherwise p stands on its first value. */
static bool enter(struct explain *x, bool *empty)
{
    bool object = *x->p == '{';
    if (x->depth == JSON_DEPTH_MAX)
        return refuse(x, x->p, "nested deeper than %d levels", JSON_DEPTH_MAX);
    x->objects[x->depth++] = object;
    x->p++;
    space(x);
    *empty = at(x, object ? '}' : ']');
    if (*empty) {
        x->p++;
        x->depth--;
        return true;
    }
    return object ? name(x) : true;
}

/* Behind a value: closes what ends here; *more when another value follows. */
static bool leave(struct explain *x, bool *more)
{
    for (*more = false; x->depth;) {
        bool object = x->objects[x->depth - 1];
        uint8_t close = object ? '}' : ']';
        space(x);
        if (at(x, ',')) {
            const uint8_t *comma = x->p++;
            space(x);
            if (at(x, close))
                return refuse(x, comma, "no comma may stand before '%c'", close);
            *more = true;
            return object ? name(x) : true;
        }
        if (!at(x, close))
            return expected(x, object ? "',' or '}' after a member" : "',' or ']' after an item");
        x->p++;
        x->depth--;
    }
    return true;
}

static bool value(struct explain *x, bool *entered)
{
    *entered = false;
    switch (x->p < x->end ? scan_kind_of[*x->p] : KIND_NONE) {
    case KIND_STRING:
        return string(x);
    case KIND_NUMBER:
        return number(x);
    case KIND_ARRAY:
    case KIND_OBJECT: {
        bool empty = false;
        if (!enter(x, &empty))
            return false;
        *entered = !empty;
        return true;
    }
    default:
        return literal(x) || not_a_value(x);
    }
}

static bool whole(struct explain *x)
{
    space(x);
    if (x->p == x->end)
        return refuse(x, x->p, "the text is empty: send one JSON value, such as {}");
    for (bool more = true; more;) {
        bool entered;
        if (!value(x, &entered))
            return false;
        if (!entered && !leave(x, &more))
            return false;
    }
    space(x);
    return x->p == x->end || refuse(x, x->p, "nothing may follow the JSON value");
}

bool json_explain(uint8_t *text, size_t len, struct json_fault *fault)
{
    static const uint8_t nothing[1];
    struct explain x = {.text = len ? text : nothing, .fault = fault};
    x.p = x.text;
    x.end = x.text + len;
    if (len)
        text[len] = 0;
    return whole(&x);
}
