/* Records for tests: a directory of their own, a publisher, versions with made-up bytes; and a whole registry as one
 * text, to compare states with. */
#ifndef TESTS_REGISTRY_SAMPLE_H
#define TESTS_REGISTRY_SAMPLE_H

#include "registry/registry.h"

struct place {
    char dir[256], registry[300], packages[300];
};
void place_make(struct place *p);
/* From now on they are made in memory where that can be had: for who kills processes, whose writes the kernel keeps
 * whatever the file system, thousands of times. */
void place_in_memory(void);
/* What SQLite left there beside them, as temporary files of its own; 0 where they are not in memory. */
unsigned place_strays(void);
void place_remove(const struct place *p);
int place_open(const struct place *p, struct registry **out, struct error *err);

void sample_fill(uint8_t out[32], uint8_t seed); /* a hash or key */

/* What a test would say in one line; each returns the command's code. seed makes keys and bytes. */
int sample_trust(struct registry *r, const char *publisher, uint8_t seed, struct error *err);
int sample_revoke(struct registry *r, const char *publisher, const uint8_t *seed_or_null, struct error *err);
struct sample_install {
    const char *name, *version;
    uint8_t key, bytes; /* seeds */
    bool use;
    const char *grant;     /* a scope of permission 0, or NULL */
    bool already, current; /* out */
};
int sample_install(struct registry *r, struct sample_install *in, struct error *err);
int sample_uninstall(struct registry *r, const char *name, const char *version, bool purge, struct error *err);
int sample_use(struct registry *r, const char *name, const char *version, struct error *err);
int sample_decide(struct registry *r, const char *name, int permission, const char *scope, bool refused,
                  struct error *err);
int sample_set(struct registry *r, const char *key, const char *value, struct error *err);

/* Runs through every kind of change, a command a step. */
#define SAMPLE_STEPS_MAX 16
struct sample_script {
    const char *name;
    int steps;
    int unseen; /* the state after this step is described as that before it; -1: none */
    int (*step)(struct registry *r, int step, struct error *err);
};
enum { SAMPLE_SCRIPTS = 2 };
extern const struct sample_script sample_scripts[SAMPLE_SCRIPTS];
int sample_states_step(struct registry *r, int step, struct error *err); /* of the second: script.c */
/* Ends the process otherwise. */
void sample_trail_is_whole(struct registry *r);

/* Everything that is in it, times left out, and the files of its packages. */
void sample_describe(struct registry *r, const struct place *p, struct buf *out);

#endif
