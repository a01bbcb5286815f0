/* package/imports: the table of what a native plugin may import, src/package/imports/imports.txt, compiled in.
 * docs/imports.md shows it.  Data and one search; who judges by it is elf_judge.c. */
#ifndef PACKAGE_IMPORTS_H
#define PACKAGE_IMPORTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/words.h"

#define IMPORTS_MAX 512 /* symbols in the table; imports.py keeps to it */

struct import_rule {
    const char *name;
    bool refuses;         /* else it warns */
    uint32_t permissions; /* 1u << enum permission; any of them will do; 0: none allows it */
    const char *why;
};

struct import_symbol {
    const char *name; /* ascending */
    bool prefix;      /* stands for all that begin so */
    unsigned rule;
};

extern const struct import_rule imports_rules[];
extern const size_t imports_nrules;
extern const struct import_symbol imports_symbols[];
extern const size_t imports_nsymbols;
/* Libraries that a worker has loaded before the plugin's code comes. */
extern const char *const imports_libraries[];
extern const size_t imports_nlibraries;

/* Its place in imports_symbols, or -1: nothing is said of it. */
int imports_find(const char *symbol);
bool imports_library(const char *name);

#endif
