/* Keys and packages for the tests in Python: package_tool WORKER HELPER keygen FILE
 *                                            package_tool WORKER HELPER pack DIR KEYFILE OUT [EXPIRES]
 *                                            package_tool WORKER HELPER check FILE PUBFILE
 *                                            package_tool WORKER HELPER time FILE PUBFILE ROUNDS */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "package/package.h"

static int complain(int rc, const struct error *err)
{
    fprintf(stderr, "%s: %s\n", error_info(rc)->name, err->message);
    return 1;
}

static int keygen(const char *path)
{
    struct error err;
    struct signing_key *key = NULL;
    int rc = key_generate(&key, &err);
    if (rc == 0)
        rc = key_write(key, path, &err);
    key_free(key);
    return rc ? complain(rc, &err) : 0;
}

static int pack(struct spawner *s, char **argv)
{
    struct error err;
    struct signing_key *key = NULL;
    char made[4096];
    int rc = key_read(argv[1], &key, &err);
    struct pack_options options = {
        .key = key, .out_path = argv[2], .expires_at = argv[3] ? strtoull(argv[3], NULL, 10) : 0};
    if (rc == 0)
        rc = package_pack(argv[0], &options, s, made, &err);
    key_free(key);
    if (rc)
        return complain(rc, &err);
    puts(made);
    return 0;
}

static int trust_one(void *context, const uint8_t key_id[KEY_ID_LEN], struct trust_answer *out, struct error *err)
{
    const struct public_key *key = context;
    *out = (struct trust_answer){
        .known = memcmp(key_id, key->id, KEY_ID_LEN) == 0, .key = *key, .publisher = "publisher", .names = "*"};
    return 0;
}

static int check(struct spawner *s, const char *path, const char *public, struct error *err)
{
    struct public_key key;
    struct package *p = NULL;
    struct unpacked files;
    int rc = key_read_public(public, &key, err);
    if (rc == 0)
        rc = package_open(path, PACKAGE_MAX_DEFAULT, &p, err);
    if (rc == 0)
        rc = package_verify(p, trust_one, &key, clock_wall_ns() / NS_PER_S, err);
    if (rc == 0)
        rc = package_read(p, err);
    if (rc == 0)
        rc = package_unpack(p, s, &files, NULL, err);
    if (rc == 0)
        unpacked_free(&files);
    package_free(p);
    return rc;
}

static int by_duration(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static int measure(struct spawner *s, const char *path, const char *public, int rounds)
{
    struct error err = {0};
    uint64_t *ns = calloc((size_t)rounds, sizeof *ns);
    int rc = ns ? 0 : -MOAT_E_OUT_OF_MEMORY;
    for (int i = 0; rc == 0 && i < rounds; i++) {
        uint64_t started = clock_mono_ns();
        rc = check(s, path, public, &err);
        ns[i] = clock_mono_ns() - started;
    }
    if (rc == 0) {
        qsort(ns, (size_t)rounds, sizeof *ns, by_duration);
        int middle = rounds / 2;
        printf("verify and unpack: median %.3f ms, best %.3f ms\n", (double)ns[middle] / 1e6, (double)ns[0] / 1e6);
    }
    free(ns);
    return rc ? complain(rc, &err) : 0;
}

int main(int argc, char **argv)
{
    struct error err = {0};
    struct spawner *s;
    if (argc < 5)
        return 2;
    if (strcmp(argv[3], "keygen") == 0)
        return keygen(argv[4]);
    if (spawner_start(argv[1], argv[2], &s, &err))
        return complain(-(int)err.code, &err);
    int status = 2, rc;
    if (strcmp(argv[3], "pack") == 0 && argc >= 7)
        status = pack(s, argv + 4);
    else if (strcmp(argv[3], "check") == 0 && argc == 6)
        status = (rc = check(s, argv[4], argv[5], &err)) ? complain(rc, &err) : 0;
    else if (strcmp(argv[3], "time") == 0 && argc == 7)
        status = measure(s, argv[4], argv[5], (int)strtol(argv[6], NULL, 10));
    spawner_stop(s);
    return status;
}
