/* The shape is the published schema's business, checked by src/json like a client's parameters; what the schema cannot
 * say is checked here, over the text itself: a task may be too large for a tree. */
#include "orchestrator/task.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/clock.h"
#include "base/text.h"
#include "orchestrator/reading.h"
#include "json/cursor.h"

/* docs/schema/task.schema.json, made into an array by embed.py. */
extern const uint8_t task_schema_text[];
extern const size_t task_schema_text_len;

static pthread_once_t shape_once = PTHREAD_ONCE_INIT;
static struct json_schema *shape; /* of every task; compiled once, never freed */
static uint64_t ids_seed;         /* so that nobody can write ids that share a slot */

static void prepare(void)
{
    struct buf text = BUF_INIT(1 << 20);
    if (buf_put(&text, task_schema_text, task_schema_text_len))
        json_schema_compile(text.data, text.len, &shape, NULL);
    buf_free(&text);
    if (getrandom(&ids_seed, sizeof ids_seed, 0) != sizeof ids_seed)
        ids_seed = clock_mono_ns();
}

const char *task_outcome_name(enum task_outcome o)
{
    static const char *const names[OUTCOME_COUNT] = {"waiting", "succeeded", "failed", "skipped"};
    return names[o];
}

/* ---- what reading needs ---- */

bool reading_fault(struct reading *r, enum fault_kind kind, const uint8_t *at, const char *format, ...)
{
    char pointer[JSON_POINTER_MAX] = "", message[FAULT_MESSAGE_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    if (kind == FAULT_SIZE && r->full)
        return false;
    r->full |= kind == FAULT_SIZE;
    /* A pointer inside a text of ours alone has no place in the task's. */
    if (at >= r->task->text && at < r->task->text + r->task->len && r->faults->count < FAULTS_MAX)
        cursor_pointer(r->task->text, at, pointer, sizeof pointer);
    faults_add(r->faults, kind, pointer, "%s", message);
    return false;
}

const char *reading_text(struct reading *r, const uint8_t *string, size_t *len)
{
    size_t room = cursor_length(string);
    char *text = arena_get(&r->task->arena, room + 1, 1);
    ssize_t n = text ? cursor_text(string, text, room + 1) : -1;
    if (n >= 0) {
        if (len)
            *len = (size_t)n;
        return text;
    }
    if (text)
        reading_fault(r, FAULT_FORM, string, "a text without NUL and lone surrogates is asked for");
    return NULL;
}

bool reading_edge(struct reading *r, uint32_t step, uint32_t needs, const uint8_t *at)
{
    if (r->nedges == TASK_EDGES_MAX)
        return reading_fault(r, FAULT_SIZE, at, "the steps of a task depend on each other %d times at most",
                             TASK_EDGES_MAX);
    if (r->nedges == r->edges_cap) {
        size_t cap = r->edges_cap ? r->edges_cap * 2 : 16;
        struct edge *more = realloc(r->edges, cap * sizeof *more);
        if (!more) {
            r->task->arena.failed = true;
            return false;
        }
        r->edges = more;
        r->edges_cap = cap;
    }
    r->edges[r->nedges++] = (struct edge){step, needs};
    return true;
}

/* ---- the top of the task ---- */

static bool read_size(struct reading *r, const uint8_t *value, uint64_t *bytes)
{
    char text[32];
    if (cursor_whole(value, bytes))
        return true;
    if (cursor_text(value, text, sizeof text) > 0 && text_parse_size(text, bytes) && *bytes)
        return true;
    return reading_fault(r, FAULT_VALUE, value, "not a size: bytes, or a whole number with KiB, MiB or GiB");
}

static void read_budget(struct reading *r, const uint8_t *object)
{
    struct task_budget *b = &r->task->budget;
    struct cursor_member m;
    while (object && cursor_next_member(&object, &m)) {
        if (cursor_text_is(m.name, "calls"))
            cursor_whole(m.value, &b->calls);
        else if (cursor_text_is(m.name, "cpu"))
            read_time(r, m.value, &b->cpu_ns);
        else if (cursor_text_is(m.name, "time"))
            read_time(r, m.value, &b->time_ns);
        else
            read_size(r, m.value, &b->bytes);
    }
}

struct top {
    const uint8_t *name, *input, *concurrency, *budget, *steps, *result;
};

static struct top read_top(const uint8_t *text)
{
    struct top top = {0};
    static const struct {
        const char *name;
        size_t offset;
    } members[] = {{"name", offsetof(struct top, name)},
                   {"input", offsetof(struct top, input)},
                   {"concurrency", offsetof(struct top, concurrency)},
                   {"budget", offsetof(struct top, budget)},
                   {"steps", offsetof(struct top, steps)},
                   {"result", offsetof(struct top, result)}};
    struct cursor_member m;
    for (const uint8_t *at = cursor_root(text); cursor_next_member(&at, &m);)
        for (size_t i = 0; i < sizeof members / sizeof *members; i++)
            if (cursor_text_is(m.name, members[i].name))
                memcpy((char *)&top + members[i].offset, &m.value, sizeof m.value);
    return top;
}

static void read_all(struct reading *r)
{
    struct task *t = r->task;
    struct top top = read_top(t->text);
    uint64_t n;
    t->name = top.name ? reading_text(r, top.name, NULL) : NULL;
    t->input = top.input;
    t->concurrency = top.concurrency && cursor_whole(top.concurrency, &n) ? (uint32_t)n : 16;
    t->budget = (struct task_budget){100000, UINT64_MAX, 3600 * NS_PER_S, 1ull << 30};
    read_budget(r, top.budget);
    if (!read_ids(r, top.steps))
        return;
    for (uint32_t i = 0; i < t->nsteps && !r->full && !t->arena.failed; i++)
        read_step(r, i);
    if (top.result)
        t->result = template_compile(r, top.result, VIEW_NO_STEP, VIEW_ALL);
    if (!r->full && !t->arena.failed)
        graph_make(r);
}

/* ---- from text to task ---- */

static int bad_form(const struct json_fault *fault, struct faults *faults, struct error *err)
{
    if (fault->code == MOAT_E_BAD_JSON)
        return error_set(err, MOAT_E_BAD_JSON, "the task is not JSON: %s at byte %zu", fault->reason, fault->offset);
    faults_add(faults, fault->code == MOAT_E_LIMIT ? FAULT_SIZE : FAULT_FORM, fault->pointer, "%s", fault->reason);
    return faults_error(faults, err);
}

static int copy_text(struct task *t, const void *text, size_t len, struct faults *faults, struct error *err)
{
    struct json_fault fault;
    pthread_once(&shape_once, prepare);
    t->text = len <= TASK_TEXT_MAX ? malloc(len + JSON_PAD) : NULL;
    if (len > TASK_TEXT_MAX)
        return error_set(err, MOAT_E_TOO_LARGE, "the task has %zu bytes; at most %u are taken", len, TASK_TEXT_MAX);
    if (!t->text || !shape)
        return error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory for the task");
    memset(t->text + len, 0, JSON_PAD);
    t->len = len;
    return json_schema_copy_check(shape, t->text, text, len, &fault) ? bad_form(&fault, faults, err) : 0;
}

static int read_task(struct task *t, struct faults *faults, struct error *err)
{
    struct reading r = {.task = t, .faults = faults, .seed = ids_seed};
    read_all(&r);
    free(r.members);
    free(r.slots);
    free(r.edges);
    if (faults->count || faults->more)
        return faults_error(faults, err);
    return t->arena.failed ? error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory for the task") : 0;
}

int task_read(const void *text, size_t len, struct task **out, struct faults *faults, struct error *err)
{
    struct faults unseen = {0};
    struct faults *f = faults ? faults : &unseen;
    struct task *t = calloc(1, sizeof *t);
    if (!t)
        return error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory for the task");
    t->refs = 1;
    int rc = copy_text(t, text, len, f, err);
    if (rc == 0)
        rc = read_task(t, f, err);
    faults_free(&unseen);
    if (rc < 0)
        task_unref(t);
    else
        *out = t;
    return rc;
}

struct task *task_ref(struct task *t)
{
    atomic_fetch_add_explicit(&t->refs, 1, memory_order_relaxed);
    return t;
}

void task_unref(struct task *t)
{
    if (!t || atomic_fetch_sub_explicit(&t->refs, 1, memory_order_acq_rel) > 1)
        return;
    arena_free(&t->arena);
    free(t->text);
    free(t);
}

int64_t task_step_of(const struct task *t, const char *id)
{
    for (uint32_t i = 0; i < t->nsteps; i++)
        if (strcmp(t->steps[i].id, id) == 0)
            return i;
    return -1;
}

void task_pointer(const struct task *t, const uint8_t *at, char out[JSON_POINTER_MAX])
{
    *out = '\0';
    if (at >= t->text && at < t->text + t->len)
        cursor_pointer(t->text, at, out, JSON_POINTER_MAX);
}
