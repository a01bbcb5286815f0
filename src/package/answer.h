/* package/answer: what the inspector says, read as the words of an attacker.  Nothing of it is believed but what fits
 * FILES: the same paths in the same order, and contents with the signed hashes. */
#ifndef PACKAGE_ANSWER_H
#define PACKAGE_ANSWER_H

#include <sys/types.h>

#include "package/files.h"
#include "package/imports.h"
#include "wire/archive.h"

struct answer_text {
    enum inspect_type type;
    char text[ARCHIVE_TEXT_MAX + 1];
};

/* What the inspector says of an ELF file: advice for the author, no wall. */
struct file_facts {
    bool elf;
    uint64_t value; /* INSPECT_ELF_… */
    struct answer_text *texts;
    size_t count;
    size_t nimports;                  /* how many it named */
    uint8_t imports[IMPORTS_MAX / 8]; /* which symbols of the table are among them, by their places in it */
};

struct answer {
    struct unpacked files;
    struct file_facts *facts; /* one for each file of FILES */
    size_t nfacts;
};

struct answer_source {
    /* Up to len bytes, 0 at the end, a negative code with *err set. */
    ssize_t (*read)(void *context, void *data, size_t len, struct error *err);
    void *context;
};

/* budget: bytes of all files together. */
int answer_read(const struct answer_source *source, const struct files *expected, uint64_t budget, struct answer *out,
                struct error *err);
void answer_free(struct answer *a);

/* Hands the files over; the facts stay with the answer. */
struct unpacked answer_steal_files(struct answer *a);

/* Is there anything about the entry and the libraries that would keep them from running here?  Each thing becomes a
 * finding (findings may be NULL), and what is only advice becomes a warning; the first that refuses is copied out too.
 */
bool elf_judge(const struct manifest *m, const struct answer *a, struct findings *findings, struct finding *first);

/* The host's libraries that files of the package need (sandbox/libraries.h), by the inspector's word: where that is
 * wrong the code does not load. */
uint32_t elf_libraries(const struct answer *a);

#endif
