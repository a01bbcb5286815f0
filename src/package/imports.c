#include "package/imports.h"

#include <string.h>

/* A prefix is a key like any other, and no other key begins with it: what it covers sorts right behind it. */
int imports_find(const char *symbol)
{
    size_t low = 0, high = imports_nsymbols;
    while (low < high) { /* the last that is not behind symbol */
        size_t middle = low + (high - low) / 2;
        if (strcmp(imports_symbols[middle].name, symbol) <= 0)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == 0)
        return -1;
    const struct import_symbol *s = &imports_symbols[low - 1];
    bool same = s->prefix ? strncmp(s->name, symbol, strlen(s->name)) == 0 : strcmp(s->name, symbol) == 0;
    return same ? (int)(low - 1) : -1;
}

bool imports_library(const char *name)
{
    for (size_t i = 0; i < imports_nlibraries; i++)
        if (strcmp(imports_libraries[i], name) == 0)
            return true;
    return false;
}
