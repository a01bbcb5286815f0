/* Bytes become a request for an sql helper's session, over a database in memory:
 *
 *     OP WRITE(1 byte each) SQL NUL PARAMETERS
 *
 * Whatever the statement, the answer keeps inside its room, is a known code, rows are JSON, and nothing was attached.
 */
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "helper/sql.h"
#include "helper/sql_rules.h"
#include "helper/sql_words.h"
#include "json/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char text[SEAT_REQUEST + JSON_PAD], room[SEAT_ANSWER_MAX + JSON_PAD];

static void require(bool holds)
{
    if (!holds)
        abort();
}

static void request(enum seat_op op, const uint8_t *data, size_t size)
{
    struct sql_answer a;
    struct seat_answer out;
    const uint8_t *end = memchr(data, 0, size);
    size_t sql = end ? (size_t)(end - data) : size, params = end ? size - sql - 1 : 0;
    memcpy(text, data, size);
    text[size] = '\0';
    struct seat_request r = {.op = op, .sql_len = (uint32_t)sql, .params_len = (uint32_t)params, .max_rows = 50};
    sql_handle(&sql_sqlite, text, &r, room, &out, &a);
    require(out.len <= SEAT_ANSWER_MAX && out.code < SEAT_CODE_COUNT);
    if (out.code == SEAT_DONE && op != SEAT_END)
        require(json_valid((uint8_t *)room, out.len));
    else if (out.code != SEAT_DONE)
        require(out.len > 0);
}

static int count_databases(void *context, int n, char **values, char **names)
{
    (void)n;
    (void)values;
    (void)names;
    ++*(int *)context;
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char first[SQL_WORDS_MAX];
    if (size < 2 || size > 4096)
        return 0;
    sql_start = (struct sql_start){.write = data[1] & 1,
                                   .memory = 16 << 20,
                                   .database_max = 1 << 20,
                                   .statement_ns = 20 * NS_PER_MS,
                                   .rows_max = 100};
    require(sql_sqlite_open_memory());
    request(data[0] % (SEAT_OPS + 1), data + 2, size - 2);
    request(SEAT_MORE, data, 0);
    sql_words(text, first);
    int databases = 0;
    sqlite3_set_authorizer(sql_sqlite_database(), NULL, NULL);
    sqlite3_exec(sql_sqlite_database(), "PRAGMA database_list", count_databases, &databases, NULL);
    require(databases <= 2); /* main, and where it stands what is temporary */
    request(SEAT_END, data, 0);
    sql_sqlite_close();
    return 0;
}
