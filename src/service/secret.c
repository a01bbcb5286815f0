#include "service/secret.h"

#include <stdlib.h>
#include <string.h>

static const struct {
    const char *text, *file;
} variables[] = {{"PLUGIN_SECRET_KEY", "PLUGIN_SECRET_KEY_FILE"},
                 {"PLUGIN_SECRET_KEY_OLD", "PLUGIN_SECRET_KEY_OLD_FILE"}};

static int read_one(size_t which, struct signing_key **out, struct error *err)
{
    const char *text = getenv(variables[which].text), *file = getenv(variables[which].file);
    if (text && file)
        return error_set(err, MOAT_E_BAD_USAGE, "%s and %s are both set: set one of them", variables[which].text,
                         variables[which].file);
    int rc = text ? key_hmac(text, strlen(text), out, err) : file ? key_read_hmac(file, out, err) : 0;
    if (rc)
        error_prefix(err, "%s", text ? variables[which].text : variables[which].file);
    return rc;
}

int secrets_read(struct secrets *out, struct error *err)
{
    struct secrets s = {0};
    int rc = read_one(0, &s.key, err);
    if (rc == 0)
        rc = read_one(1, &s.old, err);
    if (rc)
        secrets_free(&s);
    else
        *out = s;
    return rc;
}

void secrets_free(struct secrets *s)
{
    key_free(s->key);
    key_free(s->old);
    *s = (struct secrets){0};
}

void secrets_scrub(void)
{
    for (size_t i = 0; i < sizeof variables / sizeof *variables; i++) {
        char *text = getenv(variables[i].text);
        if (text)
            explicit_bzero(text, strlen(text));
        unsetenv(variables[i].text);
        unsetenv(variables[i].file);
    }
}

const struct signing_key *secrets_find(const struct secrets *s, const uint8_t id[KEY_ID_LEN])
{
    const struct signing_key *const all[] = {s ? s->key : NULL, s ? s->old : NULL};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (all[i] && memcmp(key_public(all[i])->id, id, KEY_ID_LEN) == 0)
            return all[i];
    return NULL;
}
