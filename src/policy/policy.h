/* policy: from what a manifest asks, what the operator decided and what nobody may ever get, to what holds, with the
 * reason.  Pure functions: no clock, no disk, no lock; the same code decides, explains and documents.  Any thread. */
#ifndef POLICY_POLICY_H
#define POLICY_POLICY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/words.h"

#define POLICY_SCOPE_MAX 512
#define POLICY_GRANTS_MAX 64
#define POLICY_CEILINGS_MAX 64
#define POLICY_COMMAND_MAX 700

/* ---- grants ---- */

/* A permission and its scope: "file_read=/data"; scope "" is the bare name. */
struct grant {
    enum permission permission;
    char scope[POLICY_SCOPE_MAX];
};

/* "file_read=/data" with the scope normalised; file permissions need one. docs/permissions.md has the forms. What has
 * several spellings (an address, a host's name) is taken in one and refused in the others. MOAT_E_BAD_USAGE with what
 * is wrong. */
int grant_parse(const char *text, struct grant *out, struct error *err);
void grant_format(const struct grant *g, char *out, size_t size);
/* Makes a grant that was kept (by another version, perhaps) normal; false: it means nothing here. */
bool grant_normalise(struct grant *g);
bool grant_equal(const struct grant *a, const struct grant *b);
/* Does a cover b: the same permission, and a's scope contains b's? */
bool grant_covers(const struct grant *a, const struct grant *b);
/* The place of a scope that is one: of a file permission, or of a program of this machine. false: it is none. */
bool grant_place(const struct grant *g, char path[POLICY_SCOPE_MAX]);

/* "file_write=/out,max=1GiB": bytes that may come to lie there; 0: it does not say. Covering is of places: a bound is
 * no part of it. */
#define POLICY_MOST_MAX (1ull << 50)
uint64_t grant_most(const struct grant *g);
/* The same place with another bound; false: g is no grant of file_write, or is too long. */
bool grant_bounded(const struct grant *g, uint64_t most, struct grant *out);
/* What may be written may be read: that grant of file_read; false: g is none of file_write. */
bool grant_reading(const struct grant *g, struct grant *out);

/* ---- ceilings ---- */

enum ceiling_of { CEILING_EVERYBODY, CEILING_PUBLISHER, CEILING_CAPABILITY };

/* What nobody, what no plugin of a publisher, or none with a capability can ever get. never is normal; scope "" is all
 * of the permission, also where a grant needs a scope. */
struct ceiling {
    enum ceiling_of of;
    char name[65]; /* the publisher or the capability */
    struct grant never;
};

/* subject: "everybody", "publisher:NAME" or "capability:NAME". MOAT_E_BAD_USAGE. */
int ceiling_parse(const char *subject, const char *never, struct ceiling *out, struct error *err);
void ceiling_subject(const struct ceiling *c, char out[80]);

/* ---- deciding ---- */

/* What a manifest asks for. */
struct ask {
    enum permission permission;
    bool required;
};

/* What the operator answered; the grant is normal. A refusal has scope "". */
struct decision {
    struct grant grant;
    bool refused;
    bool strange;   /* its scope is none that this version understands: it never holds */
    uint64_t until; /* seconds of the home's time; 0: no end */
};

/* Why something holds or does not.  docs/permissions.md is made from this table. */
#define POLICY_REASONS(X) \
    X(GRANTED, "granted", "the operator granted it") \
    X(NOT_ASKED, "not_asked", \
      "the manifest does not ask for it: what is decided is kept and holds when a version asks") \
    X(REFUSED, "refused", "the operator refused the permission, which wins over every grant of it") \
    X(CEILING, "ceiling", "a ceiling over the plugin's publisher, its capabilities or everybody forbids it") \
    X(ENDED, "ended", "the grant's time is over") \
    X(OUTSIDE, "outside", "what was granted of the permission does not contain it") \
    X(UNDECIDED, "undecided", "nobody has decided it yet") \
    X(MEANINGLESS, "meaningless", "the scope is none that this version of Moat understands")

enum policy_reason {
#define X(id, name, text) POLICY_##id,
    POLICY_REASONS(X)
#undef X
        POLICY_REASON_COUNT,
};
const char *policy_reason_name(enum policy_reason r);
const char *policy_reason_text(enum policy_reason r);

/* All that a decision depends on. */
struct policy_input {
    const struct ask *asks;
    size_t nasks;
    const struct decision *decisions;
    size_t ndecisions;
    const struct ceiling *ceilings; /* of the home: those over others do not matter */
    size_t nceilings;
    const char *publisher; /* whose key signed the version; NULL: nobody known */
    uint32_t capabilities; /* mask of 1 << enum capability */
    uint64_t now;          /* seconds of the home's time */
};

struct policy_answer {
    bool ready;                    /* every required permission is granted */
    enum permission blocking;      /* when not: the first required one that is missing */
    uint32_t asked;                /* masks of 1 << enum permission */
    uint32_t undecided;            /* asked, neither granted nor refused */
    uint32_t refused;              /* asked and refused */
    uint32_t forbidden;            /* asked, and a ceiling forbids all of it */
    uint8_t why[PERMISSION_COUNT]; /* enum policy_reason of each permission as a whole */
    uint64_t next_end;             /* when the first of the grants in force ends; 0: none does */
    size_t ngrants, nnever;
    uint64_t until[POLICY_GRANTS_MAX];         /* of each grant; 0: no end */
    struct grant grants[POLICY_GRANTS_MAX];    /* in force: granted, asked for, not ended, below the ceilings; normal */
    struct ceiling never[POLICY_CEILINGS_MAX]; /* the ceilings over this plugin */
};

/* A grant of something that the manifest does not ask for is kept and not in force: nothing is given unasked. More
 * grants or ceilings than an answer holds give less, never more. Only the first ngrants and nnever rows are written. */
void policy_decide(const struct policy_input *in, struct policy_answer *out);

/* Why one of the decisions is in force or not. */
enum policy_reason policy_judge(const struct policy_input *in, const struct decision *d);

/* May a plugin with this answer do what needs the permission for this object, at that time? object is what the plugin
 * named, in any spelling: a path, "HOST:PORT", a source, "PLUGIN.ACTION"; "" asks for the permission as a whole.
 * POLICY_GRANTED or why not. A name that turns out to stand for addresses is asked for by each of them as well. */
enum policy_reason policy_allows(const struct policy_answer *a, enum permission p, const char *object, uint64_t now);
/* Its normal form, as a scope that names it and nothing else; false: there is none. */
bool policy_object(enum permission p, const char *object, char out[POLICY_SCOPE_MAX]);
/* Is this address named: by an address or a range of a grant in force, not by a host's name or a bare permission? */
bool policy_names(const struct policy_answer *a, const char *address, uint64_t now);
/* Does a ceiling forbid the object, whatever is granted? NULL: none does; what cannot be read as an object of the
 * permission is forbidden as soon as there is any ceiling on it. */
const struct ceiling *policy_forbids(const struct policy_answer *a, enum permission p, const char *object);
/* The same for a grant as a whole: because it lies below the ceiling, or (places and code, which the kernel's walls
 * give as a whole) because it meets it anywhere. */
const struct ceiling *policy_forbids_grant(const struct policy_answer *a, const struct grant *g);

/* "moat VERB PLUGIN GRANT", to be pasted into a shell as it stands, whatever stands in the scope. verb: grant, revoke.
 * false: it is longer than a command may be. */
bool grant_command(const char *verb, const char *plugin, const struct grant *g, char out[POLICY_COMMAND_MAX]);
/* The same for the end of a sentence, between backticks; where it is too long, where to read how it is done. */
void grant_advice(const char *verb, const char *plugin, const struct grant *g, char out[POLICY_COMMAND_MAX + 2]);

/* In the object of a denial: here stood what cannot be shown, or the rest did not fit. No command can be made of it. */
#define POLICY_UNTOLD "\xef\xbf\xbd" /* U+FFFD */

/* The exact command that would allow it: "moat grant NAME file_read=/etc/passwd"; false when nothing can. object ""
 * gives the form with a placeholder, as in "file_read=PATH". */
bool policy_command(const char *plugin, int permission, const char *object, char out[POLICY_COMMAND_MAX]);

/* Of a denial: with that operation its object is the scope of file_write which would have allowed it, else what was
 * named. */
#define POLICY_WRITE_MORE "write more"
bool policy_denial_command(const char *plugin, int permission, const char *operation, const char *object,
                           char out[POLICY_COMMAND_MAX]);

/* What a grant of the permission looks like and how it is compared: Markdown, for docs/permissions.md. */
const char *policy_scope_about(enum permission p);

#endif
