/* helper/elf_facts: what the loader would find in an ELF file.  Reports; judges nothing. */
#ifndef HELPER_ELF_FACTS_H
#define HELPER_ELF_FACTS_H

#include "wire/archive.h"

#include <stdbool.h>
#include <stddef.h>

struct elf_facts {
    uint64_t value; /* as INSPECT_ELF carries it */
    size_t count;
    struct {
        enum inspect_type type;
        const char *text; /* inside the file's bytes; at most ARCHIVE_TEXT_MAX long */
    } texts[INSPECT_ELF_TEXTS_MAX];
    const char **imports; /* owned; inside the file's bytes, of any length */
    size_t nimports;
};

bool elf_facts_looks_like(const void *bytes, size_t len);

/* The bytes must outlive the facts, and libelf may change them. */
void elf_facts_read(void *bytes, size_t len, struct elf_facts *out);
void elf_facts_free(struct elf_facts *f);

#endif
