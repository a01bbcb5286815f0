/* sandbox/doctor: tries the whole chain of a worker's start on this machine and says which layers work.
 * Blocks up to a few seconds; starts and ends processes of its own. */
#ifndef SANDBOX_DOCTOR_H
#define SANDBOX_DOCTOR_H

#include <stdbool.h>
#include <stddef.h>

#include "sandbox/layer.h"

struct doctor_line {
    enum wall_layer layer;
    bool works;
    char detail[160]; /* "Landlock ABI 7", or the first step that failed and its error */
    char cost[160];   /* empty when it works: what is lost */
    char cure[240];   /* empty when it works: how to get it on this machine */
};

struct doctor_report {
    struct doctor_line lines[WALL_LAYER_COUNT];
    bool complete;        /* every layer works */
    bool fallback;        /* the chain stopped, and the fallback wall works here */
    char failed_step[64]; /* the chain's first failing step, or empty */
    char failed_why[160];
    char kernel[96]; /* release, Landlock ABI, as root or as a user */
};

void doctor_run(const char *worker_path, const char *helper_path, struct doctor_report *out);

#endif
