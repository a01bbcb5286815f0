/* Permissions that a manifest asks for, in both forms: a list of names, or an object of scopes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "package/manifest_internal.h"
#include "package/paths.h"

#define POINTER_MAX 512

static bool printable(const char *text)
{
    for (const unsigned char *p = (const unsigned char *)text; *p; p++)
        if (*p < 0x20 || *p == 0x7f)
            return false;
    return true;
}

/* Absolute, and nothing in it that means another path. */
static const char *path_scope(const char *text)
{
    if (text[0] != '/')
        return "is not an absolute path";
    for (const char *p = text; (p = strchr(p, '/')); p++)
        if (p[1] == '/' || (p[1] == '.' && (p[2] == '/' || !p[2])) ||
            (p[1] == '.' && p[2] == '.' && (p[3] == '/' || !p[3])))
            return "has an empty, \".\" or \"..\" component";
    return NULL;
}

/* One of this machine's, or one that the package ships: that it does is looked at when the assets are known. */
static const char *program_scope(const char *text)
{
    return text[0] == '/' ? path_scope(text) : path_problem(text);
}

static const char *host_scope(const char *text)
{
    const char *colon = strrchr(text, ':');
    char *end = NULL;
    unsigned long port = colon && colon[1] >= '0' && colon[1] <= '9' ? strtoul(colon + 1, &end, 10) : 0;
    if (!colon || colon == text || !end || *end || port < 1 || port > 65535 || strchr(text, ' '))
        return "is not HOST:PORT";
    return NULL;
}

static const char *source_scope(const char *text)
{
    return strpbrk(text, " =") ? "is not the name of a data source" : NULL;
}

static const char *action_scope(const char *text)
{
    const char *dot = strchr(text, '.');
    return !dot || dot == text || !dot[1] || strpbrk(text, " =") ? "is not PLUGIN.ACTION" : NULL;
}

static const struct rule {
    const char *member; /* of the object that holds the scopes; NULL: none are known */
    const char *(*check)(const char *text);
} rules[PERMISSION_COUNT] = {
    [PERMISSION_FILE_READ] = {"paths", path_scope},
    [PERMISSION_FILE_WRITE] = {"paths", path_scope},
    [PERMISSION_NETWORK_ACCESS] = {"hosts", host_scope},
    [PERMISSION_DATABASE_READ] = {"sources", source_scope},
    [PERMISSION_DATABASE_WRITE] = {"sources", source_scope},
    [PERMISSION_EXECUTE_CODE] = {"programs", program_scope},
    [PERMISSION_SYSTEM_ACCESS] = {NULL, NULL},
    [PERMISSION_AGENT_CONTROL] = {"actions", action_scope},
};

const char *manifest_scopes_member(enum permission p)
{
    return rules[p].member;
}

/* A program that the package is to ship. */
static bool is_there(const struct manifest *m, const char *program)
{
    for (size_t i = 0; program[0] != '/' && i < m->nassets; i++)
        if (strcmp(m->assets[i], program) == 0)
            return true;
    return program[0] == '/';
}

const struct manifest_ask *manifest_ask_of(const struct manifest *m, enum permission p)
{
    for (size_t i = 0; i < m->nasks; i++)
        if (m->asks[i].permission == p)
            return &m->asks[i];
    return NULL;
}

static int read_scopes(struct reader *r, json_t *scopes, const char *pointer, struct manifest_ask *ask)
{
    const struct rule *rule = &rules[ask->permission];
    const char *name;
    json_t *list;
    json_object_foreach(scopes, name, list)
    {
        char at[POINTER_MAX];
        if (!rule->member || strcmp(name, rule->member) != 0)
            return reader_refuse(r, pointer, "%s has no scope \"%s\"%s%s", permission_name(ask->permission), name,
                                 rule->member ? "; it has " : "", rule->member ? rule->member : "");
        int rc = reader_strings(r, list, &ask->scopes, &ask->nscopes);
        for (size_t i = 0; rc == 0 && i < ask->nscopes; i++) {
            const char *problem = printable(ask->scopes[i]) ? rule->check(ask->scopes[i]) : "has a control character";
            snprintf(at, sizeof at, "%s/%s/%zu", pointer, name, i);
            if (!problem && ask->permission == PERMISSION_EXECUTE_CODE && !is_there(r->m, ask->scopes[i]))
                problem = "is not among the package's assets";
            if (problem)
                rc = reader_refuse(r, at, "\"%s\" %s", ask->scopes[i], problem);
        }
        if (rc)
            return rc;
    }
    return 0;
}

static int add_ask(struct reader *r, struct manifest_ask *asks, const char *name, json_t *scopes, bool required,
                   const char *pointer)
{
    int p = permission_parse(name);
    if (p < 0)
        return reader_refuse(r, pointer,
                             "there is no permission \"%s\"; there are file_read, file_write, network_access, "
                             "database_read, database_write, execute_code, system_access and agent_control",
                             name);
    for (size_t i = 0; i < r->m->nasks; i++)
        if (asks[i].permission == (enum permission)p)
            return reader_refuse(r, pointer, "%s is asked for twice", permission_name((enum permission)p));
    struct manifest_ask *ask = &asks[r->m->nasks++];
    *ask = (struct manifest_ask){.permission = (enum permission)p, .required = required};
    return scopes ? read_scopes(r, scopes, pointer, ask) : 0;
}

static int read_list(struct reader *r, struct manifest_ask *asks, const char *field, bool required)
{
    json_t *value = json_object_get(r->holder->root, field), *scopes;
    char pointer[POINTER_MAX];
    const char *name;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < json_array_size(value); i++) { /* 0 for an object */
        snprintf(pointer, sizeof pointer, "/%s/%zu", field, i);
        rc = add_ask(r, asks, json_string_value(json_array_get(value, i)), NULL, required, pointer);
    }
    json_object_foreach(value, name, scopes)
    {
        snprintf(pointer, sizeof pointer, "/%s/%.64s", field, name);
        rc = add_ask(r, asks, name, scopes, required, pointer);
        if (rc)
            break;
    }
    return rc;
}

int manifest_read_asks(struct reader *r)
{
    struct manifest_ask *asks = reader_keep(r, PERMISSION_COUNT, sizeof *asks);
    if (!asks)
        return -MOAT_E_OUT_OF_MEMORY;
    r->m->asks = asks;
    int rc = read_list(r, asks, "required_permissions", true);
    return rc ? rc : read_list(r, asks, "optional_permissions", false);
}
