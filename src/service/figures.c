#include "service/figures.h"

#include <math.h>
#include <string.h>

#include "service/tell.h"

void tell_spread(struct buf *out, const char *key, const struct histogram *h)
{
    static const struct {
        const char *key;
        double q;
    } rows[] = {{"p50_ns", 0.5}, {"p90_ns", 0.9}, {"p99_ns", 0.99}, {"p999_ns", 0.999}};
    tell_open(out, key, '{');
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        tell_number(out, rows[i].key, histogram_quantile(h, rows[i].q));
    tell_number(out, "mean_ns", h->count ? h->sum / h->count : 0);
    tell_close(out, '}');
}

void tell_success_rate(struct buf *out, uint64_t executions, uint64_t failed)
{
    uint64_t good = executions > failed ? executions - failed : 0;
    tell_real(out, "success_rate", executions ? (double)good / (double)executions : NAN);
}

void tell_error_codes(struct buf *out, const char *key, const uint64_t by_code[MOAT_E_COUNT])
{
    tell_open(out, key, '{');
    for (int i = 1; i < MOAT_E_COUNT; i++)
        if (by_code[i])
            tell_number(out, error_info(i)->name, by_code[i]);
    tell_close(out, '}');
}

static void tell_members(struct buf *out, const struct loader_figure *f)
{
    tell_number(out, "execution_count", f->executions);
    tell_number(out, "error_count", f->errors);
    tell_error_codes(out, "errors", f->errors_by_code);
    tell_success_rate(out, f->executions, f->failed);
    tell_time(out, "last_executed", f->last_ns);
    tell_number(out, "bytes_in", f->bytes_in);
    tell_number(out, "bytes_out", f->bytes_out);
    tell_number(out, "cpu_ns", f->cpu_ns);
    tell_spread(out, "latency", &f->runs);
    tell_spread(out, "queue_wait", &f->waits);
}

void tell_generations(struct buf *out, const char *key, const struct loader_figures *f)
{
    tell_open(out, key, '[');
    for (size_t i = 0; f && i < f->ngenerations; i++) {
        const struct loader_generation *g = &f->generations[i];
        tell_open(out, NULL, '{');
        tell_text(out, "version", g->version);
        tell_number(out, "number", g->number);
        tell_time(out, "since", g->since_ns);
        tell_time(out, "until", g->until_ns);
        tell_number(out, "workers", g->workers);
        tell_number(out, "crashes", g->crashes);
        tell_number(out, "peak_memory", g->peak_memory);
        tell_members(out, &g->figure);
        tell_close(out, '}');
    }
    tell_close(out, ']');
}

void tell_action_figure(struct buf *out, const char *key, const struct loader_figures *f, const char *action)
{
    static const struct loader_figure nothing;
    const struct loader_figure *found = &nothing;
    for (size_t i = 0; f && i < f->nactions; i++)
        if (strcmp(f->actions[i].name, action) == 0)
            found = &f->actions[i].figure;
    tell_open(out, key, '{');
    tell_members(out, found);
    tell_close(out, '}');
}
