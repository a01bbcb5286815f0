#include "base/words.h"

#include <strings.h>

struct word {
    const char *name, *about;
};

static const struct word capabilities[] = {
#define X(id, name, about) {name, about},
    WORDS_CAPABILITIES(X)
#undef X
};

static const struct word permissions[] = {
#define X(id, name, about) {name, about},
    WORDS_PERMISSIONS(X)
#undef X
};

static int find(const struct word *words, int count, const char *text)
{
    for (int i = 0; i < count; i++)
        if (strcasecmp(words[i].name, text) == 0)
            return i;
    return -1;
}

int capability_parse(const char *text)
{
    return find(capabilities, CAPABILITY_COUNT, text);
}

int permission_parse(const char *text)
{
    return find(permissions, PERMISSION_COUNT, text);
}

const char *capability_name(enum capability c)
{
    return capabilities[c].name;
}

const char *capability_about(enum capability c)
{
    return capabilities[c].about;
}

const char *permission_name(enum permission p)
{
    return permissions[p].name;
}

const char *permission_about(enum permission p)
{
    return permissions[p].about;
}
