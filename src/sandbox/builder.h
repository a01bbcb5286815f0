/* sandbox/builder: what the steps of the wall hand to each other inside the worker.  Private to the inside_*.c files.
 * One per process, on the stack of inside_build; single thread. */
#ifndef SANDBOX_BUILDER_H
#define SANDBOX_BUILDER_H

#include "sandbox/inside.h"
#include "sandbox/messages.h"

struct builder_program {
    struct order_program order;
    int mount; /* made by the host, or -1 */
};

struct builder {
    int control;
    bool fallback; /* no namespaces: the wall of inside_fallback.c */
    uint32_t self; /* WALL_BITs that only we can see */
    int root;      /* the private root */
    int host;      /* the host's tree, stacked above it until the wall is finished: where grants are found */
    struct order_assign order;
    struct order_grant grants[WALL_GRANTS_MAX];
    int mounts[WALL_GRANTS_MAX];      /* made by the host, or -1 */
    struct builder_program *programs; /* order.nprograms, or NULL */
    int listener;
    struct inside *out;
    char message[256]; /* more than errno says, or empty */
};

/* One step: 0, or the errno that stopped it. */
struct step {
    const char *name;
    int (*run)(struct builder *);
};

/* Both tables end with a NULL name and run top-down; the order is the wall (docs/walls.md). */
extern const struct step inside_half_steps[];
extern const struct step inside_full_steps[];
extern const struct step inside_fallback_half_steps[];
extern const struct step inside_fallback_full_steps[];

int inside_step_not_dumpable(struct builder *b);
int inside_step_die_with_parent(struct builder *b);
int inside_step_no_new_privs(struct builder *b);
int inside_step_descriptors(struct builder *b);
int inside_step_session(struct builder *b);
int inside_step_keyring(struct builder *b);
int inside_step_preload(struct builder *b);
int inside_step_bounding_set(struct builder *b);
int inside_step_libraries(struct builder *b);
int inside_step_limits(struct builder *b);
int inside_step_sealed(struct builder *b);
int inside_step_grants(struct builder *b);
int inside_step_package(struct builder *b);
int inside_step_programs(struct builder *b);
int inside_step_capabilities(struct builder *b);
int inside_step_landlock(struct builder *b);
int inside_step_landlock_alone(struct builder *b);
int inside_step_mdwe(struct builder *b);
int inside_step_filter(struct builder *b);
int inside_step_descriptor_limit(struct builder *b);
int inside_step_listener(struct builder *b);
int inside_step_last_filter(struct builder *b);
int inside_step_built(struct builder *b);

/* One of the host's, by name; one that is missing is found missing when code needs it. */
void inside_load_library(const char *soname);

/* How the temporary files are mounted, in both halves. */
void inside_tmp_options(char *out, size_t size, uint64_t bytes);

/* The order's programs, as they come; false: they are not what was announced. */
bool inside_receive_programs(struct builder *b);

/* A granted file or directory, *mount or our own, at `place` below the private root; 0, or the errno with b->message.
 */
int inside_attach(struct builder *b, const struct order_grant *g, const char *place, bool program, int *mount);

/* Shared with the helper's lock. */
int inside_drop_capabilities(bool none_is_fine); /* true: a process that never had any has nothing to drop */
int inside_landlock_nothing(void);
int inside_landlock_connect(void); /* no file and no port to listen on; TCP connections stay possible */

/* A report to the host, with the listener or -1. */
bool inside_report(int control, uint32_t kind, uint32_t self, int errnum, const char *step, const char *message,
                   int fd);

#endif
