/* Commands over tasks: run one or check it, and see those of before. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/file.h"
#include "cli/progress.h"

#define TASK_MAX (1u << 30) /* the host's own limit is smaller and answers */

/* A file, or standard input. */
static int take_task(struct cli *c, struct ask *a, struct buf *input)
{
    struct error err;
    bool from_input = strcmp(c->args[0], "-") == 0;
    int rc = from_input ? file_read_stdin(input, &err) : file_as_body(a, c->args[0], &err);
    a->content_type = "application/json";
    if (rc == 0 && from_input) {
        a->body = buf_text(input);
        a->len = input->len;
    }
    if (rc == 0)
        return 0;
    ask_free(a);
    return cli_fail(c, &err);
}

/* What a file's task is sent for, and how it is told whether that went well. */
struct errand {
    const char *path, *member, *wanted; /* the answer's member is this text, or true */
    bool runs;                          /* it has events */
    void (*show)(const json_t *document);
    enum moat_code otherwise;
};

static int finish(struct cli *c, const struct errand *e, struct reply *reply, bool *good)
{
    json_t *document = json_loadb(reply->result, reply->len, JSON_DECODE_ANY, NULL);
    if (!document)
        return cli_failf(c, MOAT_E_INTERNAL, "the result cannot be read");
    const json_t *value = json_object_get(document, e->member);
    *good = e->wanted ? json_is_string(value) && strcmp(json_string_value(value), e->wanted) == 0 : json_is_true(value);
    if (cli_has(c, OPT_JSON))
        reply_print(reply);
    else
        e->show(document);
    json_decref(document);
    return cli_done(c);
}

/* ---- its progress, on a terminal ---- */

struct watched {
    struct progress progress;
    struct buf document; /* of its last event */
    bool failed;
};

static void take_event(void *context, const struct event *e)
{
    struct watched *w = context;
    w->failed = strcmp(e->name, "error") == 0;
    if (w->failed || strcmp(e->name, "result") == 0)
        buf_put(&w->document, e->data, e->len);
    else
        progress_show(&w->progress, e);
}

static int answer_of(struct cli *c, struct watched *w, struct reply *reply)
{
    const char *document = buf_text(&w->document);
    if (w->failed)
        return cli_fail_document(c, document, w->document.len);
    reply_free(reply); /* the stream's room */
    reply->document = w->document;
    w->document = BUF_INIT(TASK_MAX);
    return rest_unwrap(document, reply->document.len, &reply->result, &reply->len)
               ? 0
               : cli_failf(c, MOAT_E_NO_ANSWER, "the answer ended before the task did");
}

static int ask_watched(struct cli *c, struct ask *a, struct reply *reply)
{
    struct watched w = {.document = BUF_INIT(TASK_MAX)};
    struct events events;
    events_init(&events, take_event, &w);
    a->stream = events_stream;
    a->context = &events;
    int rc = ask_events(c, a, reply);
    progress_clear(&w.progress);
    if (rc == 0 && !reply->result)
        rc = answer_of(c, &w, reply);
    events_free(&events);
    buf_free(&w.document);
    return rc;
}

static int send_task(struct cli *c, const struct errand *e)
{
    struct ask a;
    struct reply reply;
    bool good = true;
    buf_auto input = BUF_INIT(TASK_MAX);
    ask_init(&a, "POST", e->path);
    ask_query(&a, "explain", cli_has(c, OPT_EXPLAIN) ? "true" : NULL);
    int rc = take_task(c, &a, &input);
    if (rc)
        return rc;
    bool watched = e->runs && !cli_has(c, OPT_JSON) && isatty(STDERR_FILENO);
    rc = (watched ? ask_watched : ask_route)(c, &a, &reply);
    if (rc == 0)
        rc = finish(c, e, &reply, &good);
    reply_free(&reply);
    return rc || good ? rc : error_info(e->otherwise)->exit;
}

/* ---- run ---- */

static void show_choice(const json_t *choice)
{
    for (size_t i = 0; i < json_array_size(choice); i++) {
        const json_t *one = json_array_get(choice, i);
        char *plugin = show_value(one, "plugin"), *version = show_value(one, "version"), *why = show_value(one, "why");
        fprintf(stderr, "    %s ", json_is_true(json_object_get(one, "chosen")) ? "chosen:" : "      -");
        show_text(stderr, plugin ? plugin : "-");
        fputc(' ', stderr);
        show_text(stderr, version ? version : "-");
        fprintf(stderr, ", score %.3f: ", json_number_value(json_object_get(one, "score")));
        show_text(stderr, why ? why : "-");
        fputc('\n', stderr);
        free(plugin);
        free(version);
        free(why);
    }
}

static void show_step(const json_t *step)
{
    static const char *const paths[] = {"outcome", "id", "plugin", "error.message"};
    for (size_t i = 0; i < 4; i++) {
        char *text = show_value(step, paths[i]);
        if (text && strcmp(text, "-") != 0) {
            fprintf(stderr, "%s", i == 0 ? "  " : i == 3 ? ": " : " ");
            show_text(stderr, text);
        }
        free(text);
    }
    fputc('\n', stderr);
    show_choice(json_object_get(step, "choice"));
}

/* The steps for people, the result alone on standard output. */
static void show_run(const json_t *document)
{
    const json_t *steps = json_object_get(document, "steps"), *result = json_object_get(document, "result");
    char *id = show_value(document, "id"), *status = show_value(document, "status"),
         *message = show_value(document, "error.message");
    fprintf(stderr, "Task %s %s%s", id ? id : "-", status ? status : "-",
            message && strcmp(message, "-") != 0 ? ": " : "\n");
    if (message && strcmp(message, "-") != 0) {
        show_text(stderr, message);
        fputc('\n', stderr);
    }
    for (size_t i = 0; i < json_array_size(steps); i++)
        show_step(json_array_get(steps, i));
    if (result)
        json_dumpf(result, stdout, JSON_ENCODE_ANY | JSON_COMPACT);
    if (result)
        putchar('\n');
    free(id);
    free(status);
    free(message);
}

int run_task_run(struct cli *c)
{
    static const struct errand run = {"/api/tasks", "status", "succeeded", true, show_run, MOAT_E_ACTION_FAILED};
    return send_task(c, &run);
}

/* ---- check ---- */

static void show_findings_of(const json_t *document)
{
    const json_t *findings = json_object_get(document, "findings");
    if (json_is_true(json_object_get(document, "valid")))
        puts("The task can run.");
    for (size_t i = 0; i < json_array_size(findings); i++) {
        const json_t *one = json_array_get(findings, i);
        char *pointer = show_value(one, "pointer"), *message = show_value(one, "message");
        show_text(stdout, pointer && strcmp(pointer, "-") != 0 ? pointer : "the task");
        fputs(": ", stdout);
        show_text(stdout, message ? message : "-");
        putchar('\n');
        free(pointer);
        free(message);
    }
}

int run_task_check(struct cli *c)
{
    static const struct errand check = {"/api/tasks/check", "valid", NULL, false, show_findings_of, MOAT_E_BAD_TASK};
    return send_task(c, &check);
}

/* ---- those of before ---- */

static void show_list_of(struct cli *c, const json_t *result)
{
    static const struct column columns[] = {{"TASK", "id", false},
                                            {"NAME", "name", false},
                                            {"STATUS", "status", false},
                                            {"BEGAN", "began", false},
                                            {"ENDED", "ended", false}};
    show_table(show_list(result, "tasks"), columns, 5, "no task");
}

int run_task_list(struct cli *c)
{
    struct ask a;
    ask_init(&a, "GET", "/api/tasks");
    ask_query(&a, "status", c->option[OPT_STATUS]);
    ask_query(&a, "limit", c->option[OPT_LIMIT]);
    ask_query(&a, "after", c->option[OPT_AFTER]);
    return ask_and_show(c, &a, show_list_of);
}

static void show_one(struct cli *c, const json_t *result)
{
    show_run(result);
}

/* ---- following one ---- */

struct followed {
    bool json, ended, any; /* any: something new came over this connection */
    char last[64];         /* the id of what came last */
};

static void print_event(void *context, const struct event *e)
{
    struct followed *f = context;
    if (f->json)
        printf("{\"event\":\"%s\",\"data\":%s}\n", e->name, e->data);
    else
        progress_print(e);
    fflush(stdout);
    f->any = true;
    f->ended = strcmp(e->name, "task_ended") == 0;
    if (*e->id)
        snprintf(f->last, sizeof f->last, "%s", e->id);
}

static int follow_once(struct cli *c, struct followed *f)
{
    struct ask a;
    struct reply reply;
    struct events events;
    ask_init(&a, "GET", "/api/tasks");
    ask_segment(&a, c->args[0]);
    buf_puts(&a.target, "/events");
    ask_query(&a, "after", *f->last ? f->last : NULL);
    events_init(&events, print_event, f);
    a.stream = events_stream;
    a.context = &events;
    int rc = ask_events(c, &a, &reply);
    reply_free(&reply);
    events_free(&events);
    return rc;
}

/* Who was too slow is cut off, and goes on from where it was. */
static int follow(struct cli *c)
{
    struct followed f = {.json = cli_has(c, OPT_JSON), .any = true};
    int rc = 0;
    while (rc == 0 && !f.ended && f.any) {
        f.any = false;
        rc = follow_once(c, &f);
    }
    if (rc == 0 && !f.ended)
        rc = cli_failf(c, MOAT_E_NO_ANSWER, "the events ended before the task did");
    return rc ? rc : cli_done(c);
}

int run_task_show(struct cli *c)
{
    struct ask a;
    if (cli_has(c, OPT_FOLLOW))
        return follow(c);
    ask_init(&a, "GET", "/api/tasks");
    ask_segment(&a, c->args[0]);
    return ask_and_show(c, &a, show_one);
}

static void show_cancelled(struct cli *c, const json_t *result)
{
    printf("Task %s is cancelled.\n", c->args[0]);
}

int run_task_cancel(struct cli *c)
{
    struct ask a;
    ask_init(&a, "DELETE", "/api/tasks");
    ask_segment(&a, c->args[0]);
    return ask_and_show(c, &a, show_cancelled);
}
