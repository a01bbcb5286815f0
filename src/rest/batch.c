/* POST /api/calls: many calls in one request, begun in their order, answered in it, each with its outcome.  One that
 * fails takes no other with it.  The parameters are the very bytes that the client sent: cut out of the body, not
 * parsed and written again. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"
#include "rest/request.h"
#include "json/cursor.h"
#include "json/json.h"

#define MEMBERS_MAX 4096       /* of one call, its parameters not counted */
#define ANSWER_MAX (64u << 20) /* of all results together; what goes beyond is told in its place */

struct item {
    struct run run;
    struct batch *batch;
    char plugin[MANIFEST_NAME_MAX + 2], action[MANIFEST_ACTION_MAX + 2], key[RUN_KEY_MAX + 1];
    bool refused, ended;
};

struct batch {
    struct rest_request *q;
    size_t count, left;
    uint64_t bytes;
    struct item items[];
};

void batch_free(struct batch *b)
{
    if (!b)
        return;
    for (size_t i = 0; i < b->count; i++)
        free(b->items[i].run.call.result);
    free(b);
}

/* ---- the answer ---- */

static void put_one(struct rest_request *q, struct buf *out, struct item *i)
{
    const struct call *c = &i->run.call;
    char receipt[512];
    if (c->code) {
        request_put_failure(q, out, &c->error, c->id, i->plugin, i->action);
    } else {
        buf_puts(out, "{\"success\":true,\"result\":");
        buf_put(out, c->result, c->result_len);
        buf_putc(out, '}');
    }
    if (i->refused || out->failed)
        return;
    request_receipt(receipt, c);
    out->len--; /* the brace: one member more */
    buf_printf(out, ",\"receipt\":%s}", receipt);
}

static void answer(struct batch *b)
{
    struct rest_request *q = b->q;
    buf_auto out = BUF_INIT(ANSWER_MAX * 2ull);
    buf_putc(&out, '[');
    for (size_t i = 0; i < b->count; i++) {
        if (i)
            buf_putc(&out, ',');
        put_one(q, &out, &b->items[i]);
    }
    buf_putc(&out, ']');
    struct error err;
    if (out.failed)
        error_set(&err, MOAT_E_OUT_OF_MEMORY, "no memory for the answers");
    request_complete(q, out.failed ? &err : NULL, &out);
}

static void one_ended(struct batch *b)
{
    if (--b->left)
        return;
    struct rest_request *q = b->q;
    q->calling = false;
    if (q->abandoned)
        request_free(q);
    else
        answer(b);
}

static void run_done(struct run *run)
{
    struct item *i = run->context;
    struct batch *b = i->batch;
    struct call *c = &run->call;
    i->ended = true;
    b->bytes += c->result_len;
    if (!c->code && b->bytes > ANSWER_MAX) {
        free(c->result);
        c->result = NULL;
        b->bytes -= c->result_len;
        c->result_len = 0;
        c->code = error_set(&c->error, MOAT_E_LIMIT,
                            "it was run, but the batch's results have more than %u bytes together", ANSWER_MAX);
    }
    one_ended(b);
}

/* ---- what came ---- */

static int take_text(const json_t *o, const char *name, char *out, size_t size, struct error *err)
{
    const char *text = json_string_value(json_object_get(o, name));
    if (text_copy(out, size, text ? text : ""))
        return 0;
    return error_set(err, MOAT_E_BAD_REQUEST, "`%s` is longer than any", name);
}

/* The members but `parameters`, whose bytes may hold numbers that no tree can. */
static bool put_members(const uint8_t *object, struct buf *out)
{
    struct cursor_member m;
    unsigned parameters = 0, kept = 0;
    const uint8_t *at = object;
    if (cursor_kind(object) != CURSOR_OBJECT)
        return buf_put(out, object, cursor_length(object));
    buf_putc(out, '{');
    while (cursor_next_member(&at, &m)) {
        if (cursor_text_is(m.name, "parameters")) {
            parameters++;
            continue;
        }
        if (kept++)
            buf_putc(out, ',');
        buf_put(out, m.name, cursor_length(m.name));
        buf_putc(out, ':');
        buf_put(out, m.value, cursor_length(m.value));
    }
    return buf_putc(out, '}') && parameters < 2;
}

static int read_members(const struct rest_request *q, const uint8_t *object, json_t **out, struct error *err)
{
    buf_auto text = BUF_INIT(MEMBERS_MAX);
    if (!put_members(object, &text))
        return error_set(err, MOAT_E_BAD_REQUEST, "it is not an object of a few short members");
    return route_read_fields(q->route->fields, text.data, text.len, out, err);
}

static int take_item(struct rest_request *q, struct item *i, const uint8_t *raw, struct error *err)
{
    struct call *c = &i->run.call;
    json_t *o = NULL;
    int rc = read_members(q, raw, &o, err);
    const char *deadline = rc ? NULL : json_string_value(json_object_get(o, "deadline"));
    rc = rc ? rc : take_text(o, "plugin", i->plugin, sizeof i->plugin, err);
    rc = rc ? rc : take_text(o, "action", i->action, sizeof i->action, err);
    rc = rc ? rc : take_text(o, "idempotency_key", i->key, sizeof i->key, err);
    if (rc == 0 && json_object_get(o, "idempotency_key") && !request_is_key(i->key))
        rc = error_set(err, MOAT_E_BAD_REQUEST, "`idempotency_key` is not 1 to %d printable ASCII characters",
                       RUN_KEY_MAX);
    c->deadline_ns = q->deadline_ns;
    if (rc == 0 && deadline && (!clock_parse_span(deadline, &c->deadline_ns) || !c->deadline_ns))
        rc = error_set(err, MOAT_E_BAD_REQUEST, "`deadline` is not " CLOCK_SPAN_FORM " 250ms, 90s or 10m");
    json_decref(o);
    if (rc == 0 && !request_may_execute(q, i->plugin))
        rc = request_lacks("execute", i->plugin, err);
    c->parameters = "{}";
    c->parameters_len = 2;
    const uint8_t *parameters = cursor_get(raw, "parameters");
    if (parameters) {
        c->parameters = parameters;
        c->parameters_len = cursor_length(parameters);
    }
    return rc;
}

static void begin_item(struct rest_request *q, struct item *i)
{
    struct run *run = &i->run;
    run->call.plugin = i->plugin;
    run->call.action = i->action;
    memcpy(run->call.traceparent, q->traceparent, sizeof run->call.traceparent);
    run->token = q->token;
    run->key = *i->key ? i->key : NULL;
    run->loop = q->loop;
    run->done = run_done;
    run->context = i;
    run_begin(q->rest->runs, run);
}

static int make(struct rest_request *q, struct batch **out, struct error *err)
{
    struct json_fault fault;
    if (!q->body.data || !json_explain(q->body.data, q->body.len, &fault))
        return error_set(err, MOAT_E_BAD_JSON, "the body is not JSON: %s",
                         q->body.data ? fault.reason : "there is none");
    size_t n = 0;
    const uint8_t *at = cursor_root(q->body.data), *item;
    if (cursor_kind(at) != CURSOR_ARRAY)
        return error_set(err, MOAT_E_BAD_REQUEST, "the body is not a JSON array of calls");
    while (cursor_next_item(&at, &item))
        n++;
    if (n > ROUTE_ITEMS_MAX)
        return error_set(err, MOAT_E_TOO_LARGE, "the body has %zu calls, %d are taken at once", n, ROUTE_ITEMS_MAX);
    struct batch *b = calloc(1, sizeof *b + n * sizeof *b->items);
    if (!b)
        return error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory for the calls");
    b->q = q;
    b->count = n;
    *out = b;
    return 0;
}

void handle_batch(struct rest_request *q)
{
    struct error err;
    struct batch *b = NULL;
    if (make(q, &b, &err) < 0) {
        request_fail_with(q, &err);
        return;
    }
    q->batch = b;
    q->calling = true;
    b->left = b->count + 1; /* one for this function: what ends at once does not end the batch */
    const uint8_t *at = cursor_root(q->body.data), *raw = NULL;
    for (size_t i = 0; i < b->count && cursor_next_item(&at, &raw); i++) {
        struct item *one = &b->items[i];
        one->batch = b;
        if (take_item(q, one, raw, &one->run.call.error) < 0) {
            one->refused = true;
            one->run.call.code = -(int)one->run.call.error.code;
            call_make_id(one->run.call.id);
            b->left--;
        } else {
            begin_item(q, one);
        }
    }
    one_ended(b);
}

void batch_leave(struct rest_request *q)
{
    struct batch *b = q->batch;
    b->left++; /* the batch stays until this is through */
    for (size_t i = 0; i < b->count; i++)
        if (!b->items[i].refused && !b->items[i].ended)
            run_leave(&b->items[i].run);
    one_ended(b);
}
