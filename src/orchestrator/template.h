/* orchestrator/template: JSON in which some places stand for earlier values (docs/tasks.md, "Templates").  Compiled
 * once into pieces over the task's own text; filling is copying.  A compiled template is immutable. */
#ifndef ORCHESTRATOR_TEMPLATE_H
#define ORCHESTRATOR_TEMPLATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"

struct reading;

enum ref_kind { REF_INPUT, REF_RESULT, REF_OUTCOME, REF_ERROR, REF_ITEM, REF_INDEX };

/* A JSON Pointer, resolved as far as the task alone can. */
struct ref {
    enum ref_kind kind;
    uint32_t step;             /* of REF_RESULT, REF_OUTCOME, REF_ERROR */
    const char *const *tokens; /* what leads on from there */
    uint32_t ntokens;
    const uint8_t *fallback; /* "default": a value in the task's text, or NULL */
    size_t fallback_len;
    const uint8_t *at; /* where it stands: a value of the task's text */
};

enum piece_kind {
    PIECE_BYTES,  /* as they are */
    PIECE_VALUE,  /* the value of a reference */
    PIECE_INSIDE, /* the same inside a text */
};
struct piece {
    enum piece_kind kind;
    uint32_t ref;
    const uint8_t *bytes;
    size_t len;
};

enum form { FORM_NONE, FORM_FROM, FORM_TEXT, FORM_LITERAL };
struct form_place {
    enum form form;
    const uint8_t *at; /* the object; of FORM_LITERAL: its value */
    const uint8_t *object;
    uint32_t ref; /* of FORM_FROM */
};

struct task_template {
    const uint8_t *at; /* the value in the task's text */
    size_t len;
    const struct piece *pieces;
    const struct ref *refs;
    const struct form_place *forms; /* in the order of the text */
    uint32_t npieces, nrefs, nforms;
    bool plain; /* no form at all: at and len are what it is filled to */
};

/* Where a template may look, besides /input and /steps/ID. */
enum template_views {
    VIEW_ITEM = 1,       /* /item, /index */
    VIEW_OWN_ERROR = 2,  /* its own step's error: a fallback */
    VIEW_OWN_RESULT = 4, /* its own step's result: a compensation */
    VIEW_ALL = 8,        /* of no step: every step is over */
};
#define VIEW_NO_STEP UINT32_MAX

/* Compiles the value at `at`, of step `own`; faults go to the reading. NULL: there was one, or no memory. */
const struct task_template *template_compile(struct reading *r, const uint8_t *at, uint32_t own, unsigned views);
/* One pointer of a condition; false: as above. */
bool template_pointer(struct reading *r, const uint8_t *string, uint32_t own, unsigned views, struct ref *out);

/* Gives the value of a reference: 1 and *value, *len (valid until the next one), 0: there is none, or an error. */
struct template_source {
    int (*value)(void *context, const struct ref *ref, const uint8_t **value, size_t *len, struct error *err);
    void *context;
};
/* Appends. MOAT_E_BAD_PARAMETERS with the pointer in words: a value is not there; MOAT_E_TOO_LARGE: out is full. */
int template_fill(const struct task_template *t, const struct template_source *source, struct buf *out,
                  struct error *err);

/* The value that the tokens lead to from a JSON value that has a 0 behind its text; NULL: none. */
const uint8_t *ref_follow(const struct ref *ref, const uint8_t *value);
/* As a JSON Pointer, for people. */
void ref_text(const struct ref *ref, const char *step_id, char *out, size_t size);

#endif
