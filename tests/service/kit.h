/* For tests of the service: a home of their own, keys, and packages made of the echo plugin with any manifest. */
#ifndef TESTS_SERVICE_KIT_H
#define TESTS_SERVICE_KIT_H

#include <jansson.h>

#include "package/package.h"
#include "service/service.h"

struct kit {
    char dir[200], worker[400], helper[400], echo[400];
    struct home home;
    struct service *s;
    struct spawner *spawner; /* for packing; apart from the service's own */
    struct signing_key *acme, *mallory;
    struct error error; /* of the last operation */
    json_t *json;       /* of the last operation, or NULL */
    int code;           /* 0 or -enum moat_code */
};

int kit_setup(void **state); /* a home with the keys `acme` and `mallory` trusted, and an open service */
int kit_teardown(void **state);
void kit_open(struct kit *k, bool server);
void kit_close(struct kit *k);

/* What a package says; zero and NULL: the usual. */
struct kit_package {
    const char *name, *version;
    const struct signing_key *key;   /* acme's */
    bool nobody;                     /* unsigned */
    const char *required, *optional; /* JSON: ["file_read"] or {"file_read": {"paths": […]}} */
    const char *config;              /* JSON schema; {} */
    const char *actions;             /* JSON: of another plugin than the echo, see k->echo */
    const char *description;
    unsigned workers;
    uint64_t signed_at, expires_at;
};
/* The file; valid until the next but three. */
const char *kit_pack(struct kit *k, struct kit_package p);

/* Operations, waited for: code, error and json are in the kit; each returns the code. */
int kit_install(struct kit *k, struct service_install in);
int kit_uninstall(struct kit *k, const char *what, bool purge);
int kit_use(struct kit *k, const char *what);
int kit_load(struct kit *k, const char *what);
int kit_unload(struct kit *k, const char *name);
int kit_reload(struct kit *k, const char *name);
int kit_stop_all(struct kit *k);
int kit_grant(struct kit *k, const char *name, const char *grant);
int kit_grant_for(struct kit *k, const char *name, const char *grant, const char *span);
int kit_ceiling(struct kit *k, const char *subject, const char *never, bool set);
int kit_refuse(struct kit *k, const char *name, const char *permission);
int kit_revoke(struct kit *k, const char *name, const char *grant);
int kit_grants(struct kit *k, const char *name);
int kit_trust_add(struct kit *k, const char *publisher, const char *pem, const char *names);
int kit_trust_revoke(struct kit *k, const char *publisher, const char *key);
int kit_trust_list(struct kit *k);
int kit_trust_names(struct kit *k, const char *publisher, const char *names);
int kit_trust_transfer(struct kit *k, const char *plugin, const char *publisher);
int kit_info(struct kit *k, const char *what);
int kit_available(struct kit *k, struct service_filter filter);
int kit_loaded(struct kit *k);
int kit_validate(struct kit *k, const char *path);
int kit_words(struct kit *k, bool capabilities);
int kit_stats(struct kit *k);
int kit_health(struct kit *k);
int kit_denials(struct kit *k, const char *name);
int kit_settings_get(struct kit *k, const char *key);
int kit_settings_set(struct kit *k, const char *key, const char *value);

/* A blocking call; the result is json, parsed (any value). */
int kit_call(struct kit *k, const char *plugin, const char *action, const char *parameters);

/* Looks into json: "a.b.0.c"; fails the test when it is not there. */
const char *kit_text(struct kit *k, const char *path);
long long kit_number(struct kit *k, const char *path);
bool kit_flag(struct kit *k, const char *path);
json_t *kit_at(struct kit *k, const char *path);
size_t kit_count(struct kit *k, const char *path);

void kit_write(struct kit *k, const char *name, const char *text); /* a file in the kit's directory */
const char *kit_path(struct kit *k, const char *name);
char *kit_pem(const struct signing_key *key); /* malloc'd */
void kit_key_id(const struct signing_key *key, char hex[KEY_ID_HEX]);

#define OK(k, call) kit_expect(k, 0, call, #call, __LINE__)
#define REFUSED(k, code, call) kit_expect(k, -(code), call, #call, __LINE__)
void kit_expect(struct kit *k, int expected, int code, const char *what, int line);

#endif
