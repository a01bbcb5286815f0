#include "helper/sql_rules.h"

#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

struct sql_verdict sql_verdict;

static bool may_write;

enum need { NEVER, READ, WRITE, CHECK_PRAGMA, CHECK_FUNCTION, CHECK_MODULE };

static const struct {
    int action;
    const char *name;
    enum need need;
} rules[] = {
    {SQLITE_SELECT, "SELECT", READ},
    {SQLITE_READ, "SELECT", READ},
    {SQLITE_RECURSIVE, "SELECT", READ},
    {SQLITE_FUNCTION, "FUNCTION", CHECK_FUNCTION},
    {SQLITE_TRANSACTION, "BEGIN", READ},
    {SQLITE_SAVEPOINT, "SAVEPOINT", READ},
    {SQLITE_PRAGMA, "PRAGMA", CHECK_PRAGMA},
    {SQLITE_INSERT, "INSERT", WRITE},
    {SQLITE_UPDATE, "UPDATE", WRITE},
    {SQLITE_DELETE, "DELETE", WRITE},
    {SQLITE_CREATE_TABLE, "CREATE", WRITE},
    {SQLITE_CREATE_INDEX, "CREATE", WRITE},
    {SQLITE_CREATE_TRIGGER, "CREATE", WRITE},
    {SQLITE_CREATE_VIEW, "CREATE", WRITE},
    {SQLITE_DROP_TABLE, "DROP", WRITE},
    {SQLITE_DROP_INDEX, "DROP", WRITE},
    {SQLITE_DROP_TRIGGER, "DROP", WRITE},
    {SQLITE_DROP_VIEW, "DROP", WRITE},
    {SQLITE_ALTER_TABLE, "ALTER", WRITE},
    {SQLITE_REINDEX, "REINDEX", WRITE},
    {SQLITE_ANALYZE, "ANALYZE", WRITE},
    {SQLITE_CREATE_VTABLE, "CREATE", CHECK_MODULE},
    {SQLITE_DROP_VTABLE, "DROP", WRITE},
    {SQLITE_ATTACH, "ATTACH", NEVER},
    {SQLITE_DETACH, "DETACH", NEVER},
    {SQLITE_CREATE_TEMP_TABLE, "CREATE TEMP", NEVER},
    {SQLITE_CREATE_TEMP_INDEX, "CREATE TEMP", NEVER},
    {SQLITE_CREATE_TEMP_TRIGGER, "CREATE TEMP", NEVER},
    {SQLITE_CREATE_TEMP_VIEW, "CREATE TEMP", NEVER},
    {SQLITE_DROP_TEMP_TABLE, "DROP", NEVER},
    {SQLITE_DROP_TEMP_INDEX, "DROP", NEVER},
    {SQLITE_DROP_TEMP_TRIGGER, "DROP", NEVER},
    {SQLITE_DROP_TEMP_VIEW, "DROP", NEVER},
};

/* Reading what there is. With a value only where it names what to look at, or writes and the right to write is there.
 */
static const struct {
    const char *name;
    enum { PLAIN, ARGUMENT, VALUE } takes;
} pragmas[] = {
    {"application_id", VALUE},       {"data_version", PLAIN},        {"encoding", PLAIN},
    {"foreign_key_check", ARGUMENT}, {"foreign_key_list", ARGUMENT}, {"freelist_count", PLAIN},
    {"index_info", ARGUMENT},        {"index_list", ARGUMENT},       {"index_xinfo", ARGUMENT},
    {"integrity_check", ARGUMENT},   {"page_count", PLAIN},          {"page_size", PLAIN},
    {"quick_check", ARGUMENT},       {"table_info", ARGUMENT},       {"table_list", ARGUMENT},
    {"table_xinfo", ARGUMENT},       {"user_version", VALUE},
};

/* They reach for files, code, or memory by address. */
static const char *const functions[] = {"load_extension", "readfile",       "writefile", "edit",
                                        "fts3_tokenizer", "fts5_source_id", "fsdir",     "lsmode"};

/* Tables whose code only touches the database. */
static const char *const modules[] = {"fts5", "rtree", "rtree_i32"};

static bool among(const char *const *list, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (name && strcasecmp(list[i], name) == 0)
            return true;
    return false;
}

static int refuse(const char *operation, bool needs_write, const char *what, const char *name)
{
    sql_verdict = (struct sql_verdict){.refused = true, .needs_write = needs_write};
    snprintf(sql_verdict.operation, sizeof sql_verdict.operation, "%s", operation);
    if (needs_write)
        snprintf(sql_verdict.why, sizeof sql_verdict.why, "%s changes the data, and only reading is granted",
                 operation);
    else
        snprintf(sql_verdict.why, sizeof sql_verdict.why, "%s%s%.60s is not allowed here", what, name ? " " : "",
                 name ? name : "");
    return SQLITE_DENY;
}

static int pragma(const char *name, const char *value)
{
    for (size_t i = 0; i < sizeof pragmas / sizeof *pragmas; i++) {
        if (!name || strcasecmp(pragmas[i].name, name) != 0)
            continue;
        if (!value || pragmas[i].takes == ARGUMENT)
            return SQLITE_OK;
        if (pragmas[i].takes == VALUE)
            return may_write ? SQLITE_OK : refuse("PRAGMA", true, "", NULL);
    }
    return refuse("PRAGMA", false, "PRAGMA", name);
}

static int judge(void *context, int action, const char *first, const char *second, const char *database,
                 const char *trigger)
{
    (void)context;
    (void)trigger;
    /* The first that is heard of a temporary table: with the right to write it would be refused as well. */
    bool changes = action == SQLITE_INSERT || action == SQLITE_UPDATE || action == SQLITE_DELETE;
    if (changes && database && strcasecmp(database, "temp") == 0)
        return refuse("CREATE TEMP", false, "CREATE TEMP", NULL);
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        if (rules[i].action != action)
            continue;
        switch (rules[i].need) {
        case READ:
            return SQLITE_OK;
        case WRITE:
            return may_write ? SQLITE_OK : refuse(rules[i].name, true, "", NULL);
        case CHECK_PRAGMA:
            return pragma(first, second);
        case CHECK_FUNCTION:
            return among(functions, sizeof functions / sizeof *functions, second)
                       ? refuse("FUNCTION", false, "the function", second)
                       : SQLITE_OK;
        case CHECK_MODULE:
            if (!among(modules, sizeof modules / sizeof *modules, second))
                return refuse("CREATE", false, "a table of the module", second);
            return may_write ? SQLITE_OK : refuse("CREATE", true, "", NULL);
        default:
            return refuse(rules[i].name, false, rules[i].name, NULL);
        }
    }
    return refuse("UNKNOWN", false, "what this statement does", NULL);
}

void sql_rules_install(struct sqlite3 *db, bool write)
{
    may_write = write;
    sqlite3_set_authorizer(db, judge, NULL);
}
