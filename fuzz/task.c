/* A task of any bytes: what is accepted keeps the promises of orchestrator/task.h, and is filled to JSON. */
#include "orchestrator/task.h"

#include <stdlib.h>
#include <string.h>

#include "json/cursor.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
    if (!holds)
        abort();
}

/* Any value may come from a plugin: here it is chosen by the pointer. */
static int value(void *context, const struct ref *ref, const uint8_t **out, size_t *len, struct error *err)
{
    static uint8_t texts[3][160] = {"{\"a\":[1,{\"b\":\"\\u00e9\\\"\"}],\"\":null}", "\"text \\n\"", "-1.5e3"};
    const uint8_t *found = ref_follow(ref, texts[(ref->kind + ref->step) % 3]);
    if (!found)
        return 0;
    *out = found;
    *len = cursor_length(found);
    return 1;
}

static void check_template(const struct task_template *t)
{
    struct template_source source = {.value = value};
    struct error err = {0};
    buf_auto out = BUF_INIT(1 << 20);
    if (!t)
        return;
    int rc = template_fill(t, &source, &out, &err);
    must(rc == 0 ? json_valid(out.data, out.len) : rc == -MOAT_E_BAD_PARAMETERS || rc == -MOAT_E_TOO_LARGE);
    must(!t->plain || (rc == 0 && out.len == t->len && memcmp(out.data, t->at, t->len) == 0));
}

static void check_action(const struct task *t, const struct task_action *a)
{
    if (!a)
        return;
    must((a->plugin != NULL) == (a->capability < 0) && a->action && a->number < t->nactions);
    check_template(a->parameters);
}

static void check_step(const struct task *t, const struct task_step *s)
{
    must(*s->id && strlen(s->id) <= TASK_ID_MAX && task_step_of(t, s->id) == s - t->steps);
    must((s->on_error == ON_ERROR_FALLBACK) == (s->fallback != NULL) && s->retry.attempts >= 1);
    check_action(t, &s->run);
    check_action(t, s->fallback);
    check_action(t, s->compensate);
    check_template(s->items);
    for (uint32_t i = 0; i < s->nneeds; i++)
        must(s->needs[i] < t->nsteps && &t->steps[s->needs[i]] != s);
}

/* Each step once, and after all that it needs. */
static void check_order(const struct task *t)
{
    uint8_t *seen = calloc(t->nsteps, 1);
    must(seen != NULL);
    for (uint32_t i = 0; i < t->nsteps; i++) {
        const struct task_step *s = &t->steps[t->order[i]];
        for (uint32_t k = 0; k < s->nneeds; k++)
            must(seen[s->needs[k]]);
        must(!seen[t->order[i]]++);
    }
    free(seen);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct task *t;
    struct faults faults = {0};
    struct error err = {0};
    int rc = task_read(data, size, &t, &faults, &err);
    must(rc == 0 || (err.code == (enum moat_code) - rc && *err.message));
    must((rc == -MOAT_E_BAD_TASK) == (faults.count > 0));
    faults_free(&faults);
    if (rc)
        return 0;
    must(t->nsteps >= 1 && t->nsteps <= TASK_STEPS_MAX);
    for (uint32_t i = 0; i < t->nsteps; i++)
        check_step(t, &t->steps[i]);
    check_order(t);
    check_template(t->result);
    task_unref(t);
    return 0;
}
