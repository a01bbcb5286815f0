/* The orchestrator from C, in both ways.
 *
 *     orchestrate HOME     with data_processor installed in HOME
 *
 * First Moat runs a whole task: its own orchestrator. Then an orchestrator that exists already goes step by step: it
 * keeps the graph, the order and the decisions, asks Moat which plugin fits a step, and has Moat run that one call. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <moat/moat.h>

static const char task[] =
    "{\"task\":1,\"input\":[3,14,15,92,65],\"steps\":["
    "{\"id\":\"large\",\"capability\":\"data_processing\",\"action\":\"filter\",\"parameters\":"
    "{\"data\":{\"$from\":\"/input\"},\"condition\":\"greater\",\"value\":10}},"
    "{\"id\":\"mean\",\"capability\":\"data_processing\",\"action\":\"aggregate\",\"parameters\":"
    "{\"data\":{\"$from\":\"/steps/large/result\"},\"operation\":\"avg\"}}],"
    "\"result\":{\"mean\":{\"$from\":\"/steps/mean/result\"}}}";

static int failed(const char *what, const struct moat_error *error)
{
    fprintf(stderr, "%s: %s\n", what, error->message);
    return 1;
}

/* What stands behind "NAME": in a document of Moat's, up to its end; enough for this page, no JSON reader. */
static void print_member(const char *title, const char *json, const char *name)
{
    const char *at = strstr(json, name);
    int depth = 0;
    if (!at)
        return;
    printf("%s: ", title);
    for (at += strlen(name); *at && (depth || (*at != ',' && *at != '}')); at++) {
        depth += (*at == '{' || *at == '[') - (*at == '}' || *at == ']');
        putchar(*at);
    }
    putchar('\n');
}

/* On a thread of Moat's, while the task runs. */
static void tell(struct moat_task_data *t, const char *event, const char *json)
{
    if (strcmp(event, "step_ended") == 0)
        print_member("ended", json, "\"id\":");
}

static int whole(struct moat *m)
{
    struct moat_task_data t = {.size = sizeof t, .task = task, .on_event = tell};
    if (moat_orchestrator_execute(m, &t))
        return failed("task", &t.error);
    print_member("status", t.json, "\"status\":");
    print_member("result", t.json, "\"result\":");
    moat_free(t.json);
    return 0;
}

/* One step of somebody else's graph: the plugin that Moat would choose, and its call. The result is the caller's. */
static char *step(struct moat *m, const char *action, const char *parameters)
{
    char request[200], plugin[64] = "", *chosen;
    struct moat_error error;
    snprintf(request, sizeof request, "{\"capability\":\"data_processing\",\"action\":\"%s\"}", action);
    if (moat_orchestrator_select(m, request, &chosen, &error)) {
        failed("select", &error);
        return NULL;
    }
    bool found = sscanf(chosen, "{\"plugin\":\"%63[a-z0-9_]\"", plugin) == 1;
    moat_free(chosen);
    struct moat_call_data call = {.size = sizeof call, .plugin = plugin, .action = action, .parameters = parameters};
    if (!found || moat_call(m, &call)) {
        fprintf(stderr, "step %s: %s\n", action, found ? call.error.message : "no plugin can run it");
        return NULL;
    }
    printf("%s by %s: %s\n", action, plugin, call.result);
    return call.result;
}

static int by_step(struct moat *m)
{
    char parameters[300];
    char *large = step(m, "filter", "{\"data\":[3,14,15,92,65],\"condition\":\"greater\",\"value\":10}");
    if (!large)
        return 1;
    snprintf(parameters, sizeof parameters, "{\"data\":%s,\"operation\":\"avg\"}", large);
    moat_free(large);
    char *mean = step(m, "aggregate", parameters);
    moat_free(mean);
    return mean ? 0 : 1;
}

int main(int argc, char **argv)
{
    struct moat *m;
    struct moat_error error;
    struct moat_options options = {.size = sizeof options, .home = argc > 1 ? argv[1] : NULL};
    if (moat_open(&options, &m, &error))
        return failed("open", &error);
    int status = whole(m);
    if (status == 0)
        status = by_step(m);
    char *stats;
    if (status == 0 && moat_orchestrator_stats(m, &stats, &error) == MOAT_E_OK) {
        print_member("success rate", stats, "\"success_rate\":");
        moat_free(stats);
    }
    moat_close(m);
    return status;
}
