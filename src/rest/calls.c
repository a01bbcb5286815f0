/* What runs and what ran, and an end to what runs. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"
#include "rest/request.h"

#define LIMIT_DEFAULT 100
#define LIST_MAX (32u << 20)

static void put_record(struct buf *out, const struct run_record *r)
{
    char began[CLOCK_RFC3339_MAX];
    clock_rfc3339(r->began_ns, began);
    if (out->data[out->len - 1] != '[')
        buf_putc(out, ',');
    /* Names here are the client's words as well: the call may have failed for them. */
    buf_printf(out, "{\"id\":\"%s\",\"plugin\":", r->id);
    text_json_string(out, r->plugin);
    buf_puts(out, ",\"action\":");
    text_json_string(out, r->action);
    buf_printf(out, ",\"began\":\"%s\",\"token\":", began);
    if (r->token)
        buf_printf(out, "%lld", (long long)r->token);
    else
        buf_puts(out, "null");
    buf_printf(out, ",\"bytes_in\":%llu", (unsigned long long)r->bytes_in);
}

static void put_running(void *out, const struct run_record *r)
{
    put_record(out, r);
    buf_putc(out, '}');
}

static void put_ended(void *out, const struct run_record *r)
{
    put_record(out, r);
    buf_printf(out,
               ",\"code\":\"%s\",\"version\":\"%s\",\"queued_ns\":%llu,\"ran_ns\":%llu,\"cpu_ns\":%llu,"
               "\"bytes_out\":%llu}",
               error_info(r->code)->name, r->version, (unsigned long long)r->queued_ns, (unsigned long long)r->ran_ns,
               (unsigned long long)r->cpu_ns, (unsigned long long)r->bytes_out);
}

void handle_calls(struct rest_request *q)
{
    const char *limit = request_query(q, "limit");
    struct run_filter filter = {.plugin = request_query(q, "plugin"), .limit = RUNS_RECEIPTS};
    buf_auto out = BUF_INIT(LIST_MAX);
    buf_puts(&out, "{\"running\":[");
    runs_each_running(q->rest->runs, &filter, put_running, &out);
    filter.limit = limit ? strtoul(limit, NULL, 10) : LIMIT_DEFAULT;
    buf_puts(&out, "],\"ended\":[");
    runs_each_ended(q->rest->runs, &filter, put_ended, &out);
    buf_puts(&out, "]}");
    struct error err = {.code = MOAT_E_OUT_OF_MEMORY, .message = "no memory for the list"};
    request_complete(q, out.failed ? &err : NULL, &out);
}

void handle_cancel(struct rest_request *q)
{
    buf_auto out = BUF_INIT(256);
    if (!runs_cancel(q->rest->runs, q->params[0])) {
        request_fail(q, MOAT_E_NOT_FOUND, "no call %.40s runs: `moat calls` lists those that do", q->params[0]);
        return;
    }
    buf_printf(&out, "{\"id\":\"%s\",\"cancelled\":true}", q->params[0]);
    request_complete(q, NULL, &out);
}
