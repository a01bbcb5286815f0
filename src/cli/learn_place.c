#include "cli/learn_place.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "base/text.h"
#include "cli/file.h"
#include "package/package.h"

/* ---- the directory ---- */

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    return remove(path);
}

void learn_place_remove(struct learn_place *p)
{
    json_decref(p->manifest);
    if (p->dir[0])
        nftw(p->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    *p = (struct learn_place){0};
}

static int path_in(const struct learn_place *p, const char *name, char out[PATH_MAX], struct error *err)
{
    int n = snprintf(out, PATH_MAX, "%s/%s", p->dir, name);
    return n < PATH_MAX ? 0 : error_set(err, MOAT_E_BAD_USAGE, "the path of %.200s is too long", name);
}

static int make_home(struct cli *c, struct learn_place *p, struct error *err)
{
    char home[PATH_MAX], packages[PATH_MAX], registry[PATH_MAX];
    const char *tmp = getenv("TMPDIR");
    int n = snprintf(p->dir, sizeof p->dir, "%s/moat-learn-XXXXXX", tmp && *tmp ? tmp : "/tmp");
    if (n >= PATH_MAX || !mkdtemp(p->dir)) {
        p->dir[0] = '\0';
        return error_errno(err, MOAT_E_STORAGE_FAILED, errno, "cannot make a directory to be thrown away");
    }
    int rc = path_in(p, "home", home, err);
    if (rc == 0)
        rc = path_in(p, "home/packages", packages, err);
    if (rc == 0)
        rc = path_in(p, "home/registry", registry, err);
    p->cli = *c;
    p->cli.secrets = (struct secrets){0}; /* this host's keys are no business of a plugin that is tried */
    p->cli.secrets_error = (struct error){0};
    if (rc == 0)
        rc = home_resolve(home, packages, registry, &p->cli.home, err);
    p->cli.home.mode = HOME_DEVELOPMENT;
    p->cli.home_known = true;
    return rc;
}

/* ---- the package, asking for everything ---- */

static int write_file(const char *path, const void *bytes, size_t len, struct error *err)
{
    fd_auto fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0 || !io_write_all(fd, bytes, len))
        return error_errno(err, MOAT_E_STORAGE_FAILED, errno, "cannot write %.400s", path);
    return 0;
}

static int write_entry(const struct learn_place *p, const struct unpacked *u, size_t i, struct error *err)
{
    char path[PATH_MAX], name[PACKAGE_PATH_MAX + 8];
    int from = u->fds[i] < 0 ? u->assets : u->fds[i];
    snprintf(name, sizeof name, "source/%s", u->paths[i]);
    int rc = path_in(p, name, path, err);
    if (rc < 0)
        return rc;
    char *slash = strrchr(path, '/');
    *slash = '\0';
    rc = io_mkdirs(path, 0700, err);
    *slash = '/';
    buf_auto bytes = BUF_INIT(PACKAGE_MAX_EVER);
    if (rc == 0 && u->sizes[i]) {
        if (!buf_reserve(&bytes, u->sizes[i]))
            return error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory for %.200s", u->paths[i]);
        ssize_t n = pread(from, bytes.data, u->sizes[i], (off_t)u->offsets[i]);
        if (n != (ssize_t)u->sizes[i])
            return error_errno(err, MOAT_E_STORAGE_FAILED, errno, "cannot read %.200s", u->paths[i]);
    }
    return rc < 0 ? rc : write_file(path, bytes.data, u->sizes[i], err);
}

/* Programs are named before they can be tried: a process that is refused does not say what it was to become. */
static json_t *programs_of(const json_t *manifest)
{
    static const char *const fields[] = {"required_permissions", "optional_permissions"};
    json_t *asked = NULL;
    for (size_t i = 0; i < sizeof fields / sizeof *fields && !asked; i++)
        asked = json_object_get(json_object_get(manifest, fields[i]), permission_name(PERMISSION_EXECUTE_CODE));
    return asked ? json_deep_copy(asked) : json_object();
}

/* Each permission optional and without a scope: nothing is needed for a start, and everything can be tried. */
static int write_manifest(const struct learn_place *p, struct error *err)
{
    char path[PATH_MAX];
    json_t *m = json_deep_copy(p->manifest), *all = json_object();
    for (int i = 0; i < PERMISSION_COUNT; i++)
        json_object_set_new(all, permission_name((enum permission)i),
                            i == PERMISSION_EXECUTE_CODE ? programs_of(m) : json_object());
    json_object_del(m, "required_permissions");
    json_object_set_new(m, "optional_permissions", all);
    char *text = json_dumps(m, JSON_INDENT(1));
    json_decref(m);
    int rc = text ? path_in(p, "source/plugin.json", path, err)
                  : error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory for the manifest");
    if (rc == 0)
        rc = write_file(path, text, strlen(text), err);
    free(text);
    return rc;
}

static int unpack(struct learn_place *p, struct package *package, struct spawner *spawner, struct error *err)
{
    char source[PATH_MAX];
    const uint8_t *bytes;
    size_t len;
    struct unpacked files = {0};
    int rc = package_unverified(package, err);
    if (rc == 0)
        rc = package_read(package, err);
    if (rc < 0)
        return rc;
    package_bytes(package, &bytes, &len);
    p->manifest = json_loadb((const char *)bytes + PACKAGE_HEAD, package_head(package)->manifest_len, 0, NULL);
    if (!p->manifest)
        return error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory for the manifest");
    rc = path_in(p, "source", source, err);
    if (rc == 0)
        rc = io_mkdirs(source, 0700, err);
    if (rc == 0)
        rc = package_unpack(package, spawner, &files, NULL, err);
    for (size_t i = 0; rc == 0 && i < files.count; i++)
        rc = write_entry(p, &files, i, err);
    if (rc == 0)
        rc = write_manifest(p, err);
    unpacked_free(&files);
    return rc;
}

static int pack(const struct learn_place *p, struct spawner *spawner, struct error *err)
{
    char source[PATH_MAX], out[PATH_MAX], made[4096];
    struct pack_options options = {.out_path = out};
    int rc = path_in(p, "source", source, err);
    if (rc == 0)
        rc = path_in(p, "learn.moat", out, err);
    return rc < 0 ? rc : package_pack(source, &options, spawner, made, err);
}

static int repack(struct learn_place *p, struct package *package, struct error *err)
{
    struct spawner *spawner = NULL;
    char worker[PATH_MAX], helper[PATH_MAX];
    const struct package_head *head = package_head(package);
    snprintf(p->name, sizeof p->name, "%s", head->name);
    snprintf(p->version, sizeof p->version, "%s", head->version);
    int rc = cli_executables(worker, helper, err);
    if (rc == 0)
        rc = spawner_start(worker, helper, &spawner, err);
    if (rc == 0)
        rc = unpack(p, package, spawner, err);
    if (rc == 0)
        rc = pack(p, spawner, err);
    spawner_stop(spawner);
    return rc;
}

/* ---- what the other home says ---- */

static bool is_file(const char *what)
{
    size_t len = strlen(what);
    return strchr(what, '/') || (len > 5 && strcmp(what + len - 5, ".moat") == 0);
}

static bool has_home(struct cli *c)
{
    return access(c->home.lock, F_OK) == 0;
}

/* NULL: it was reported, *rc is the exit status. */
static json_t *ask_for(struct cli *c, struct ask *a, int *rc)
{
    struct reply reply;
    *rc = ask_route(c, a, &reply);
    json_t *result = *rc == 0 ? json_loadb(reply.result, reply.len, JSON_DECODE_ANY, NULL) : NULL;
    if (*rc == 0 && !result)
        *rc = cli_failf(c, MOAT_E_INTERNAL, "the answer cannot be read");
    reply_free(&reply);
    return result;
}

/* Whose key it is, as far as this home knows: ceilings over a publisher hold for what its key has signed. */
static int find_publisher(struct cli *c, struct learn_place *p, const struct package *package)
{
    struct ask a;
    char id[KEY_ID_HEX];
    int rc;
    text_hex(id, package_head(package)->key_id, KEY_ID_LEN);
    ask_init(&a, "GET", "/api/trust");
    json_t *trust = ask_for(c, &a, &rc);
    const json_t *publishers = json_object_get(trust, "publishers");
    for (size_t i = 0; i < json_array_size(publishers); i++) {
        const json_t *one = json_array_get(publishers, i), *keys = json_object_get(one, "keys");
        for (size_t k = 0; k < json_array_size(keys); k++) {
            const char *known = json_string_value(json_object_get(json_array_get(keys, k), "id"));
            const char *name = json_string_value(json_object_get(one, "name"));
            if (known && name && strcmp(known, id) == 0)
                snprintf(p->publisher, sizeof p->publisher, "%s", name);
        }
    }
    json_decref(trust);
    return rc;
}

/* What is below a ceiling there can never be tried here. Here nobody has signed: over the publisher is over all. */
static int set_ceiling(struct learn_place *p, const json_t *ceiling)
{
    struct ask a;
    struct reply reply;
    buf_auto body = {0};
    const char *subject = json_string_value(json_object_get(ceiling, "subject"));
    const char *permission = json_string_value(json_object_get(ceiling, "permission"));
    const char *scope = json_string_value(json_object_get(ceiling, "scope"));
    if (!subject || !permission || !scope)
        return cli_failf(&p->cli, MOAT_E_INTERNAL, "a ceiling cannot be read");
    if (strncmp(subject, "publisher:", 10) == 0) {
        if (strcmp(subject + 10, p->publisher) != 0)
            return 0;
        subject = "everybody";
    }
    char never[PATH_MAX];
    snprintf(never, sizeof never, "%s%s%s", permission, *scope ? "=" : "", scope);
    json_t *object = json_pack("{s:s, s:s}", "subject", subject, "never", never);
    ask_init(&a, "POST", "/api/ceilings");
    ask_body(&a, object, &body);
    json_decref(object);
    int rc = ask_route(&p->cli, &a, &reply);
    reply_free(&reply);
    return rc;
}

static int take_ceilings(struct cli *c, struct learn_place *p, const struct package *package)
{
    struct ask a;
    if (!has_home(c))
        return 0;
    int rc = find_publisher(c, p, package);
    if (rc)
        return rc;
    ask_init(&a, "GET", "/api/ceilings");
    json_t *result = ask_for(c, &a, &rc);
    const json_t *list = json_object_get(result, "ceilings");
    for (size_t i = 0; rc == 0 && i < json_array_size(list); i++)
        rc = set_ceiling(p, json_array_get(list, i));
    json_decref(result);
    p->bounded = rc == 0;
    return rc;
}

static int set_config(struct learn_place *p, const char *key, const json_t *value)
{
    struct ask a;
    struct reply reply;
    char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
    ask_init(&a, "PUT", "/api/plugins/info");
    ask_segment(&a, p->name);
    buf_puts(&a.target, "/config");
    ask_segment(&a, key);
    a.content_type = "application/json";
    a.body = text ? text : "";
    a.len = text ? strlen(text) : 0;
    int rc = ask_route(&p->cli, &a, &reply);
    reply_free(&reply);
    free(text);
    return rc;
}

static int take_config(struct cli *c, struct learn_place *p, const char *name)
{
    struct ask a;
    int rc;
    ask_init(&a, "GET", "/api/plugins/info");
    ask_segment(&a, name);
    buf_puts(&a.target, "/config");
    json_t *result = ask_for(c, &a, &rc), *value;
    const char *key;
    json_object_foreach(json_object_get(result, "set"), key, value)
    {
        if (rc == 0)
            rc = set_config(p, key, value);
    }
    json_decref(result);
    return rc;
}

/* ---- together ---- */

static int fetch(struct cli *c, struct learn_place *p, const char *name, char file[PATH_MAX])
{
    struct ask a;
    struct error err;
    if (path_in(p, "fetched.moat", file, &err) < 0)
        return cli_fail(c, &err);
    ask_init(&a, "GET", "/api/plugins/info");
    ask_segment(&a, name);
    buf_puts(&a.target, "/package");
    return file_from_answer(c, &a, file);
}

static int install(struct learn_place *p)
{
    struct ask a;
    struct error err;
    struct reply reply;
    char file[PATH_MAX];
    ask_init(&a, "POST", "/api/plugins/install");
    if (path_in(p, "learn.moat", file, &err) < 0 || file_as_body(&a, file, &err) < 0) {
        ask_free(&a);
        return cli_fail(&p->cli, &err);
    }
    int rc = ask_route(&p->cli, &a, &reply);
    reply_free(&reply);
    return rc;
}

int learn_place_make(struct cli *c, const char *what, struct learn_place *out)
{
    struct package *package = NULL;
    struct error err;
    char file[PATH_MAX];
    bool installed = !is_file(what);
    *out = (struct learn_place){0};
    if (cli_home(c, &err) < 0 || make_home(c, out, &err) < 0)
        return cli_fail(c, &err);
    int rc = installed ? fetch(c, out, what, file) : 0;
    if (rc)
        return rc;
    if (package_open(installed ? file : what, PACKAGE_MAX_EVER, &package, &err) < 0 || repack(out, package, &err) < 0)
        rc = cli_fail(c, &err);
    if (rc == 0)
        rc = take_ceilings(c, out, package);
    if (rc == 0)
        rc = install(out);
    if (rc == 0 && installed)
        rc = take_config(c, out, what);
    package_free(package);
    return rc;
}
