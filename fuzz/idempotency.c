/* Bytes become claims, ends and departures of runs with Idempotency-Keys, held against what must be true of them: a key
 * runs once, the same body gets that outcome, another body a conflict, and nobody is told twice.
 *
 * Two bytes a step: what happens, and to whom (key, body, outcome). */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/loop.h"
#include "rest/run.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define KEYS 4
#define RUNS 64

enum state { FREE, RUNNING, WAITING, LEFT, TOLD };

struct one {
    struct run run;
    enum state state;
    unsigned key, body;
    unsigned told;
};

/* What a key stands for. */
struct model {
    bool running, kept;
    unsigned body;
    int code;
    uint8_t answer;
    struct one *runner;
};

static void require(bool holds)
{
    if (!holds)
        abort();
}

static void told(struct run *run)
{
    struct one *o = run->context;
    require(o->state == WAITING && !o->told++);
    o->state = TOLD;
}

static void claim(struct keys *k, struct loop *loop, struct one *o, struct model *m, unsigned key, unsigned body)
{
    static const char *const names[KEYS] = {"a", "b", "a b", "\xc3\xbc"};
    static const char bodies[] = "01";
    memset(o, 0, sizeof *o);
    o->key = key;
    o->body = body;
    o->run.call.plugin = "p";
    o->run.call.action = "x";
    o->run.call.parameters = bodies + body;
    o->run.call.parameters_len = 1;
    o->run.key = names[key];
    o->run.loop = loop;
    o->run.done = told;
    o->run.context = o;
    snprintf(o->run.call.id, sizeof o->run.call.id, "%032u", key);
    enum keys_claim got = keys_claim(k, &o->run);
    bool conflict = (m->running || m->kept) && m->body != body;
    if (conflict) {
        require(got == KEYS_DONE && o->run.call.code == -MOAT_E_IDEMPOTENCY_CONFLICT);
    } else if (m->running) {
        require(got == KEYS_WAIT);
        o->state = WAITING;
        return;
    } else if (m->kept) {
        require(got == KEYS_DONE && o->run.call.code == m->code && o->run.replay == RUN_REPLAYED);
        require(m->code || (o->run.call.result_len == 1 && *o->run.call.result == m->answer));
    } else {
        require(got == KEYS_RUN && o->run.entry);
        o->state = RUNNING;
        *m = (struct model){.running = true, .body = body, .runner = o};
        return;
    }
    free(o->run.call.result);
    o->state = FREE;
}

/* outcome: it worked, the action failed, or it never came to a plugin. */
static void settle(struct keys *k, struct model *m, unsigned outcome, uint8_t answer)
{
    struct one *o = m->runner;
    struct call *c = &o->run.call;
    if (outcome == 0) {
        c->result = malloc(1 + BUF_PAD);
        *c->result = answer;
        c->result_len = 1;
    } else {
        c->code = error_set(&c->error, outcome == 1 ? MOAT_E_ACTION_FAILED : MOAT_E_QUEUE_FULL, "as told");
    }
    c->receipt.ran_ns = outcome < 2;
    keys_settle(k, &o->run);
    *m = (struct model){.kept = outcome < 2, .body = m->body, .code = c->code, .answer = answer};
    free(c->result);
    o->state = FREE;
}

static void leave(struct keys *k, struct one *o)
{
    if (o->state == WAITING && keys_leave(k, &o->run))
        o->state = LEFT;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct one ones[RUNS];
    struct model models[KEYS] = {0};
    struct keys *k = keys_new();
    struct loop *loop = NULL;
    size_t n = 0;
    if (!k || loop_new(&loop, NULL) < 0)
        abort();
    for (size_t i = 0; i + 1 < size && n < RUNS; i += 2) {
        unsigned key = data[i + 1] % KEYS;
        struct model *m = &models[key];
        if (data[i] % 3 == 0)
            claim(k, loop, &ones[n++], m, key, data[i + 1] >> 2 & 1);
        else if (data[i] % 3 == 1 && m->running)
            settle(k, m, (data[i + 1] >> 3) % 3, data[i]);
        else if (n)
            leave(k, &ones[data[i + 1] % n]);
    }
    for (unsigned key = 0; key < KEYS; key++)
        if (models[key].running)
            settle(k, &models[key], 0, 0);
    loop_free(loop); /* runs what was posted: each that waited is told, once */
    for (size_t i = 0; i < n; i++) {
        require(ones[i].state != WAITING && ones[i].state != RUNNING);
        if (ones[i].state == TOLD)
            free(ones[i].run.call.result);
    }
    keys_free(k);
    return 0;
}
