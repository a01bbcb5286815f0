/* registry: what nobody can reconstruct: whom the operator trusts, what is installed, what was decided.  All SQL of the
 * host stands behind this header of records; nothing here knows what a manifest, a grant or a plugin means.
 *
 * Writing: a command is handed to the store thread, the only writer.  Commands that wait together share one
 * transaction, each in its own savepoint: a refused one leaves the others alone.  A command is answered once its
 * transaction is on the disk.  Reading: one struct registry_reader per thread, with a connection of its own.
 *
 * Packages are files plugin_dir/sha256/HEX.moat: staged beside, synced, renamed by the store thread before the
 * transaction that refers to them, removed by it after the one that no longer does.  A kill at any instruction leaves
 * the old state or the new; files that nothing refers to are collected at open.
 *
 * Errors of the disk and of SQLite are MOAT_E_STORAGE_FAILED with SQLite's message and the file.  Times are seconds
 * since 1970. */
#ifndef REGISTRY_REGISTRY_H
#define REGISTRY_REGISTRY_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"

#define REGISTRY_NAME_MAX 30    /* of a plugin */
#define REGISTRY_VERSION_MAX 64 /* of a version's text */
#define REGISTRY_PUBLISHER_MAX 64
#define REGISTRY_NAMES_MAX 128 /* of a publisher's name pattern */
#define REGISTRY_SCOPE_MAX 512 /* of a grant, with its 0 */
#define REGISTRY_SCOPES_MAX 256
#define REGISTRY_SETTING_MAX 64
#define REGISTRY_NOBODY "unsigned" /* the publisher that owns no name: who signs takes it, without what was decided */
#define REGISTRY_REASON_MAX 500    /* why a version is deprecated */
#define REGISTRY_SOURCE_MAX 64     /* of a data source's name */
#define REGISTRY_TOKEN_NAME_MAX 64
#define REGISTRY_ACTOR_MAX 80    /* of the audit trail: "uid:1000", "token:3", "plugin:NAME", "host" */
#define REGISTRY_CALL_MAX 64     /* the id of the request or call that caused it */
#define REGISTRY_SUBJECT_MAX 128 /* what was changed: a plugin, a publisher, a setting, a token's id */

struct registry;

/* Creates what is missing, migrates an older schema forward in one transaction, refuses a newer one, collects stray
 * files.  The caller holds the home's lock. Blocks. */
int registry_open(const char *dir, const char *plugin_dir, struct registry **out, struct error *err);
/* Every command has completed when it returns. Readers must be gone. NULL is fine. */
void registry_close(struct registry *r);

/* ---- records ---- */

struct registry_publisher {
    char name[REGISTRY_PUBLISHER_MAX + 1], names[REGISTRY_NAMES_MAX + 1];
    uint64_t added_at;
};

struct registry_key {
    uint8_t id[32], bytes[32];
    int algorithm; /* numbers of the package format */
    char publisher[REGISTRY_PUBLISHER_MAX + 1], names[REGISTRY_NAMES_MAX + 1];
    uint64_t added_at, revoked_at; /* 0: not revoked */
};

enum registry_wanted {
    REGISTRY_LAZY,    /* its first call starts it */
    REGISTRY_LOADED,  /* a server starts it */
    REGISTRY_STOPPED, /* calls are refused until `load` */
};

struct registry_plugin {
    char name[REGISTRY_NAME_MAX + 1], owner[REGISTRY_PUBLISHER_MAX + 1];
    bool active;
    enum registry_wanted wanted;
    char current[REGISTRY_VERSION_MAX + 1];  /* or empty */
    char newest[REGISTRY_VERSION_MAX + 1];   /* ever installed, also when it is gone */
    char previous[REGISTRY_VERSION_MAX + 1]; /* current before this one, still installed; or empty */
    bool pinned;
    unsigned versions;              /* 0: not installed; owner and decisions are remembered */
    uint64_t first_at, owner_since; /* owner_since 0: the first owner still has it */
};

enum registry_state { REGISTRY_AVAILABLE, REGISTRY_CURRENT, REGISTRY_DEPRECATED, REGISTRY_ARCHIVED, REGISTRY_DAMAGED };
const char *registry_state_name(enum registry_state s);

struct registry_version {
    char name[REGISTRY_NAME_MAX + 1], version[REGISTRY_VERSION_MAX + 1], publisher[REGISTRY_PUBLISHER_MAX + 1];
    uint8_t sha256[32], key_id[32];
    uint64_t size, signed_at, expires_at, installed_at; /* expires_at 0: never */
    enum registry_state state;
    uint64_t changed_at; /* when it became deprecated or archived, else 0 */
    char reason[REGISTRY_REASON_MAX + 1];
    bool key_revoked;
};

struct registry_decision {
    char name[REGISTRY_NAME_MAX + 1];
    int permission;
    char scope[REGISTRY_SCOPE_MAX];
    bool refused;
    uint64_t until, decided_at; /* until 0: no end */
    int64_t held; /* bytes that lay in a place for writing when it was granted; REGISTRY_UNWEIGHED: not known yet */
};
#define REGISTRY_UNWEIGHED (-1)

/* What somebody can never get: subject and scope as the policy writes them. */
struct registry_ceiling {
    char subject[80];
    int permission;
    char scope[REGISTRY_SCOPE_MAX];
    uint64_t set_at;
};
#define REGISTRY_CEILINGS_MAX 64
/* Of one plugin: as many as can be in force at once, so that no grant puts another one out. */
#define REGISTRY_GRANTS_MAX 64

/* A data source that grants may name. */
struct registry_source {
    char name[REGISTRY_SOURCE_MAX + 1];
    char kind[16];        /* "sqlite", "postgres" */
    char place[PATH_MAX]; /* the database, or the file that has the connection string */
    uint64_t added_at;
};

/* The home's time (service/home_time.h) and the boot's, of one moment. */
struct registry_home_time {
    char boot[40]; /* the kernel's name for the boot */
    uint64_t boot_ns, time_ns;
};

struct registry_token {
    int64_t id;
    uint8_t hash[32];
    char name[REGISTRY_TOKEN_NAME_MAX + 1]; /* the operator's word for it, or empty */
    char scopes[REGISTRY_SCOPES_MAX];
    uint64_t created_at, expires_at, revoked_at, last_used_at; /* 0: never */
};

struct registry_token_use {
    int64_t id;
    uint64_t at;
};

/* ---- writing ---- */

/* A package on its way into the store: written and synced, not referenced. */
struct registry_stage {
    char path[PATH_MAX];
};
/* Any thread; blocks on the disk. */
int registry_stage(struct registry *r, const void *bytes, size_t len, struct registry_stage *out, struct error *err);
void registry_unstage(struct registry_stage *stage); /* removes it, unless an install took it */

enum registry_verb {
    REGISTRY_TRUST_ADD,
    REGISTRY_TRUST_REVOKE,
    REGISTRY_TRUST_NAMES,
    REGISTRY_TRANSFER,
    REGISTRY_INSTALL,
    REGISTRY_UNINSTALL,
    REGISTRY_USE,
    REGISTRY_WANT,
    REGISTRY_DAMAGE,
    REGISTRY_DECIDE,
    REGISTRY_UNDECIDE,
    REGISTRY_SET,
    REGISTRY_ROLLBACK,
    REGISTRY_PIN,
    REGISTRY_ACTIVATE,
    REGISTRY_MARK,
    REGISTRY_CONFIGURE,
    REGISTRY_GUARD_END,
    REGISTRY_IMPORT,
    REGISTRY_APPLY,
    REGISTRY_TOKEN_ADD,
    REGISTRY_TOKEN_REVOKE,
    REGISTRY_TOKEN_USED,
    REGISTRY_AUDIT_ROTATE,
    REGISTRY_AUDIT_SIGN,
    REGISTRY_CEILING_SET,
    REGISTRY_CEILING_REMOVE,
    REGISTRY_SOURCE_ADD,
    REGISTRY_SOURCE_REMOVE,
    REGISTRY_GRANT_END,
    REGISTRY_GRANT_WEIGHED,
    REGISTRY_HOME_TIME,
    REGISTRY_NOTE_BACKUP, /* a record of the trail, and nothing else */
    REGISTRY_NOTE_RESTORE,
    REGISTRY_CANARY_START, /* likewise: which version is current is not changed by them */
    REGISTRY_CANARY_END,
    REGISTRY_PARAMETER, /* a record: what it was changed from and to, and why */
    REGISTRY_MEND,      /* what can be made from the rest: the search when it is wrong; packages that nobody wants go */
    REGISTRY_FLUSH,     /* nothing: answered when all before it is on the disk */
    REGISTRY_VERB_COUNT,
};

/* Everything that a command's pointers show stays until it is done. */
struct registry_import;
struct registry_together;
struct registry_command {
    enum registry_verb verb;
    union {
        /* A known publisher gets one more key; names NULL: as before, or "*". The same key again changes nothing;
         * another publisher's, or a revoked one, is MOAT_E_ALREADY_EXISTS or MOAT_E_KEY_REVOKED. */
        struct {
            const char *publisher, *names;
            const uint8_t *id, *bytes;
            int algorithm;
        } trust_add;
        /* key NULL: every key of the publisher. MOAT_E_NOT_FOUND. */
        struct {
            const char *publisher;
            const uint8_t *key;
        } trust_revoke;
        /* MOAT_E_NOT_FOUND. */
        struct {
            const char *publisher, *names;
        } trust_names;
        /* The name's next owner; what was installed and decided stays. MOAT_E_NO_SUCH_PLUGIN for a name that was never
         * installed, MOAT_E_NOT_FOUND for the publisher. */
        struct {
            const char *name, *publisher;
            char before[REGISTRY_PUBLISHER_MAX + 1]; /* out */
        } transfer;
        /* The name's owner, the key and the version's immutability are checked in the transaction:
         * MOAT_E_UNKNOWN_KEY, MOAT_E_KEY_REVOKED, MOAT_E_NAME_NOT_ALLOWED, MOAT_E_ALREADY_EXISTS. A first version
         * becomes current in any case, unless it is older than the newest seen. Decisions are made with it. */
        struct {
            const char *name, *version, *newest; /* newest: of what was seen and this one */
            const uint8_t *sha256, *key;
            uint64_t size, signed_at, expires_at;
            const char *manifest;               /* JSON */
            uint32_t capabilities, permissions; /* masks, for filters */
            struct registry_stage *stage;       /* taken when the command succeeds */
            const struct registry_decision *decisions;
            size_t ndecisions;
            bool use;
            bool already, current; /* out */
        } install;
        /* version NULL: all. What was decided and who owns the name stay, unless purge. MOAT_E_NO_SUCH_PLUGIN,
         * MOAT_E_NO_SUCH_VERSION; MOAT_E_WRONG_STATE for the current one of several. */
        struct {
            const char *name, *version;
            bool purge;
            unsigned removed; /* out: versions */
        } uninstall;
        /* MOAT_E_WRONG_STATE for a damaged or archived version, and for another one than a pinned plugin's. rollback:
         * version is what the caller read as the previous one, MOAT_E_WRONG_STATE when it is not that any more;
         * afterwards there is nothing to go back to. */
        struct {
            const char *name, *version;
            const char *evidence; /* of use: the JSON object of a canary that made it so, or NULL */
        } use, damage, rollback;
        struct {
            const char *name, *version;
            unsigned percent;          /* of start */
            const char *outcome, *why; /* of end */
            const char *evidence;      /* of end: a JSON object */
        } canary;
        struct {
            const char *name, *from, *to; /* from, to: JSON values */
            const char *why, *outcome;
        } parameter;
        struct {
            const char *name;
            bool on, changed; /* changed: out */
        } pin, activate;
        /* state: REGISTRY_DEPRECATED or REGISTRY_ARCHIVED; off: available again, if it was that. The current version
         * is not archived: MOAT_E_WRONG_STATE. */
        struct {
            const char *name, *version, *reason;
            enum registry_state state;
            bool on, changed; /* changed: out */
        } mark;
        /* A new revision: two JSON objects, what may be shown and what may not. MOAT_E_WRONG_STATE when `expected` is
         * not the revision that there is (0: none). Older revisions keep what may be shown; their secrets go, but for
         * those of a base to which a guard may go back. guard: whether it is watched, in the loader's word, and why
         * not; NULL: nothing is known of that. */
        struct {
            const char *name, *value, *secret;
            uint64_t expected, base;
            const char *guard, *why;
        } configure;
        /* What became of a revision that is watched: the word, the reason, the evidence as a JSON object. back: its
         * base becomes the newest revision, with its secrets; MOAT_E_WRONG_STATE when there is a newer one than this
         * by now. One that is not watched (any more) changes nothing. */
        struct {
            const char *name, *outcome, *why, *evidence;
            uint64_t revision;
            bool back;
            uint64_t base; /* out */
            bool changed;  /* out */
        } guard_end;
        struct {
            struct registry_import *records; /* see registry/dump.h */
        } import;
        /* Other commands, all or nothing, each with its own record. */
        struct {
            struct registry_together *together;
            uint64_t plugins, changes; /* for the record of the whole */
        } apply;
        /* name NULL: every installed plugin. */
        struct {
            const char *name;
            enum registry_wanted wanted;
        } want;
        /* A refusal takes the place of every grant of its permission and the other way round. */
        struct {
            const char *name;
            const struct registry_decision *list; /* permission, scope, refused, until, held */
            size_t count;
        } decide, undecide;
        /* Those whose end is still the one that is told go: their time is over. Weighed: what those held that were
         * granted unweighed; one that was weighed meanwhile stays as it is. */
        struct {
            const char *name;
            const struct registry_decision *list;
            size_t count;
        } grant_end, grant_weighed;
        /* Set again changes nothing; more than REGISTRY_CEILINGS_MAX is MOAT_E_LIMIT. Removing: MOAT_E_NOT_FOUND. */
        struct {
            const char *subject, *scope;
            int permission;
        } ceiling;
        /* MOAT_E_ALREADY_EXISTS. */
        struct {
            const char *name, *kind, *place;
        } source_add;
        /* MOAT_E_NOT_FOUND. */
        struct {
            const char *name;
        } source_remove;
        /* Kept unless a later time is kept already. Nothing that the trail tells of. */
        struct registry_home_time home_time;
        struct {
            const char *key, *value; /* value NULL: the default again */
        } set;
        struct {
            const uint8_t *hash;
            const char *scopes, *name; /* name NULL: none */
            uint64_t expires_at;
            int64_t id; /* out */
        } token_add;
        /* MOAT_E_NOT_FOUND. Revoked again changes nothing. */
        struct {
            int64_t id;
        } token_revoke;
        /* No change that the trail tells of; one that is gone is skipped. */
        struct {
            const struct registry_token_use *list;
            size_t count;
        } token_used;
        /* The records up to this one, which was exported to `file`, go; the chain's root moves there.
         * MOAT_E_WRONG_STATE: there is no such record. */
        struct {
            uint64_t upto;
            const uint8_t *hash; /* that record's */
            const char *file;
        } audit_rotate;
        struct {
            const char *file;
        } note;
        struct {
            bool searched;      /* out: the search was made anew */
            uint64_t collected; /* out: packages */
        } mend;
        /* Keeps a signature over a head of the trail, which the caller has verified. MOAT_E_WRONG_STATE: it is none. */
        struct {
            uint64_t count;
            const uint8_t *hash, *key, *signature; /* 32, 32, 64 bytes */
        } audit_sign;
    };
    /* Who asked (NULL: Moat itself, "host") and by which request: for the audit trail, in which each command that
     * changes something appends one record, in the same transaction. */
    const char *actor, *call;
    /* Called once on the store thread, must not block. */
    void (*done)(struct registry_command *command);
    void *context;
    int code; /* 0 or -enum moat_code */
    struct error error;
    struct registry_command *next; /* the registry's own */
};

/* Of REGISTRY_APPLY. Not among them: REGISTRY_APPLY, REGISTRY_IMPORT, and what is about the trail itself. */
struct registry_together {
    /* 1: *out is the next command; 0: there is no more; or an error. On the store thread: it must not wait. done, actor
     * and call of *out are not looked at. */
    int (*next)(void *context, struct registry_command *out, struct error *err);
    /* Which one was refused, to name it in the error. */
    void (*where)(void *context, struct error *err);
    void *context;
    uint64_t commands; /* out: that were run */
};

void registry_begin(struct registry *r, struct registry_command *command);                 /* any thread */
int registry_run(struct registry *r, struct registry_command *command, struct error *err); /* waits; sets done itself */

/* ---- gathered in memory, written by the store thread once a second; a crash can lose that second ---- */

/* Something was refused: kept for the audit trail, folded with its like of the same second. Commands that are refused
 * do this by themselves. Any thread, never blocks on the disk. */
struct registry_refusal {
    const char *actor, *call, *action, *subject; /* NULL: as in a command */
    enum moat_code code;
};
void registry_refuse(struct registry *r, const struct registry_refusal *refusal);

/* How often something happened; last_call_ms: when the last call was, since 1970, or 0. */
struct registry_counts {
    uint64_t installs, downloads, loads, calls, errors, last_call_ms;
};
struct registry_count {
    char plugin[REGISTRY_NAME_MAX + 1], version[REGISTRY_VERSION_MAX + 1];
    struct registry_counts n;
};
/* Adds to the counters of a version, on the day when it is written. Any thread, never blocks on the disk. */
void registry_count(struct registry *r, const struct registry_count *count);
/* Workers that were started: how many, and how many were asked for at once at most. Adds to the hour when it is
 * written; any thread, never blocks on the disk. */
struct registry_starts {
    uint64_t starts, most;
};
void registry_count_starts(struct registry *r, const struct registry_starts *more);
/* Something that a plugin tried and did not get; the same (plugin, version, action, operation, object) are one row. Of
 * a plugin so many rows are kept: of each kind (version, action, operation) the newest, no kind before another. What
 * the others had counted is a number. */
#define REGISTRY_DENIALS 512
struct registry_denial {
    const char *plugin, *version, *action, *call, *operation, *object, *wall; /* call: of the last one, or "" */
    int permission;
    uint64_t count, first_ms, last_ms;
};
/* Adds to the row. false: there is no room for it before the next write, or no memory: nothing is added. Any thread,
 * never blocks on the disk. */
bool registry_deny(struct registry *r, const struct registry_denial *more);
/* Asked on the store thread each second (in quiet times every other), before it writes, for what was not told by
 * itself. It must not block and may call registry_count. false: there was nothing, and it is asked again when
 * registry_gather_soon says that there is: nobody is woken for nothing. NULL: nobody any more; when that returns it is
 * not running. */
void registry_gather_from(struct registry *r, bool (*collect)(void *context), void *context);
void registry_gather_soon(struct registry *r); /* any thread */

/* Waits until all that was gathered before is on the disk. */
int registry_flush(struct registry *r, struct error *err);

/* ---- reading ---- */

struct registry_reader;
int registry_reader_new(struct registry *r, struct registry_reader **out, struct error *err);
void registry_reader_free(struct registry_reader *reader);

/* Between the two, everything read is of one moment. */
int registry_snapshot_begin(struct registry_reader *reader, struct error *err);
void registry_snapshot_end(struct registry_reader *reader);

/* Look-ups: 1 found, 0 not there, or an error. manifest (may be NULL) gets the JSON text appended. */
int registry_find_key(struct registry_reader *reader, const uint8_t id[32], struct registry_key *out,
                      struct error *err);
int registry_find_plugin(struct registry_reader *reader, const char *name, struct registry_plugin *out,
                         struct error *err);
int registry_find_version(struct registry_reader *reader, const char *name, const char *version,
                          struct registry_version *out, struct buf *manifest, struct error *err);
/* One of a plugin's configurations, as registry_each_config tells it; texts are valid during each. */
struct registry_config {
    uint64_t revision, set_at, base, guard_until; /* times: seconds, 0: none */
    int64_t back;                                 /* the revision that it is again; -1: none */
    const char *value, *guard, *why, *evidence;   /* "": nothing is known */
};
/* The newest first; each returns false to stop. */
int registry_each_config(struct registry_reader *reader, const char *name,
                         bool (*each)(void *context, const struct registry_config *c), void *context,
                         struct error *err);

/* The newest revision of a plugin's configuration: value and secret get the two JSON objects appended. */
int registry_find_config(struct registry_reader *reader, const char *name, uint64_t *revision, struct buf *value,
                         struct buf *secret, struct error *err);
int registry_find_setting(struct registry_reader *reader, const char *key, struct buf *value, struct error *err);

/* Lists: each returns false to end early; what it is shown is valid during the call only. 0 or an error. */
int registry_each_publisher(struct registry_reader *reader,
                            bool (*each)(void *context, const struct registry_publisher *p), void *context,
                            struct error *err);
/* publisher NULL: all. */
int registry_each_key(struct registry_reader *reader, const char *publisher,
                      bool (*each)(void *context, const struct registry_key *k), void *context, struct error *err);
/* The versions that a publisher's keys, or that one of them, have signed: by name, the current ones told. */
int registry_each_signed(struct registry_reader *reader, const char *publisher, const uint8_t *key_or_null,
                         bool (*each)(void *context, const char *name, const char *version, bool current),
                         void *context, struct error *err);
int registry_each_version(struct registry_reader *reader, const char *name,
                          bool (*each)(void *context, const struct registry_version *v), void *context,
                          struct error *err);
/* name NULL: all; in the order of names. */
int registry_each_decision(struct registry_reader *reader, const char *name,
                           bool (*each)(void *context, const struct registry_decision *d), void *context,
                           struct error *err);
/* Those with an end, whether it has come or not. */
int registry_each_timed(struct registry_reader *reader, bool (*each)(void *context, const struct registry_decision *d),
                        void *context, struct error *err);
int registry_each_ceiling(struct registry_reader *reader, bool (*each)(void *context, const struct registry_ceiling *c),
                          void *context, struct error *err);
int registry_each_source(struct registry_reader *reader, bool (*each)(void *context, const struct registry_source *s),
                         void *context, struct error *err);
int registry_find_source(struct registry_reader *reader, const char *name, struct registry_source *out,
                         struct error *err);
int registry_find_home_time(struct registry_reader *reader, struct registry_home_time *out, struct error *err);
int registry_each_setting(struct registry_reader *reader,
                          bool (*each)(void *context, const char *key, const char *value), void *context,
                          struct error *err);
int registry_each_token(struct registry_reader *reader, bool (*each)(void *context, const struct registry_token *t),
                        void *context, struct error *err);

/* Installed plugins in the order of names, each with the version that stands for it (the current one, else the one
 * installed last) and that version's manifest. */
struct registry_filter {
    uint32_t capabilities, permissions;   /* any bit of the mask; 0: any */
    int active;                           /* -1: any */
    const char *publisher, *text, *after; /* NULL: any; text: a search (see find.h), then in the order of a search's
                                             results; after: a name of that order */
};
int registry_each_plugin(struct registry_reader *reader, const struct registry_filter *filter,
                         bool (*each)(void *context, const struct registry_plugin *p, const struct registry_version *v,
                                      const char *manifest, size_t manifest_len),
                         void *context, struct error *err);

/* The counters of a version, of all versions of a plugin (version NULL), of everything (name NULL too), with what is
 * not written yet. Not inside a snapshot: that would not have what was written since. */
int registry_find_counts(struct registry_reader *reader, const char *name, const char *version,
                         struct registry_counts *out, struct error *err);
/* Day by day, the newest first; a day is that many days since 1970, by UTC. */
int registry_each_count(struct registry_reader *reader, const char *name, const char *version, uint64_t since_day,
                        bool (*each)(void *context, const char *version, uint64_t day,
                                     const struct registry_counts *counts),
                        void *context, struct error *err);

/* The calls of a plugin (NULL: of all) hour by hour, the oldest first; hours since 1970, those without calls left out,
 * at most the last REGISTRY_HOURS. What is not written yet (a second or two) is not among them. */
#define REGISTRY_HOURS 1512
int registry_each_hour(struct registry_reader *reader, const char *name, uint64_t since_hour,
                       bool (*each)(void *context, uint64_t hour, uint64_t calls, uint64_t errors), void *context,
                       struct error *err);

/* Starts of workers hour by hour, as above. */
int registry_each_start(struct registry_reader *reader, uint64_t since_hour,
                        bool (*each)(void *context, uint64_t hour, const struct registry_starts *starts), void *context,
                        struct error *err);

/* What was denied a plugin (NULL: all) at that time or later, the last first; what is gathered and not written yet is
 * not among it: registry_flush. */
int registry_each_denial(struct registry_reader *reader, const char *name, uint64_t since_ms,
                         bool (*each)(void *context, const struct registry_denial *d), void *context,
                         struct error *err);
/* How many there were whose rows are not kept any more. */
int registry_find_denials_dropped(struct registry_reader *reader, const char *name, uint64_t *out, struct error *err);

/* ---- the audit trail (docs/audit.md) ---- */

struct registry_audit_head {
    uint64_t count; /* records ever appended: the number of the last one */
    uint8_t hash[32];
};
struct registry_audit_record {
    uint64_t seq, time_ms, count;
    const char *actor, *call, *action, *subject, *outcome, *detail; /* detail: a JSON object, or empty */
    uint8_t hash[32];
};
/* NULL and 0: any. action: "plugin.install", or all that begins with "plugin." after, before: numbers of records. */
struct registry_audit_filter {
    const char *actor, *action, *subject, *outcome;
    uint64_t since_ms, until_ms, after, before;
    bool newest_first;
};
int registry_each_audit(struct registry_reader *reader, const struct registry_audit_filter *filter,
                        bool (*each)(void *context, const struct registry_audit_record *record), void *context,
                        struct error *err);
int registry_audit_head(struct registry_reader *reader, struct registry_audit_head *out, struct error *err);
/* What the first kept record follows: count 0, or where the trail was rotated last. */
int registry_audit_root(struct registry_reader *reader, struct registry_audit_head *out, struct error *err);
/* The hash of a kept record, or of a place where the trail was rotated: 1 found, 0 not there. */
int registry_audit_find_hash(struct registry_reader *reader, uint64_t seq, uint8_t out[32], struct error *err);
int registry_audit_find_root(struct registry_reader *reader, uint64_t seq, uint8_t out[32], struct error *err);
/* The name of this registry, 32 hex digits: part of the trail's very first hash. */
int registry_identity(struct registry_reader *reader, char out[33], struct error *err);

struct registry_audit_signature {
    struct registry_audit_head head;
    uint8_t key[32], signature[64];
    uint64_t at;
};
int registry_each_audit_signature(struct registry_reader *reader,
                                  bool (*each)(void *context, const struct registry_audit_signature *s), void *context,
                                  struct error *err);

struct registry_audit_check {
    uint64_t records;    /* that were looked at */
    uint64_t bad;        /* the number of the first record that is wrong; 0: problem tells of none in particular */
    char problem[200];   /* empty: the trail is whole */
    uint64_t clock_back; /* how often the clock had jumped back: no fault of the trail */
    struct registry_audit_head head;
};
/* Every kept record, its hash, its number, the head, and an anchor that was kept elsewhere (NULL: none). 0 however it
 * turns out, or an error of reading. */
int registry_audit_verify(struct registry_reader *reader, const struct registry_audit_head *anchor,
                          struct registry_audit_check *out, struct error *err);

/* The hash that a record must have after the one before it; false: its texts are too long to be one of ours. */
bool registry_audit_hash(const uint8_t before[32], const struct registry_audit_record *record, uint8_t out[32]);
/* The hash before the very first record. */
void registry_audit_origin(const char *identity, uint8_t out[32]);

/* ---- is all of it as it should be? ---- */

struct registry_finding {
    const char *what, *detail, *cure; /* cure: empty when it is good */
    const char *plugin, *version;     /* of a package, else NULL */
    bool good, damaged_now;           /* damaged_now: it is not marked so yet */
};
/* Every page, reference and record of the trail, the search, and the bytes of every package: takes as long as reading
 * all of it. Changes nothing. What each is shown is valid during the call only. */
int registry_check(struct registry_reader *reader, void (*each)(void *context, const struct registry_finding *f),
                   void *context, struct error *err);

/* ---- backup and restore (docs/backup.md) ---- */

struct registry_backup {
    uint64_t files, packages, bytes;
};
/* dir: the registry's. file: a path from the root, which must not exist yet; it appears when it is whole. Online: of
 * one moment; packages must not be uninstalled meanwhile. MOAT_E_ALREADY_EXISTS, MOAT_E_PACKAGE_DAMAGED. */
int registry_backup(struct registry_reader *reader, const char *dir, const char *file, struct registry_backup *out,
                    struct error *err);

struct registry_restored {
    uint64_t packages;
    char stamp[40];
    bool kept; /* what was there before is in before-STAMP of its directory */
};
/* Nobody has the registry open; the caller holds the home's lock. Everything is checked before anything changes.
 * MOAT_E_PACKAGE_DAMAGED: not a whole backup. */
int registry_restore(const char *dir, const char *plugin_dir, const char *file, struct registry_restored *out,
                     struct error *err);

struct registry_totals {
    uint64_t plugins, active, versions, damaged, publishers, keys, decisions;
    uint64_t package_bytes, database_bytes;
    uint64_t commits, commands; /* of this process: group commit is their difference */
};
int registry_totals(struct registry_reader *reader, struct registry_totals *out, struct error *err);

/* plugin_dir/sha256/HEX.moat */
void registry_package_path(const struct registry *r, const uint8_t sha256[32], char out[PATH_MAX]);

#endif
