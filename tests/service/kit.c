#include "kit.h"

#include <ftw.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/io.h"
#include "base/text.h"

/* ---- a place ---- */

static const char *env(const char *name)
{
    const char *value = getenv(name);
    if (!value)
        fail_msg("%s is not set", name);
    return value;
}

const char *kit_path(struct kit *k, const char *name)
{
    static char path[4][600];
    static int turn;
    turn = (turn + 1) % 4;
    snprintf(path[turn], sizeof path[turn], "%s/%s", k->dir, name);
    return path[turn];
}

void kit_write(struct kit *k, const char *name, const char *text)
{
    struct error err;
    if (io_replace_file(kit_path(k, name), text, strlen(text), 0644, &err) < 0)
        fail_msg("%s", err.message);
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *walk)
{
    return remove(path);
}

/* The bytes of SubjectPublicKeyInfo for Ed25519 (RFC 8410) in PEM. */
char *kit_pem(const struct signing_key *key)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    uint8_t der[45] = {0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00};
    char base[61], *pem = malloc(200);
    memcpy(der + 12, key_public(key)->bytes, 32);
    for (int i = 0; i < 60; i++) {
        unsigned bit = (unsigned)i * 6, byte = bit / 8, shift = bit % 8;
        unsigned pair = (unsigned)der[byte] << 8 | (byte + 1 < 44 ? der[byte + 1] : 0);
        base[i] = letters[pair >> (10 - shift) & 63];
    }
    base[59] = '=';
    base[60] = '\0';
    snprintf(pem, 200, "-----BEGIN PUBLIC KEY-----\n%s\n-----END PUBLIC KEY-----\n", base);
    return pem;
}

void kit_key_id(const struct signing_key *key, char hex[KEY_ID_HEX])
{
    text_hex(hex, key_public(key)->id, KEY_ID_LEN);
}

void kit_open(struct kit *k, bool server)
{
    struct service_options options = {
        .home = k->home, .server = server, .worker_path = k->worker, .helper_path = k->helper, .loops = 1};
    if (service_open(&options, &k->s, &k->error) < 0)
        fail_msg("%s", k->error.message);
}

void kit_close(struct kit *k)
{
    service_close(k->s, 0);
    k->s = NULL;
}

static void trust(struct kit *k, const char *name, struct signing_key **key)
{
    if (key_generate(key, &k->error) < 0)
        fail_msg("%s", k->error.message);
    char *pem = kit_pem(*key);
    OK(k, kit_trust_add(k, name, pem, NULL));
    free(pem);
}

int kit_setup(void **state)
{
    struct kit *k = calloc(1, sizeof *k);
    snprintf(k->dir, sizeof k->dir, "/tmp/moat-service-XXXXXX");
    assert_non_null(mkdtemp(k->dir));
    chmod(k->dir, 0755);
    snprintf(k->worker, sizeof k->worker, "%s", env("MOAT_TEST_WORKER"));
    snprintf(k->helper, sizeof k->helper, "%s", env("MOAT_TEST_HELPER"));
    snprintf(k->echo, sizeof k->echo, "%s", env("MOAT_TEST_ECHO"));
    if (spawner_start(k->worker, k->helper, &k->spawner, &k->error) < 0 ||
        home_resolve(kit_path(k, "home"), NULL, NULL, &k->home, &k->error) < 0)
        fail_msg("%s", k->error.message);
    kit_open(k, false);
    trust(k, "acme", &k->acme);
    trust(k, "mallory", &k->mallory);
    *state = k;
    return 0;
}

int kit_teardown(void **state)
{
    struct kit *k = *state;
    service_close(k->s, 0);
    spawner_stop(k->spawner);
    key_free(k->acme);
    key_free(k->mallory);
    json_decref(k->json);
    nftw(k->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    free(k);
    return 0;
}

/* ---- packages ---- */

static const char actions[] =
    "[{\"name\":\"echo\",\"description\":\"Answers its parameters\"},{\"name\":\"sleep\",\"description\":\"s\"},"
    "{\"name\":\"crash\",\"description\":\"c\"},{\"name\":\"count\",\"description\":\"c\"},"
    "{\"name\":\"read\",\"description\":\"r\"},{\"name\":\"write\",\"description\":\"w\"},"
    "{\"name\":\"fail\",\"description\":\"f\"}]";

static const char * or (const char *text, const char *otherwise)
{
    return text ? text : otherwise;
}

static void copy_file(const char *from, const char *to)
{
    buf_auto bytes = BUF_INIT(64 << 20);
    struct error err;
    if (io_read_file(from, &bytes, &err) < 0 || io_replace_file(to, bytes.data, bytes.len, 0644, &err) < 0)
        fail_msg("%s", err.message);
}

const char *kit_pack(struct kit *k, struct kit_package p)
{
    static char out[4][4096];
    static int turn;
    char so[700], json[700], made[4096];
    buf_auto text = BUF_INIT(1 << 16);
    const char *dir = kit_path(k, "pack");
    turn = (turn + 1) % 4;
    mkdir(dir, 0755);
    snprintf(so, sizeof so, "%s/echo.so", dir);
    snprintf(json, sizeof json, "%s/plugin.json", dir);
    snprintf(out[turn], sizeof out[turn], "%s/package-%d.moat", k->dir, turn);
    unlink(out[turn]);
    copy_file(k->echo, so);
    buf_printf(&text,
               "{\"moat\":1,\"name\":\"%s\",\"version\":\"%s\",\"author\":\"tests\",\"description\":\"%s\","
               "\"engine\":\"native\",\"entry\":\"echo.so\",\"capabilities\":[\"custom\",\"agent_skill\"],"
               "\"required_permissions\":%s,\"optional_permissions\":%s,\"actions\":%s,\"config\":%s,"
               "\"limits\":{\"workers\":%u},\"keywords\":[\"Repeat\"]}",
               or (p.name, "alpha"), or (p.version, "1.0.0"), or (p.description, "a plugin for tests"),
               or (p.required, "[]"), or (p.optional, "[]"), or (p.actions, actions),
               or (p.config, "{\"type\":\"object\"}"), p.workers ? p.workers : 1);
    if (io_replace_file(json, text.data, text.len, 0644, &k->error) < 0)
        fail_msg("%s", k->error.message);
    struct pack_options options = {.key = p.nobody ? NULL
                                          : p.key  ? p.key
                                                   : k->acme,
                                   .signed_at = p.signed_at,
                                   .expires_at = p.expires_at,
                                   .out_path = out[turn]};
    if (package_pack(dir, &options, k->spawner, made, &k->error) < 0)
        fail_msg("%s", k->error.message);
    return out[turn];
}

/* ---- operations ---- */

struct pending {
    struct kit *k;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool done;
};

static void finished(void *context, const struct error *error, struct buf *result)
{
    struct pending *p = context;
    json_error_t why;
    pthread_mutex_lock(&p->lock);
    p->k->code = error ? -(int)error->code : 0;
    if (error)
        p->k->error = *error;
    else
        p->k->json = json_loads(buf_text(result), JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, &why);
    if (!error && !p->k->json)
        print_error("not JSON: %s\n%s\n", why.text, buf_text(result));
    p->done = true;
    pthread_cond_signal(&p->changed);
    pthread_mutex_unlock(&p->lock);
}

#define WAIT(...) \
    struct pending p = {.k = k, .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER}; \
    json_decref(k->json); \
    k->json = NULL; \
    __VA_ARGS__; \
    pthread_mutex_lock(&p.lock); \
    while (!p.done) \
        pthread_cond_wait(&p.changed, &p.lock); \
    pthread_mutex_unlock(&p.lock); \
    assert_true(k->code < 0 || k->json); \
    return k->code

int kit_install(struct kit *k, struct service_install in)
{
    WAIT(service_install(k->s, &in, finished, &p));
}

int kit_uninstall(struct kit *k, const char *what, bool purge)
{
    WAIT(service_uninstall(k->s, what, purge, finished, &p));
}

int kit_use(struct kit *k, const char *what)
{
    WAIT(service_use(k->s, what, NULL, finished, &p));
}

int kit_load(struct kit *k, const char *what)
{
    WAIT(service_load(k->s, what, finished, &p));
}

int kit_unload(struct kit *k, const char *name)
{
    WAIT(service_unload(k->s, name, finished, &p));
}

int kit_reload(struct kit *k, const char *name)
{
    WAIT(service_reload(k->s, name, finished, &p));
}

int kit_stop_all(struct kit *k)
{
    WAIT(service_stop_all(k->s, finished, &p));
}

int kit_grant(struct kit *k, const char *name, const char *grant)
{
    WAIT(service_grant(k->s, name, grant, NULL, finished, &p));
}

int kit_grant_for(struct kit *k, const char *name, const char *grant, const char *span)
{
    WAIT(service_grant(k->s, name, grant, span, finished, &p));
}

int kit_ceiling(struct kit *k, const char *subject, const char *never, bool set)
{
    WAIT((set ? service_ceiling_set : service_ceiling_remove)(k->s, subject, never, finished, &p));
}

int kit_refuse(struct kit *k, const char *name, const char *permission)
{
    WAIT(service_refuse(k->s, name, permission, finished, &p));
}

int kit_revoke(struct kit *k, const char *name, const char *grant)
{
    WAIT(service_revoke(k->s, name, grant, finished, &p));
}

int kit_grants(struct kit *k, const char *name)
{
    WAIT(service_grants(k->s, name, finished, &p));
}

int kit_trust_add(struct kit *k, const char *publisher, const char *pem, const char *names)
{
    WAIT(service_trust_add(k->s, publisher, pem, names, finished, &p));
}

int kit_trust_revoke(struct kit *k, const char *publisher, const char *key)
{
    WAIT(service_trust_revoke(k->s, publisher, key, finished, &p));
}

int kit_trust_list(struct kit *k)
{
    WAIT(service_trust_list(k->s, finished, &p));
}

int kit_trust_names(struct kit *k, const char *publisher, const char *names)
{
    WAIT(service_trust_names(k->s, publisher, names, finished, &p));
}

int kit_trust_transfer(struct kit *k, const char *plugin, const char *publisher)
{
    WAIT(service_trust_transfer(k->s, plugin, publisher, finished, &p));
}

int kit_info(struct kit *k, const char *what)
{
    WAIT(service_info(k->s, what, finished, &p));
}

int kit_available(struct kit *k, struct service_filter filter)
{
    WAIT(service_available(k->s, &filter, finished, &p));
}

int kit_loaded(struct kit *k)
{
    WAIT(service_loaded(k->s, finished, &p));
}

int kit_validate(struct kit *k, const char *path)
{
    WAIT(service_validate(k->s, path, NULL, false, NULL, finished, &p));
}

int kit_words(struct kit *k, bool capabilities)
{
    WAIT((capabilities ? service_capabilities : service_permissions)(k->s, finished, &p));
}

int kit_stats(struct kit *k)
{
    WAIT(service_stats(k->s, finished, &p));
}

int kit_health(struct kit *k)
{
    WAIT(service_health(k->s, finished, &p));
}

int kit_denials(struct kit *k, const char *name)
{
    WAIT(service_denials(k->s, name, NULL, 0, finished, &p));
}

int kit_settings_get(struct kit *k, const char *key)
{
    WAIT(service_settings_get(k->s, key, finished, &p));
}

int kit_settings_set(struct kit *k, const char *key, const char *value)
{
    WAIT(service_settings_set(k->s, key, value, finished, &p));
}

int kit_call(struct kit *k, const char *plugin, const char *action, const char *parameters)
{
    struct call call = {
        .plugin = plugin, .action = action, .parameters = parameters, .parameters_len = strlen(parameters)};
    struct call *list = &call;
    json_decref(k->json);
    k->json = NULL;
    call_run(service_loader(k->s), &list, 1);
    k->code = call.code;
    if (call.code < 0)
        k->error = call.error;
    else
        k->json = json_loadb((const char *)call.result, call.result_len, JSON_DECODE_ANY, NULL);
    free(call.result);
    return k->code;
}

/* ---- looking ---- */

json_t *kit_at(struct kit *k, const char *path)
{
    json_t *at = k->json;
    char copy[200], *rest;
    snprintf(copy, sizeof copy, "%s", path);
    for (char *part = strtok_r(copy, ".", &rest); part && at; part = strtok_r(NULL, ".", &rest))
        at = json_is_array(at) ? json_array_get(at, (size_t)atoi(part)) : json_object_get(at, part);
    if (!at) {
        char *all = json_dumps(k->json, JSON_ENCODE_ANY);
        print_error("no %s in %s\n", path, all);
        free(all);
        fail();
    }
    return at;
}

const char *kit_text(struct kit *k, const char *path)
{
    const char *text = json_string_value(kit_at(k, path));
    return text ? text : "(not a string)";
}

long long kit_number(struct kit *k, const char *path)
{
    json_t *n = kit_at(k, path);
    return json_is_integer(n) ? json_integer_value(n) : -1;
}

bool kit_flag(struct kit *k, const char *path)
{
    json_t *flag = kit_at(k, path);
    assert_true(json_is_boolean(flag));
    return json_is_true(flag);
}

size_t kit_count(struct kit *k, const char *path)
{
    json_t *list = kit_at(k, path);
    return json_is_array(list) ? json_array_size(list) : json_object_size(list);
}

void kit_expect(struct kit *k, int expected, int code, const char *what, int line)
{
    if (code == expected)
        return;
    print_error("line %d: %s\n  expected %s, got %s: %s\n", line, what, error_info(expected)->name,
                error_info(code)->name, code < 0 ? k->error.message : "");
    fail();
}
