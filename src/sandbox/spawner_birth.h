/* sandbox/spawner_birth: one child from clone to exec.  Private to the spawner. */
#ifndef SANDBOX_SPAWNER_BIRTH_H
#define SANDBOX_SPAWNER_BIRTH_H

#include "sandbox/messages.h"
#include "sandbox/spawner.h"

/* Who children are outside. */
struct identity {
    bool pool; /* each worker a host uid of its own */
    uid_t uid;
    gid_t gid;
    const char *refused; /* the step that says why no child may be made, or NULL */
};

struct birth {
    const struct spawn_request *request;
    int status;         /* to the asker */
    int input, output;  /* helper; a worker has output */
    int control;        /* worker */
    int exec;           /* the opened executable */
    int null;           /* /dev/null */
    int lifeline;       /* reading end: hangs up when the spawner dies */
    int lifeline_write; /* the spawner's own end: the child closes it first */
    int go_read, go_write;
    uid_t uid;
    gid_t gid;
    bool fallback; /* out: it was born without namespaces */
};

/* Reads /proc/self/uid_map and gid_map. */
void identity_find(struct identity *out);

/* Clones, maps, lets go. The pid, with *pidfd; or -1 with errno and *step. */
pid_t birth_give(struct birth *b, int *pidfd, const char **step);

/* A status message; on the spawner's side and in a child that could not exec. */
bool status_send(int fd, const struct spawn_status *status, int pidfd);
void status_failed(int fd, int errnum, const char *step);

#endif
