/* Bytes become a file of connection strings, and each string in it a server.
 *
 * What is taken has every value inside the string's own memory, one address, and a way of speaking with it that holds
 * what it promises; what is refused says why in one line. */
#include <stdlib.h>
#include <string.h>

#include "broker/sql_server.h"
#include "broker/sql_source.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds)
        abort();
}

static void values_are_its_own(const struct sql_string *s)
{
    for (int i = 0; i < SQL_OPTION_COUNT; i++) {
        const char *v = s->values[i];
        require(!v || *v);
        if (v >= s->room && v < s->room + sizeof s->room)
            require(memchr(v, 0, (size_t)(s->room + s->used - v)) != NULL);
    }
}

static void holds_what_it_promises(const struct sql_server *s)
{
    bool verifies = strncmp(s->mode, "verify-", 7) == 0, local = !s->hostaddr[0];
    require(s->address_len > 0 && s->string.values[SQL_OPTION_USER] && s->string.values[SQL_OPTION_DBNAME]);
    require(!verifies || s->files[SQL_FILE_ROOT]);
    require(!local || (!verifies && strcmp(s->mode, "require") != 0));
    for (int i = 0; i < SQL_FILES; i++)
        require(!s->files[i] || (*s->files[i] == '/' && (verifies || strcmp(s->mode, "require") == 0)));
}

static void one(const char *text)
{
    struct sql_server s;
    struct sql_start start = {0};
    struct error err = {0};
    if (sql_server_read(text, &s, &err) < 0) {
        require(err.code == MOAT_E_BAD_USAGE && err.message[0]);
        return;
    }
    values_are_its_own(&s.string);
    holds_what_it_promises(&s);
    require(sql_server_start(&s, &start, &err) == 0 && start.options_len <= sizeof start.options);
    require(start.options[start.options_len - 1] == '\0');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sql_roles roles;
    if (size > 3 * SQL_STRING_MAX)
        return 0;
    char *text = calloc(1, size + 1);
    require(text);
    memcpy(text, data, size);
    if (sql_source_roles(text, &roles, NULL) == 0) {
        if (roles.read)
            one(roles.read);
        if (roles.write)
            one(roles.write);
    }
    free(text);
    return 0;
}
