/* wire/archive: what the host and moat-helper say to each other about archives.  Both are of one build and one machine,
 * so records are plain structs of fixed layout; each side still checks every field of the other's.
 *
 * Duty "inspect": descriptor 0 is the whole sealed package; descriptor 1 carries records, each followed by its text
 * and, for a file, by its content:
 *
 *     (FILE [ELF NEEDED* SONAME? RUNPATH* IMPORT*])* END
 *
 * or, at any point between two records, REFUSED and nothing more.
 *
 * Duty "pack": descriptor 0 is a sealed list of pack records, each followed by its path and its content, ended by one
 * with path_len 0; descriptor 1 carries the archive.  It is whole when the helper exits with 0. */
#ifndef WIRE_ARCHIVE_H
#define WIRE_ARCHIVE_H

#include <stdint.h>

#define ARCHIVE_FILES_MAX 1000
#define ARCHIVE_PATH_MAX 200
#define ARCHIVE_TEXT_MAX 512 /* any text of a record */
#define ARCHIVE_RATIO_MAX 100
#define ARCHIVE_UNPACKED_MAX (1ull << 30)

/* Bytes that all files of an archive may have together.  The floor lets small files of zeros be. */
static inline uint64_t archive_budget(uint64_t packed)
{
    uint64_t floor = 1 << 20;
    uint64_t budget =
        packed < ARCHIVE_UNPACKED_MAX / ARCHIVE_RATIO_MAX ? packed * ARCHIVE_RATIO_MAX : ARCHIVE_UNPACKED_MAX;
    return budget < floor ? floor : budget;
}

enum inspect_type {
    INSPECT_FILE = 1, /* text: path; value: bytes of the content that follows */
    INSPECT_ELF,      /* of the file before, when it starts as ELF does; value: INSPECT_ELF_… */
    INSPECT_NEEDED,   /* text: a library that it needs */
    INSPECT_SONAME,   /* text: what it calls itself */
    INSPECT_RUNPATH,  /* text: where it wants libraries looked for (DT_RPATH and DT_RUNPATH) */
    INSPECT_IMPORT,   /* text: a symbol that the loader would bind elsewhere, cut at ARCHIVE_TEXT_MAX; each once */
    INSPECT_REFUSED,  /* value: enum inspect_refusal; text: the path, or what the library says */
    INSPECT_END,
    INSPECT_TYPES,
};

struct inspect_record {
    uint32_t type;
    uint32_t text_len;
    uint64_t value;
};
_Static_assert(sizeof(struct inspect_record) == 16, "no padding");

/* INSPECT_ELF: flags below, e_machine in bits 32..47, e_type in bits 48..63. */
#define INSPECT_ELF_BROKEN (1u << 0)   /* cannot be read as the loader would; nothing else is said of it */
#define INSPECT_ELF_OTHER (1u << 1)    /* not 64-bit little-endian */
#define INSPECT_ELF_STACK (1u << 2)    /* wants an executable stack, or does not say that it does not */
#define INSPECT_ELF_WRITABLE (1u << 3) /* has a segment that is writable and executable */
#define INSPECT_ELF_TEXT (1u << 4)     /* has text relocations */
#define INSPECT_ELF_PLUGIN (1u << 5)   /* exports the data symbol moat_plugin */
#define INSPECT_ELF_PROGRAM (1u << 6)  /* an executable, even where its type is that of a library */
#define INSPECT_ELF_TOO_MANY (1u << 7) /* more libraries, paths or imports than are reported */
#define INSPECT_ELF_NO_OPEN (1u << 8)  /* is marked against dlopen */
#define INSPECT_ELF_MACHINE(value) ((uint16_t)((value) >> 32))
#define INSPECT_ELF_TYPE(value) ((uint16_t)((value) >> 48))
#define INSPECT_ELF_TEXTS_MAX 64      /* NEEDED, SONAME and RUNPATH records of one file together */
#define INSPECT_ELF_IMPORTS_MAX 65536 /* IMPORT records of one file */

#define INSPECT_REFUSALS(X) \
    X(BROKEN, "is broken") \
    X(NOT_ZSTD, "is not compressed with zstd") \
    X(WINDOW, "needs a zstd window of more than 16 MiB") \
    X(NOT_USTAR, "is not a plain ustar archive") \
    X(PATH, "has an entry whose path is not clean and relative") \
    X(KIND, "has an entry that is not a regular file") \
    X(MODE, "has an entry with set-uid, set-gid or sticky bits") \
    X(EXTRA, "has an entry with extended attributes, access lists or holes") \
    X(ORDER, "has an entry that is there twice or out of order") \
    X(COUNT, "has more than 1000 entries") \
    X(SIZE, "unpacks to more than 100 times its size or 1 GiB") \
    X(TRAILING, "has bytes that belong to no entry") \
    X(MEMORY, "needs more memory than the inspector has")

enum inspect_refusal {
    INSPECT_NOT_REFUSED,
#define X(id, text) INSPECT_REFUSAL_##id,
    INSPECT_REFUSALS(X)
#undef X
        INSPECT_REFUSALS_END,
};

struct pack_record {
    uint32_t path_len; /* 0: the end */
    uint32_t executable;
    uint64_t size;
};
_Static_assert(sizeof(struct pack_record) == 16, "no padding");

/* Exit statuses of moat-helper. */
enum helper_exit {
    HELPER_DONE = 0, /* a refusal that was said is done too */
    HELPER_BAD_USAGE = 2,
    HELPER_NO_LOCK = 3, /* its wall could not be completed */
    HELPER_BAD_INPUT = 4,
    HELPER_NO_MEMORY = 5,
    HELPER_LEFT_WORK = 6, /* duty sql: its server may still be at what it was asked */
};

#endif
