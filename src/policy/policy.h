/* policy: from what a manifest asks and what the operator decided to what holds, with the reason.  Pure functions: no
 * clock, no disk, no lock; the same code decides, explains and documents.  Any thread. */
#ifndef POLICY_POLICY_H
#define POLICY_POLICY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/words.h"

#define POLICY_SCOPE_MAX 512
#define POLICY_GRANTS_MAX 64
#define POLICY_COMMAND_MAX 700

/* A permission and its scope: "file_read=/data"; scope "" is the bare name. */
struct grant {
    enum permission permission;
    char scope[POLICY_SCOPE_MAX];
};

/* "file_read=/data" with the scope normalised (paths: absolute, no "." or "..", no doubled or last slash; file
 * permissions need a scope that is an absolute path). MOAT_E_BAD_USAGE with what is wrong. */
int grant_parse(const char *text, struct grant *out, struct error *err);
void grant_format(const struct grant *g, char *out, size_t size);
bool grant_equal(const struct grant *a, const struct grant *b);
/* Does a cover b: the same permission, and a's scope contains b's? */
bool grant_covers(const struct grant *a, const struct grant *b);

/* What a manifest asks for. */
struct ask {
    enum permission permission;
    bool required;
};

/* What the operator answered. A refusal has scope "". */
struct decision {
    struct grant grant;
    bool refused;
    uint64_t until; /* wall seconds; 0: no end */
};

struct policy_answer {
    bool ready;         /* every required permission is granted */
    uint32_t asked;     /* masks of 1 << enum permission */
    uint32_t undecided; /* asked, neither granted nor refused */
    uint32_t refused;   /* asked and refused */
    struct grant grants[POLICY_GRANTS_MAX];
    size_t ngrants;           /* in force: granted, asked for, not ended */
    enum permission blocking; /* when not ready: the first required one that is missing */
};

/* A grant of something that the manifest does not ask for is kept and not in force: nothing is given unasked. */
void policy_decide(const struct ask *asks, size_t nasks, const struct decision *decisions, size_t ndecisions,
                   uint64_t now, struct policy_answer *out);

/* The exact command that would allow it: "moat grant NAME file_read=/etc/passwd"; false when nothing can. object ""
 * gives the form with a placeholder, as in "file_read=PATH". */
bool policy_command(const char *plugin, int permission, const char *object, char out[POLICY_COMMAND_MAX]);

#endif
