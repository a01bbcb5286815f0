/* `moat inspect`: what a package says of itself, how much of that is verified, and what is in it.  Its archive is read
 * behind the wall as at an installation. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/text.h"
#include "cli/show.h"
#include "package/package.h"

struct inspection {
    struct package *package;
    struct public_key given; /* --key */
    bool has_given;
    json_t *trusted; /* the home's publishers, or NULL */
    struct unpacked files;
    struct findings findings;
    bool verified;
};

/* ---- whose key is it? ---- */

static bool take_trusted(const json_t *publisher, const json_t *key, const uint8_t id[KEY_ID_LEN],
                         struct trust_answer *out)
{
    uint8_t key_id[KEY_ID_LEN];
    const char *hex = json_string_value(json_object_get(key, "id"));
    const char *bytes = json_string_value(json_object_get(key, "public_key"));
    if (!hex || !text_unhex(key_id, KEY_ID_LEN, hex) || memcmp(key_id, id, KEY_ID_LEN) != 0 || !bytes ||
        !text_unhex(out->key.bytes, sizeof out->key.bytes, bytes))
        return false;
    out->known = true;
    out->revoked = json_is_true(json_object_get(key, "revoked"));
    out->key.algorithm = ALGORITHM_ED25519;
    memcpy(out->key.id, id, KEY_ID_LEN);
    text_copy(out->publisher, sizeof out->publisher, json_string_value(json_object_get(publisher, "name")));
    text_copy(out->names, sizeof out->names, json_string_value(json_object_get(publisher, "names")));
    return true;
}

/* A trust_lookup: the key that was given, else the home's. */
static int look_up(void *context, const uint8_t id[KEY_ID_LEN], struct trust_answer *out, struct error *err)
{
    const struct inspection *in = context;
    *out = (struct trust_answer){0};
    if (in->has_given) {
        out->known = memcmp(in->given.id, id, KEY_ID_LEN) == 0;
        out->key = in->given;
        strcpy(out->publisher, "the given key");
        strcpy(out->names, "*");
        return 0;
    }
    for (size_t i = 0; i < json_array_size(in->trusted); i++) {
        const json_t *publisher = json_array_get(in->trusted, i), *keys = json_object_get(publisher, "keys");
        for (size_t k = 0; k < json_array_size(keys); k++)
            if (take_trusted(publisher, json_array_get(keys, k), id, out))
                return 0;
    }
    return 0;
}

/* Without --key the home says whom it trusts, if there is a home at all: looking into a package makes none. */
/* 0, -MOAT_E_X, or the exit status of a failure that was reported. */
static int take_trust(struct cli *c, struct inspection *in, struct error *err)
{
    if (cli_has(c, OPT_KEY)) {
        in->has_given = true;
        return key_read_public(c->option[OPT_KEY], &in->given, err);
    }
    int rc = cli_home(c, err);
    if (rc < 0 || access(c->home.lock, F_OK) < 0)
        return rc;
    struct ask a;
    struct reply reply;
    ask_init(&a, "GET", "/api/trust");
    int status = ask_route(c, &a, &reply);
    json_t *result = status ? NULL : json_loadb(reply.result, reply.len, 0, NULL);
    in->trusted = json_incref((json_t *)(uintptr_t)show_list(result, "publishers"));
    json_decref(result);
    reply_free(&reply);
    return status;
}

/* ---- looking ---- */

static void note(struct inspection *in, const struct error *err)
{
    if (!in->findings.count)
        findings_add(&in->findings, err->code, "", error_info(err->code)->advice, "%s", err->message);
}

static int unpack(struct inspection *in, struct error *err)
{
    struct spawner *spawner = NULL;
    char worker[PATH_MAX], helper[PATH_MAX];
    int rc = cli_executables(worker, helper, err);
    if (rc == 0)
        rc = spawner_start(worker, helper, &spawner, err);
    if (rc < 0)
        return rc;
    struct error why;
    if (package_unpack(in->package, spawner, &in->files, &in->findings, &why) < 0)
        note(in, &why);
    spawner_stop(spawner);
    return 0;
}

/* Refusals become findings; what keeps us from looking is an error, or an exit status as of take_trust. */
static int look(struct cli *c, struct inspection *in, struct error *err)
{
    struct error why;
    int rc = package_open(c->args[0], PACKAGE_MAX_EVER, &in->package, err);
    if (rc == 0)
        rc = take_trust(c, in, err);
    if (rc)
        return rc;
    if (package_verify(in->package, look_up, in, clock_wall_ns() / NS_PER_S, &why) < 0) {
        note(in, &why);
        return 0;
    }
    in->verified = true;
    if (package_read(in->package, &why) < 0) {
        note(in, &why);
        return 0;
    }
    return unpack(in, err);
}

static void clear(struct inspection *in)
{
    unpacked_free(&in->files);
    findings_free(&in->findings);
    package_free(in->package);
    json_decref(in->trusted);
}

/* ---- as one document, from which the text is made too ---- */

static json_t *hex_text(const uint8_t *bytes, size_t len)
{
    char hex[2 * 64 + 1];
    text_hex(hex, bytes, len);
    return json_string(hex);
}

static json_t *time_text(uint64_t seconds)
{
    char text[CLOCK_RFC3339_MAX];
    clock_rfc3339(seconds * NS_PER_S, text);
    return seconds ? json_string(text) : json_null();
}

static json_t *head_document(const struct package_head *h)
{
    return json_pack("{s:s, s:s, s:s, s:o, s:o, s:o, s:I, s:I, s:I}", "name", h->name, "version", h->version,
                     "algorithm", algorithm_name(h->algorithm), "key_id", hex_text(h->key_id, KEY_ID_LEN), "signed_at",
                     time_text(h->signed_at), "expires_at", time_text(h->expires_at), "manifest_bytes",
                     (json_int_t)h->manifest_len, "list_bytes", (json_int_t)h->files_len, "archive_bytes",
                     (json_int_t)h->archive_len);
}

static json_t *file_document(const struct unpacked *u, size_t i)
{
    uint8_t hash[32];
    size_t size = (size_t)u->sizes[i];
    void *bytes = size ? mmap(NULL, size, PROT_READ, MAP_PRIVATE, u->fds[i], 0) : NULL;
    if (bytes == MAP_FAILED)
        return NULL;
    sha256(bytes ? bytes : "", size, hash);
    if (bytes)
        munmap(bytes, size);
    return json_pack("{s:s, s:I, s:o}", "path", u->paths[i], "bytes", (json_int_t)size, "sha256",
                     hex_text(hash, sizeof hash));
}

/* The manifest as its author wrote it: verified bytes behind the head. */
static json_t *manifest_document(const struct inspection *in)
{
    const uint8_t *bytes;
    size_t len;
    package_bytes(in->package, &bytes, &len);
    return json_loadb((const char *)bytes + PACKAGE_HEAD, package_head(in->package)->manifest_len, 0, NULL);
}

static json_t *permissions_document(const struct manifest *m)
{
    json_t *list = json_array();
    for (size_t i = 0; i < m->nasks; i++) {
        json_t *suggested = json_array();
        for (size_t k = 0; k < m->asks[i].nscopes; k++)
            json_array_append_new(suggested, json_string(m->asks[i].scopes[k]));
        json_array_append_new(list, json_pack("{s:s, s:b, s:o}", "permission", permission_name(m->asks[i].permission),
                                              "required", m->asks[i].required, "suggested", suggested));
    }
    return list;
}

static json_t *document(const struct cli *c, const struct inspection *in)
{
    uint8_t hash[32];
    package_sha256(in->package, hash);
    const struct manifest *m = package_manifest(in->package);
    json_t *files = json_array(), *findings = json_array();
    for (size_t i = 0; i < in->files.count; i++)
        json_array_append_new(files, file_document(&in->files, i));
    for (size_t i = 0; i < in->findings.count; i++) {
        const struct finding *f = &in->findings.list[i];
        json_array_append_new(findings, json_pack("{s:s, s:s, s:s, s:s}", "code", error_info(f->code)->name, "message",
                                                  f->message, "where", f->where, "cure", f->cure));
    }
    json_t *root = json_pack("{s:s, s:o, s:o, s:b, s:b, s:o, s:o}", "file", c->args[0], "sha256",
                             hex_text(hash, sizeof hash), "head", head_document(package_head(in->package)), "verified",
                             in->verified, "valid", in->findings.count == 0, "files", files, "findings", findings);
    if (in->verified)
        json_object_set_new(root, "publisher", json_string(package_publisher(in->package)));
    if (m) {
        json_object_set_new(root, "permissions", permissions_document(m));
        json_object_set_new(root, "manifest", manifest_document(in));
    }
    return root;
}

/* ---- as text ---- */

static void show_document(const json_t *d)
{
    static const struct column head[] = {{"Package", "head.name", false},       {"Version", "head.version", false},
                                         {"SHA-256", "sha256", false},          {"Signed", "head.signed_at", false},
                                         {"Expires", "head.expires_at", false}, {"Key", "head.key_id", false},
                                         {"Algorithm", "head.algorithm", false}};
    static const struct column manifest[] = {{"Publisher", "publisher", false},
                                             {"Author", "manifest.author", false},
                                             {"About", "manifest.description", false},
                                             {"License", "manifest.license", false},
                                             {"Engine", "manifest.engine", false},
                                             {"Entry", "manifest.entry", false},
                                             {"Capabilities", "manifest.capabilities", false},
                                             {"Limits", "manifest.limits", false}};
    static const struct column actions[] = {{"ACTION", "name", false}, {"DESCRIPTION", "description", false}};
    static const struct column files[] = {
        {"FILE", "path", false}, {"BYTES", "bytes", true}, {"SHA-256", "sha256", false}};
    bool verified = json_is_true(json_object_get(d, "verified"));
    show_fields(d, head, sizeof head / sizeof *head);
    puts(verified ? "The signature is good: all that follows was signed by the publisher."
                  : "NOT VERIFIED: the lines above are claims, and nothing behind the head was looked at.");
    if (!verified)
        return;
    show_fields(d, manifest, sizeof manifest / sizeof *manifest);
    const json_t *permissions = json_object_get(d, "permissions");
    if (json_array_size(permissions)) {
        static const struct column asks[] = {
            {"ASKS FOR", "permission", false}, {"REQUIRED", "required", false}, {"SUGGESTED", "suggested", false}};
        show_table(permissions, asks, 3, "");
    } else {
        puts("Asks for no permission.");
    }
    show_table(json_object_get(json_object_get(d, "manifest"), "actions"), actions, 2, "No actions.");
    show_table(json_object_get(d, "files"), files, 3, "No files.");
}

int run_inspect(struct cli *c)
{
    struct inspection in = {0};
    struct error err;
    int rc = look(c, &in, &err);
    if (rc) {
        clear(&in);
        return rc < 0 ? cli_fail(c, &err) : rc;
    }
    json_t *d = document(c, &in);
    const json_t *findings = json_object_get(d, "findings");
    rc = in.findings.count ? error_info(in.findings.list[0].code)->exit : 0;
    if (cli_has(c, OPT_JSON)) {
        json_dumpf(d, stdout, JSON_COMPACT);
        putchar('\n');
    } else {
        show_document(d);
        puts(rc ? "It would be refused:" : "It would be accepted.");
        show_findings(findings);
    }
    json_decref(d);
    clear(&in);
    int written = cli_done(c);
    return rc ? rc : written;
}
