/* Versions by Semantic Versioning 2.0.0, https://semver.org: the grammar of its section 2, 9, 10 and the order of
 * section 11. */
#include <string.h>

#include "package/manifest.h"

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_identifier_char(char c)
{
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-';
}

/* "0" or digits without a leading zero; past them, or NULL. */
static const char *number(const char *p)
{
    const char *start = p;
    while (is_digit(*p))
        p++;
    return p == start || (*start == '0' && p - start > 1) ? NULL : p;
}

/* Dot-separated identifiers; in a pre-release those of digits alone are numbers. */
static const char *identifiers(const char *p, bool prerelease)
{
    for (;;) {
        const char *start = p;
        bool digits = true;
        for (; is_identifier_char(*p); p++)
            digits = digits && is_digit(*p);
        if (p == start || (prerelease && digits && *start == '0' && p - start > 1))
            return NULL;
        if (*p != '.')
            return p;
        p++;
    }
}

bool version_is_valid(const char *text)
{
    if (strnlen(text, MANIFEST_VERSION_MAX + 1) > MANIFEST_VERSION_MAX)
        return false;
    const char *p = text;
    for (int i = 0; i < 3; i++) {
        p = number(p);
        if (!p || (i < 2 && *p++ != '.'))
            return false;
    }
    if (*p == '-')
        p = identifiers(p + 1, true);
    if (p && *p == '+')
        p = identifiers(p + 1, false);
    return p && *p == '\0';
}

/* Numbers of any length: without leading zeros the longer one is larger. */
static int compare_digits(const char *a, size_t alen, const char *b, size_t blen)
{
    if (alen != blen)
        return alen < blen ? -1 : 1;
    return memcmp(a, b, alen);
}

static size_t span(const char *p)
{
    return strcspn(p, ".-+");
}

/* An identifier of a pre-release may hold hyphens. */
static size_t identifier_span(const char *p)
{
    return strcspn(p, ".+");
}

static bool all_digits(const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!is_digit(p[i]))
            return false;
    return true;
}

static int compare_identifier(const char *a, size_t alen, const char *b, size_t blen)
{
    bool anum = all_digits(a, alen), bnum = all_digits(b, blen);
    if (anum && bnum)
        return compare_digits(a, alen, b, blen);
    if (anum != bnum)
        return anum ? -1 : 1;
    int c = memcmp(a, b, alen < blen ? alen : blen);
    return c ? c : (alen > blen) - (alen < blen);
}

static int compare_prerelease(const char *a, const char *b)
{
    for (;;) {
        size_t alen = identifier_span(a), blen = identifier_span(b);
        int c = compare_identifier(a, alen, b, blen);
        if (c)
            return c;
        a += alen;
        b += blen;
        /* All equal so far: the one with more identifiers is the larger. */
        if (*a != '.' || *b != '.')
            return (*a == '.') - (*b == '.');
        a++;
        b++;
    }
}

int version_compare(const char *a, const char *b)
{
    for (int i = 0; i < 3; i++) {
        size_t alen = span(a), blen = span(b);
        int c = compare_digits(a, alen, b, blen);
        if (c)
            return c;
        a += alen + (i < 2);
        b += blen + (i < 2);
    }
    /* A release is larger than its pre-releases. */
    if (*a != '-' || *b != '-')
        return (*a != '-') - (*b != '-');
    return compare_prerelease(a + 1, b + 1);
}
