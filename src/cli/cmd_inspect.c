/* `moat inspect`: what a package says of itself, how much of that is vouched for, and what is in it.  Its archive is
 * read behind the wall as at an installation; hashes are checked against its list whoever signed that. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/text.h"
#include "cli/file.h"
#include "cli/show.h"
#include "package/package.h"

struct inspection {
    struct package *package;
    struct public_key given; /* --key */
    json_t *told;            /* without it: what the home's owner says of the package, or NULL */
    struct unpacked files;
    struct findings findings; /* of this process */
    enum package_signature signature;
};

/* ---- whose key is it? ---- */

/* A trust_lookup that knows the one key that was given. */
static int look_up(void *context, const uint8_t id[KEY_ID_LEN], struct trust_answer *out, struct error *err)
{
    const struct inspection *in = context;
    *out = (struct trust_answer){.known = memcmp(in->given.id, id, KEY_ID_LEN) == 0, .key = in->given};
    strcpy(out->publisher, "the given key");
    strcpy(out->names, "*");
    return 0;
}

static enum package_signature parse_signature(const json_t *told)
{
    const char *text = json_string_value(json_object_get(told, "signature"));
    for (int s = PACKAGE_NOT_CHECKED; text && s <= PACKAGE_GOOD; s++)
        if (strcmp(text, package_signature_name((enum package_signature)s)) == 0)
            return (enum package_signature)s;
    return PACKAGE_NOT_CHECKED;
}

/* Without --key the home says whether it would accept these very bytes, if there is a home at all: looking into a
 * package makes none. 0, -MOAT_E_X, or the exit status of a failure that was reported. */
static int ask_home(struct cli *c, struct inspection *in, struct error *err)
{
    struct ask a;
    struct reply reply;
    const uint8_t *bytes;
    int rc = cli_home(c, err);
    if (rc < 0)
        return rc;
    if (access(c->home.lock, F_OK) < 0) {
        struct error why;
        error_set(&why, MOAT_E_UNKNOWN_KEY,
                  "the signature is not checked against a trusted key: there is no home here; give --key PUBFILE");
        findings_refuse(&in->findings, &why);
        return 0;
    }
    ask_init(&a, "POST", "/api/plugins/validate");
    package_bytes(in->package, &bytes, &a.len);
    a.body = bytes;
    a.content_type = "application/octet-stream";
    rc = ask_route(c, &a, &reply);
    if (rc == 0)
        in->told = json_loadb(reply.result, reply.len, 0, NULL);
    in->signature = parse_signature(in->told);
    reply_free(&reply);
    return rc;
}

static int ask_key(const struct cli *c, struct inspection *in, struct error *err)
{
    int rc = key_read_public(c->option[OPT_KEY], &in->given, err);
    return rc ? rc
              : package_survey(in->package, look_up, in, clock_wall_ns() / NS_PER_S, &in->findings, &in->signature,
                               err);
}

/* ---- looking ---- */

static int unpack(struct inspection *in, struct findings *findings, struct error *err)
{
    struct spawner *spawner = NULL;
    char worker[PATH_MAX], helper[PATH_MAX];
    struct error why;
    int rc = cli_executables(worker, helper, err);
    if (rc == 0)
        rc = spawner_start(worker, helper, &spawner, err);
    if (rc < 0)
        return rc;
    package_unpack(in->package, spawner, &in->files, findings, &why); /* its findings say all */
    spawner_stop(spawner);
    return 0;
}

/* Manifest, list and files of a package that is not known to be forged. What the home has found in them it has told
 * already. */
static int look_inside(struct inspection *in, struct error *err)
{
    struct findings told = {0}, *findings = in->signature == PACKAGE_GOOD && in->told ? &told : &in->findings;
    struct error why;
    if (in->signature == PACKAGE_BAD)
        return 0;
    int rc = 0;
    if (package_unverified(in->package, &why) < 0)
        findings_refuse(findings, &why);
    else
        rc = package_read_all(in->package, findings, err);
    if (rc == 0 && package_manifest(in->package))
        rc = unpack(in, findings, err);
    findings_free(&told);
    return rc;
}

/* Refusals become findings; what keeps us from looking is an error, or an exit status as of ask_home. */
static int look(struct cli *c, struct inspection *in, struct error *err)
{
    int rc = package_open(c->args[0], PACKAGE_MAX_EVER, &in->package, err);
    if (rc == 0)
        rc = cli_has(c, OPT_KEY) ? ask_key(c, in, err) : ask_home(c, in, err);
    return rc ? rc : look_inside(in, err);
}

static void clear(struct inspection *in)
{
    unpacked_free(&in->files);
    findings_free(&in->findings);
    package_free(in->package);
    json_decref(in->told);
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
    int fd = u->fds[i] < 0 ? u->assets : u->fds[i];
    void *bytes = size ? mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, (off_t)u->offsets[i]) : NULL;
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

static bool is_advice(const json_t *finding)
{
    const char *severity = json_string_value(json_object_get(finding, "severity"));
    return severity && strcmp(severity, "warn") == 0;
}

/* What the home told, then what was seen here besides; what refuses before what is only advice. */
static json_t *findings_document(const struct inspection *in)
{
    json_t *told = json_object_get(in->told, "findings"), *findings = json_array();
    for (int advice = 0; advice <= 1; advice++) {
        for (size_t i = 0; i < json_array_size(told); i++)
            if (is_advice(json_array_get(told, i)) == advice)
                json_array_append(findings, json_array_get(told, i));
        for (size_t i = 0; i < in->findings.count; i++) {
            const struct finding *f = &in->findings.list[i];
            if (f->warning != advice)
                continue;
            json_array_append_new(findings, json_pack("{s:s, s:s, s:s, s:s, s:s}", "code", error_info(f->code)->name,
                                                      "message", f->message, "where", f->where, "cure", f->cure,
                                                      "severity", f->warning ? "warn" : "refuse"));
        }
    }
    return findings;
}

/* Not by what could be shown of the findings alone: who has counted them is asked too. */
static bool nothing_refuses(const struct inspection *in, const json_t *findings)
{
    const json_t *first = json_array_get(findings, 0), *valid = json_object_get(in->told, "valid");
    return !in->findings.refusals && (!in->told || json_is_true(valid)) && (!first || is_advice(first));
}

static json_t *document(const struct cli *c, const struct inspection *in)
{
    uint8_t hash[32];
    package_sha256(in->package, hash);
    const struct manifest *m = package_manifest(in->package);
    bool good = in->signature == PACKAGE_GOOD;
    json_t *files = json_array(), *findings = findings_document(in);
    for (size_t i = 0; i < in->files.count; i++)
        json_array_append_new(files, file_document(&in->files, i));
    json_t *root =
        json_pack("{s:s, s:o, s:o, s:s, s:b, s:b, s:o, s:O}", "file", c->args[0], "sha256", hex_text(hash, sizeof hash),
                  "head", head_document(package_head(in->package)), "signature", package_signature_name(in->signature),
                  "verified", good, "valid", nothing_refuses(in, findings), "files", files, "findings", findings);
    json_decref(findings);
    if (in->told && good)
        json_object_set(root, "publisher", json_object_get(in->told, "publisher"));
    else if (good)
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
    static const struct {
        const char *name, *says;
    } words[] = {
        {"good", "The signature is good: all that follows was signed by the publisher."},
        {"not_checked",
         "SIGNATURE NOT CHECKED: nobody here knows the key. All of this is what the package says of itself."},
        {"none", "NOT SIGNED: all of this is what the package says of itself."},
        {"bad", "FORGED OR DAMAGED: the lines above are claims, and nothing behind the head was looked at."},
    };
    const char *signature = json_string_value(json_object_get(d, "signature"));
    show_fields(d, head, sizeof head / sizeof *head);
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (signature && strcmp(signature, words[i].name) == 0)
            puts(words[i].says);
    if (!json_object_get(d, "manifest"))
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
    const char *first = json_string_value(json_object_get(json_array_get(findings, 0), "code"));
    rc = json_is_true(json_object_get(d, "valid")) ? 0 : error_info(cli_code(first))->exit;
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
