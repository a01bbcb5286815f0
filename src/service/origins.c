#include "service/origins.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define ORIGIN_MAX 253

struct origins {
    pthread_rwlock_t lock;
    json_t *list; /* NULL: none */
};

struct origins *origins_new(void)
{
    struct origins *o = calloc(1, sizeof *o);
    if (o)
        pthread_rwlock_init(&o->lock, NULL);
    return o;
}

void origins_free(struct origins *o)
{
    if (!o)
        return;
    json_decref(o->list);
    pthread_rwlock_destroy(&o->lock);
    free(o);
}

/* scheme "://" host [":" port], in lower case, as a browser sends it. */
static bool is_origin(const char *text)
{
    const char *host = strstr(text, "://");
    size_t scheme = host ? strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789+-.") : 0;
    if (!host || text + scheme != host || !scheme || strlen(text) > ORIGIN_MAX)
        return false;
    host += 3;
    return *host && !host[strspn(host, "abcdefghijklmnopqrstuvwxyz0123456789-._:[]")];
}

int origins_check(const json_t *value, struct error *err)
{
    size_t i;
    json_t *item;
    if (!json_is_array(value) || json_array_size(value) > ORIGINS_MAX)
        return error_set(err, MOAT_E_BAD_USAGE, "cors_origins is a list of at most %d origins", ORIGINS_MAX);
    json_array_foreach(value, i, item)
    {
        const char *text = json_string_value(item);
        if (!text || !is_origin(text))
            return error_set(err, MOAT_E_BAD_USAGE,
                             "\"%.64s\" is no origin, such as https://console.example.org or http://localhost:3000",
                             text ? text : "(not a text)");
    }
    return 0;
}

void origins_set(struct origins *o, json_t *list)
{
    pthread_rwlock_wrlock(&o->lock);
    json_t *old = o->list;
    o->list = list;
    pthread_rwlock_unlock(&o->lock);
    json_decref(old);
}

bool origins_have(struct origins *o, const char *origin)
{
    bool have = false;
    pthread_rwlock_rdlock(&o->lock);
    for (size_t i = 0; i < json_array_size(o->list) && !have; i++)
        have = strcmp(json_string_value(json_array_get(o->list, i)), origin) == 0;
    pthread_rwlock_unlock(&o->lock);
    return have;
}
