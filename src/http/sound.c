/* Is a header what every reader of HTTP takes it for?  Where two readers differ - a space before the colon, a bare CR
 * or NUL in a value, a coding that only one of them knows - a request can be smuggled past the one inside the other's.
 */
#include <stdint.h>
#include <string.h>
#include <strings.h>

#include "http/server.h"

/* RFC 9110, 5.6.2: what a field's name is made of. */
static bool is_name(char c)
{
    unsigned char letter = (unsigned char)((unsigned char)(c | 0x20) - 'a');
    return letter < 26 || c == '-' || (c >= '0' && c <= '9') || (c && strchr("!#$%&'*+.^_`|~", c));
}

/* libmicrohttpd 0.9.75 puts a folded line behind the name instead of the value: "Content-Length: 1", " 2" becomes
 * "Content-Length2: 1", and the length of the body is gone. No header begins so but these two. */
static bool is_folded(const char *name, size_t len)
{
    static const char *const framing[] = {"content-length", "transfer-encoding"};
    for (size_t i = 0; i < sizeof framing / sizeof *framing; i++) {
        size_t n = strlen(framing[i]);
        if (len > n && strncasecmp(name, framing[i], n) == 0)
            return true;
    }
    return false;
}

/* Of other names the folded line shows in the library's buffer alone, where it made a NUL of each colon, CR and LF:
 * "Content-Lengt: 9", " h" becomes "Content-Length: 9", which no reader before it has seen.  Of one line the value
 * stands behind the name, with nothing but blanks between; a name that was lengthened has moved away, or reaches into
 * the value.  Only where it had just room enough, beside blanks or at the buffer's end, it has not: then the folded
 * line's own blank is still there, behind the value's line; and so it may seem where lines end with LF alone and the
 * body begins with a blank, which is refused as well. */
static bool is_one_line(const char *name, size_t name_len, const char *value, size_t value_len)
{
    uintptr_t end = (uintptr_t)name + name_len, at = (uintptr_t)value;
    if (!value)
        return true;
    if (at <= end || at - end - 1 != strspn(name + name_len + 1, " \t"))
        return false;
    const char *next = value + value_len + 1; /* the head's last line is empty: there are always two bytes more */
    next += *next == '\0';
    return *next != ' ' && *next != '\t';
}

bool sound_header(const char *name, size_t name_len, const char *value, size_t value_len)
{
    for (size_t i = 0; i < name_len; i++)
        if (!is_name(name[i]))
            return false;
    unsigned char bad = 0; /* looked at in the end: whole vectors at a time */
    for (size_t i = 0; i < value_len; i++) {
        unsigned char c = (unsigned char)value[i];
        bad |= (unsigned char)((c < 0x20 && c != '\t') || c == 0x7f);
    }
    return !bad && name_len > 0 && !is_folded(name, name_len) && is_one_line(name, name_len, value, value_len);
}

bool sound_coding(const char *transfer_encoding)
{
    return strcasecmp(transfer_encoding, "chunked") == 0;
}
