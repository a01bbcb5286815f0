/* monitor: how plugins do of late, and what has become worse. */
#include <string.h>

#include "cli/show.h"

static void show_anomaly(const json_t *a)
{
    const char *kind = json_string_value(json_object_get(a, "kind"));
    bool on = json_is_true(json_object_get(a, "on"));
    fputs(on ? "WORSE: " : "was worse: ", stdout);
    show_text(stdout, json_string_value(json_object_get(a, "plugin")));
    putchar(' ');
    show_text(stdout, json_string_value(json_object_get(a, "action")));
    printf(", %s, since ", kind ? kind : "");
    show_text(stdout, json_string_value(json_object_get(a, "since")));
    if (!on) {
        fputs(" until ", stdout);
        show_text(stdout, json_string_value(json_object_get(a, "until")));
    }
    fputs(": ", stdout);
    show_text(stdout, json_string_value(json_object_get(a, "why")));
    putchar('\n');
}

/* Milliseconds, beside the nanoseconds that the document has. */
static void add_ms(json_t *entry)
{
    const json_t *latency = json_object_get(json_object_get(entry, "minute"), "latency");
    char text[32];
    for (int i = 0; i < 2; i++) {
        const char *const keys[] = {"p50_ns", "p99_ns"}, *const shown[] = {"p50", "p99"};
        double ns = json_number_value(json_object_get(latency, keys[i]));
        snprintf(text, sizeof text, "%.3g ms", ns / 1e6);
        json_object_set_new(entry, shown[i], ns > 0 ? json_string(text) : json_null());
    }
}

static void show_monitor(struct cli *c, const json_t *result)
{
    static const struct column columns[] = {{"PLUGIN", "plugin", false},
                                            {"ACTION", "action", false},
                                            {"SOURCE", "source", false},
                                            {"MINUTE", "minute.calls", true},
                                            {"FAILED", "minute.failed", true},
                                            {"P50", "p50", true},
                                            {"P99", "p99", true},
                                            {"HOUR", "hour.calls", true},
                                            {"FAILED", "hour.failed", true}};
    json_t *entries = json_deep_copy(json_object_get(result, "entries"));
    (void)c;
    for (size_t i = 0; i < json_array_size(entries); i++)
        add_ms(json_array_get(entries, i));
    show_table(entries, columns, sizeof columns / sizeof *columns, "Nothing was called in the last hour.");
    for (size_t i = 0; i < json_array_size(entries); i++) {
        const json_t *anomalies = json_object_get(json_array_get(entries, i), "anomalies");
        for (size_t k = 0; k < json_array_size(anomalies); k++)
            show_anomaly(json_array_get(anomalies, k));
    }
    json_decref(entries);
}

int run_monitor(struct cli *c)
{
    struct ask a;
    ask_init(&a, "GET", "/api/monitor");
    ask_query(&a, "plugin", c->nargs ? c->args[0] : NULL);
    return ask_and_show(c, &a, show_monitor);
}
