/* wire/needs: what the duty "needs" of moat-helper says about one program or library: descriptor 0 is the file,
 * descriptor 1 carries records, each followed by its text, ended by NEEDS_END.  One build, one machine; the host checks
 * every field. */
#ifndef WIRE_NEEDS_H
#define WIRE_NEEDS_H

#include <stdint.h>

#define NEEDS_TEXT_MAX 255
#define NEEDS_MAX 64 /* records of one file */

enum needs_type {
    NEEDS_SCRIPT = 1, /* text: the interpreter that it names behind "#!" */
    NEEDS_LOADER,     /* text: the dynamic loader */
    NEEDS_LIBRARY,    /* text: a library, by its name or path */
    NEEDS_PATH,       /* text: where it wants its libraries looked for, as DT_RPATH or DT_RUNPATH have it */
    NEEDS_STRANGE,    /* it is nothing that this machine could run */
    NEEDS_END,
};

struct needs_record {
    uint32_t type, text_len; /* up to NEEDS_TEXT_MAX; 0 for STRANGE and END */
};
_Static_assert(sizeof(struct needs_record) == 8, "no padding");

#endif
