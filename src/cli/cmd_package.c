/* Commands of who writes plugins: all local, none needs a home. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"
#include "cli/cli.h"
#include "cli/new.h"
#include "package/package.h"

int cli_executables(char worker[PATH_MAX], char helper[PATH_MAX], struct error *err)
{
    static const struct service_options defaults;
    return locate_executables(&defaults, worker, helper, err);
}

static void print_pair(const struct cli *c, const char *key, const char *value)
{
    buf_auto out = BUF_INIT(16 * 1024);
    buf_printf(&out, "{\"%s\":", key);
    text_json_string(&out, value);
    buf_putc(&out, '}');
    puts(buf_text(&out));
}

int run_new(struct cli *c)
{
    struct error err;
    if (new_write(c->args[0], &err) < 0)
        return cli_fail(c, &err);
    if (cli_has(c, OPT_JSON))
        print_pair(c, "directory", c->args[0]);
    else
        printf("Made %s: see its README.md for the way from here to a first call.\n", c->args[0]);
    return cli_done(c);
}

int run_keygen(struct cli *c)
{
    struct signing_key *key = NULL;
    struct error err;
    char id[KEY_ID_HEX];
    int rc = key_generate(&key, &err);
    if (rc == 0)
        rc = key_write(key, c->args[0], &err);
    if (rc < 0) {
        key_free(key);
        return cli_fail(c, &err);
    }
    text_hex(id, key_public(key)->id, KEY_ID_LEN);
    key_free(key);
    if (cli_has(c, OPT_JSON)) {
        print_pair(c, "key_id", id);
    } else {
        printf("Made %s, which is secret: keep it. %s.pub is for who shall trust you.\nIts id is %s.\n", c->args[0],
               c->args[0], id);
    }
    return cli_done(c);
}

/* --expires counts from the moment of signing, which SOURCE_DATE_EPOCH may fix. */
static int take_expiry(const struct cli *c, struct pack_options *options, struct error *err)
{
    const char *fixed = getenv("SOURCE_DATE_EPOCH");
    uint64_t span, now = fixed && *fixed ? strtoull(fixed, NULL, 10) : clock_wall_ns() / NS_PER_S;
    if (!cli_has(c, OPT_EXPIRES))
        return 0;
    if (!clock_parse_span(c->option[OPT_EXPIRES], &span) || span < NS_PER_S)
        return error_set(err, MOAT_E_BAD_USAGE, "--expires takes a TIME from 1s to 36500d (100 years), such as 90d");
    options->expires_at = now + span / NS_PER_S;
    return 0;
}

/* Whose signature it gets; *own is the caller's to free. */
static int take_key(const struct cli *c, struct pack_options *options, struct signing_key **own, struct error *err)
{
    if (cli_has(c, OPT_KEY) + cli_has(c, OPT_HMAC) + cli_has(c, OPT_UNSIGNED) != 1)
        return error_set(err, MOAT_E_BAD_USAGE,
                         "moat pack takes one of --key FILE (`moat keygen FILE` makes one), --hmac and --unsigned");
    if (cli_has(c, OPT_UNSIGNED))
        return 0;
    if (cli_has(c, OPT_KEY)) {
        int rc = key_read(c->option[OPT_KEY], own, err);
        options->key = *own;
        return rc;
    }
    int rc = cli_secrets(c, err);
    if (rc == 0 && !c->secrets.key)
        rc = error_set(err, MOAT_E_BAD_USAGE,
                       "--hmac signs with this host's own key: set PLUGIN_SECRET_KEY_FILE or PLUGIN_SECRET_KEY");
    options->key = c->secrets.key;
    return rc;
}

static int pack(const struct cli *c, char made[4096], struct findings *findings, struct error *err)
{
    struct pack_options options = {.out_path = c->option[OPT_OUTPUT], .findings = findings};
    struct signing_key *key = NULL;
    struct spawner *spawner = NULL;
    char worker[PATH_MAX], helper[PATH_MAX];
    int rc = take_expiry(c, &options, err);
    if (rc == 0)
        rc = take_key(c, &options, &key, err);
    if (rc == 0)
        rc = cli_executables(worker, helper, err);
    if (rc == 0)
        rc = spawner_start(worker, helper, &spawner, err);
    if (rc == 0)
        rc = package_pack(c->args[0], &options, spawner, made, err);
    spawner_stop(spawner);
    key_free(key);
    return rc;
}

/* What the inspector only advises. */
static void show_advice(const struct findings *f)
{
    for (size_t i = 0; i < f->count; i++) {
        fputs("advice: ", stderr);
        show_text(stderr, f->list[i].message);
        fprintf(stderr, "; %s\n", f->list[i].cure);
    }
}

int run_pack(struct cli *c)
{
    struct error err;
    struct findings findings = {0};
    char made[4096];
    if (pack(c, made, &findings, &err) < 0) {
        findings_free(&findings);
        return cli_fail(c, &err);
    }
    if (cli_has(c, OPT_JSON)) {
        print_pair(c, "package", made);
    } else {
        puts(made);
        show_advice(&findings);
    }
    findings_free(&findings);
    return cli_done(c);
}
