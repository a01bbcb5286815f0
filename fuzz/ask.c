/* What a hostile worker asks, against the broker: any service and any bytes, with rights that the first byte picks.
 * Everything is answered exactly once, and nothing is allowed that was not granted. */
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/text.h"
#include "broker/broker.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct asking {
    struct question ask;
    const char *granted; /* the one plugin that may be called; NULL: all, "": none */
    bool facts;
    const char *readable, *writable; /* the one source; NULL: all, "": none */
    unsigned answers;
};

static void must(bool holds)
{
    if (!holds)
        abort();
}

static struct asking *once(struct question *ask)
{
    struct asking *a = (struct asking *)(void *)ask;
    must(++a->answers == 1);
    return a;
}

static bool may(const char *source, const char *object)
{
    return !source || strcmp(source, object) == 0;
}

static bool on_stop(struct question *ask, void (*stop)(struct question *ask))
{
    (void)ask;
    return stop != NULL;
}

static void done(struct question *ask, const void *bytes, size_t len)
{
    must(once(ask)->facts && ask->service == ASK_FACT && bytes && len);
}

static void refuse(struct question *ask, const struct error *error)
{
    once(ask);
    must(error->code != MOAT_E_OK && error->code != MOAT_E_PERMISSION_DENIED && *error->message);
}

static void deny(struct question *ask, int permission, const char *operation, const char *object,
                 const struct error *error)
{
    const struct asking *a = once(ask);
    must(error->code == MOAT_E_PERMISSION_DENIED && *operation && strlen(object) < POLICY_SCOPE_MAX);
    static const int permissions[ASK_SERVICES] = {
        [ASK_CALL] = PERMISSION_AGENT_CONTROL,       [ASK_SQL_READ] = PERMISSION_DATABASE_READ,
        [ASK_SQL_WRITE] = PERMISSION_DATABASE_WRITE, [ASK_FACT] = PERMISSION_SYSTEM_ACCESS,
        [ASK_CONNECT] = PERMISSION_NETWORK_ACCESS,   [ASK_TASK] = PERMISSION_AGENT_CONTROL};
    must(ask->service < ASK_SERVICES && permission == permissions[ask->service]);
    switch (ask->service) {
    case ASK_FACT:
        must(!a->facts);
        break;
    case ASK_CALL:
        must(a->granted != NULL);
        break;
    case ASK_TASK:
        must(a->granted && !*a->granted); /* which plugins it calls is asked later */
        break;
    case ASK_SQL_READ:
        must(!may(a->readable, object) && !may(a->writable, object));
        break;
    case ASK_SQL_WRITE:
        must(!may(a->writable, object));
        break;
    default: /* nobody here has the network */
        break;
    }
}

/* The host's part: it is handed nothing that was not granted. */
static void open_source(void *context, struct question *ask, const char *source, bool write)
{
    const struct asking *a = once(ask);
    (void)context;
    must(text_is_name(source, 64) && strcmp(source, (const char *)ask->bytes) == 0);
    must(write ? may(a->writable, source) : may(a->readable, source));
}

static void run_task(void *context, struct question *ask)
{
    const struct asking *a = once(ask);
    (void)context;
    must(ask->service == ASK_TASK && (!a->granted || *a->granted));
}

static void call(struct question *ask, const char *plugin, const char *action, const void *parameters, size_t len)
{
    const struct asking *a = once(ask);
    const uint8_t *from = parameters;
    must(ask->service == ASK_CALL && text_is_name(plugin, 30) && text_is_name(action, 32));
    must(!a->granted || strcmp(a->granted, plugin) == 0);
    must(from >= ask->bytes && from + len == ask->bytes + ask->len);
}

static uint64_t now(void *context)
{
    (void)context;
    return 1000;
}

static const struct ask_answers answers = {
    .on_stop = on_stop, .done = done, .refuse = refuse, .deny = deny, .call = call};

static void set(struct broker *b, const char *plugin, const char *const *grants)
{
    static struct policy_answer answer;
    struct decision decisions[4];
    struct ask asks[] = {{PERMISSION_AGENT_CONTROL, false},
                         {PERMISSION_SYSTEM_ACCESS, false},
                         {PERMISSION_DATABASE_READ, false},
                         {PERMISSION_DATABASE_WRITE, false}};
    struct policy_input in = {.asks = asks, .nasks = 4, .decisions = decisions, .now = 1000};
    for (; grants[in.ndecisions]; in.ndecisions++) {
        decisions[in.ndecisions] = (struct decision){0};
        must(grant_parse(grants[in.ndecisions], &decisions[in.ndecisions].grant, NULL) == 0);
    }
    policy_decide(&in, &answer);
    broker_set(b, plugin, "1.0.0", &answer);
}

static struct broker *broker(void)
{
    static struct broker *b;
    if (b)
        return b;
    must(broker_new(&(struct broker_config){.now = now, .open_source = open_source, .run_task = run_task}, &b, NULL) ==
         0);
    set(b, "all", (const char *const[]){"agent_control", "system_access", "database_write", NULL});
    set(b, "one", (const char *const[]){"agent_control=other", "database_read=shop", "database_write=own", NULL});
    set(b, "none", (const char *const[]){NULL});
    return b;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct asking rights[] = {
        {.ask.plugin = "all", .facts = true, .readable = ""},
        {.ask.plugin = "one", .granted = "other", .readable = "shop", .writable = "own"},
        {.ask.plugin = "none", .granted = "", .readable = "", .writable = ""},
        {.ask.plugin = "stranger", .granted = "", .readable = "", .writable = ""}};
    if (size < 2)
        return 0;
    struct asking a = rights[data[0] % 4];
    size_t len = size - 2;
    uint8_t *bytes = malloc(len + BUF_PAD);
    must(bytes != NULL);
    memcpy(bytes, data + 2, len);
    bytes[len] = 0;
    a.ask.to = &answers;
    a.ask.service = data[1];
    a.ask.bytes = bytes;
    a.ask.len = len;
    a.ask.version = "1.0.0";
    a.ask.action = "act";
    a.ask.call_id = "";
    struct error err;
    broker_ask(broker(), &a.ask);
    must(a.answers == 1);
    broker_still(broker(), &a.ask, &err);
    free(bytes);
    return 0;
}
