/* orchestrator/faults: what is wrong with a task: each finding with the JSON Pointer of its place.  One thread. */
#ifndef ORCHESTRATOR_FAULTS_H
#define ORCHESTRATOR_FAULTS_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"
#include "json/json.h"

#define FAULTS_MAX 100 /* of one task; the rest is counted */
#define FAULT_MESSAGE_MAX 300

/* X(id, name) */
#define FAULT_KINDS(X) \
    X(FORM, "bad_form") \
    X(ID, "bad_id") \
    X(TARGET, "bad_target") \
    X(VALUE, "bad_value") \
    X(REFERENCE, "unknown_reference") \
    X(TEMPLATE, "bad_template") \
    X(CYCLE, "cycle") \
    X(SIZE, "too_large") \
    X(PLUGIN, "no_candidate") \
    X(TYPE, "bad_parameters")
enum fault_kind {
#define X(id, name) FAULT_##id,
    FAULT_KINDS(X)
#undef X
};

struct fault {
    enum fault_kind kind;
    char pointer[JSON_POINTER_MAX], message[FAULT_MESSAGE_MAX];
};

struct faults {
    struct fault *list;
    size_t count, more; /* more: beyond those in the list */
};

__attribute__((format(printf, 4, 5))) void faults_add(struct faults *f, enum fault_kind kind, const char *pointer,
                                                      const char *format, ...);
void faults_free(struct faults *f);

/* [{"pointer","code","message"}, …] */
void faults_tell(const struct faults *f, struct buf *out, const char *key);

/* MOAT_E_BAD_TASK: the first in words, as many as there is room for in the detail. */
int faults_error(const struct faults *f, struct error *err);

#endif
