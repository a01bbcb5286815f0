/* The registry at the size that it is made for: 100,000 versions of 20,000 plugins, half a million audit records.
 *
 * The database is made through the registry's own schema, search and trail in one transaction without syncing; no
 * package stands behind it, and nothing that is measured reads one. What an installation costs is measured with real
 * ones, at 100 versions and at 100,000: its time less that of its own syncs, which are timed one by one. */
#include <fcntl.h>
#include <gnutls/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/text.h"
#include "bench.h"
#include "registry/audit.h"
#include "registry/internal.h"
#include "registry/search.h"

#define PLUGINS 20000
#define VERSIONS 5
#define RECORDS 500000
#define PUBLISHERS 50
#define PAGE 100
#define HITS 20

/* ---- syncs are timed ---- */

static _Atomic uint64_t synced_ns;

static int timed(long call, int fd)
{
    uint64_t start = clock_mono_ns();
    int rc = (int)syscall(call, fd);
    synced_ns += clock_mono_ns() - start;
    return rc;
}

__attribute__((visibility("default"))) int fsync(int fd)
{
    return timed(SYS_fsync, fd);
}

__attribute__((visibility("default"))) int fdatasync(int fd)
{
    return timed(SYS_fdatasync, fd);
}

/* ---- what is in it ---- */

static uint64_t state = 88172645463325252ull;

static uint32_t dice(uint32_t n)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state % n);
}

/* Some 4,000 words of two to four syllables, the first ones far more often than the last. */
static void word(char out[24], uint32_t n)
{
    static const char *const syllables[] = {"ka", "to", "ri", "mel", "son", "da", "ver", "ti", "lo", "pra", "nu", "es"};
    char *p = out;
    n = n * 2654435761u % 20000;
    for (int i = 0; i < 2 || (n && i < 4); i++, n /= 12)
        p = stpcpy(p, syllables[n % 12]);
}

static void common_word(char out[24])
{
    uint32_t most = 1 + dice(4000);
    word(out, dice(most));
}

static void plugin_name(uint32_t i, char out[REGISTRY_NAME_MAX + 1])
{
    char first[24], second[24];
    word(first, i % 700);
    word(second, i / 700 + 700);
    snprintf(out, REGISTRY_NAME_MAX + 1, "%.11s_%.11s_%05u", first, second, i);
}

static void put_words(struct buf *out, int n)
{
    char one[24];
    for (int i = 0; i < n; i++) {
        common_word(one);
        buf_printf(out, "%s%s", i ? " " : "", one);
    }
}

static void make_manifest(struct buf *out, const char *name, const char *version)
{
    buf_clear(out);
    buf_printf(out, "{\"moat\":1,\"name\":\"%s\",\"version\":\"%s\",\"author\":\"", name, version);
    put_words(out, 2);
    buf_puts(out, "\",\"description\":\"");
    put_words(out, 12);
    buf_puts(out, "\",\"keywords\":[\"");
    put_words(out, 1);
    buf_puts(out, "\",\"");
    put_words(out, 1);
    buf_puts(out, "\"],\"engine\":\"native\",\"entry\":\"p.so\",\"capabilities\":[\"custom\"],\"actions\":[");
    for (int i = 0; i < 3; i++) {
        buf_printf(out, "%s{\"name\":\"", i ? "," : "");
        put_words(out, 1);
        buf_printf(out, "_%d\",\"description\":\"", i);
        put_words(out, 8);
        buf_puts(out, "\",\"parameters\":{\"type\":\"object\",\"properties\":{\"value\":{\"type\":\"number\"}}},"
                      "\"result\":{\"type\":\"object\"}}");
    }
    buf_puts(out, "]}");
}

/* ---- making it ---- */

struct place {
    char dir[256], registry[300], packages[300];
};

static void must(int rc, const struct error *err)
{
    if (rc < 0)
        bench_die("%s", err->message);
}

static void key_bytes(uint32_t publisher, uint8_t out[32])
{
    memset(out, 0, 32);
    memcpy(out, &publisher, sizeof publisher);
    out[31] = 1;
}

/* Its id, as package/key.h says. */
static void key_of(uint32_t publisher, uint8_t out[32])
{
    uint8_t bytes[32];
    key_bytes(publisher, bytes);
    if (gnutls_hash_fast(GNUTLS_DIG_SHA256, bytes, 32, out) < 0)
        bench_die("no SHA-256");
}

static void add_publishers(struct db *db, struct error *err)
{
    for (uint32_t i = 1; i <= PUBLISHERS; i++) {
        char name[16];
        uint8_t key[32], bytes[32];
        snprintf(name, sizeof name, "publisher%u", i);
        key_of(i, key);
        key_bytes(i, bytes);
        must(db_run(db, err, "INSERT INTO publisher (id, name, names, added_at) VALUES (?, ?, '*', 1)", "it",
                    (int64_t)i, name),
             err);
        must(db_run(db, err, "INSERT INTO key (id, publisher, algorithm, bytes, added_at) VALUES (?, ?, 1, ?, 1)",
                    "bib", key, (size_t)32, (int64_t)i, bytes, (size_t)32),
             err);
    }
}

static void add_version(struct db *db, uint32_t plugin, uint32_t v, const char *name, struct buf *manifest,
                        struct error *err)
{
    char version[24];
    uint8_t sha256[32] = {2}, key[32];
    uint32_t id = plugin * VERSIONS + v + 1;
    memcpy(sha256 + 4, &id, sizeof id);
    key_of(plugin % PUBLISHERS + 1, key);
    snprintf(version, sizeof version, "1.%u.0", v);
    make_manifest(manifest, name, version);
    must(db_run(db, err,
                "INSERT INTO version (id, plugin, version, sha256, size, key, signed_at, expires_at, installed_at,"
                " capabilities, permissions, manifest) VALUES (?, ?, ?, ?, 20000, ?, 1000, 0, 1000, ?, ?, ?)",
                "iitbbiit", (int64_t)id, (int64_t)plugin + 1, version, sha256, (size_t)32, key, (size_t)32,
                (int64_t)1 << dice(8), (int64_t)1 << dice(8), buf_text(manifest)),
         err);
}

static void add_plugins(struct db *db, uint32_t plugins, struct error *err)
{
    struct buf manifest = BUF_INIT(1 << 16);
    for (uint32_t i = 0; i < plugins; i++) {
        char name[REGISTRY_NAME_MAX + 1];
        plugin_name(i, name);
        must(db_run(db, err, "INSERT INTO plugin (id, name, owner, newest, first_at) VALUES (?, ?, ?, '1.4.0', 1)",
                    "iti", (int64_t)i + 1, name, (int64_t)(i % PUBLISHERS + 1)),
             err);
        for (uint32_t v = 0; v < VERSIONS; v++)
            add_version(db, i, v, name, &manifest, err);
        must(db_run(db, err, "INSERT INTO counter (plugin, version, day, calls) VALUES (?, '1.4.0', 0, 7)", "i",
                    (int64_t)i + 1),
             err);
    }
    must(db_run(db, err, "UPDATE plugin SET current = id * 5", ""), err);
    must(search_rebuild(db, err), err);
    buf_free(&manifest);
}

static void add_records(struct db *db, uint32_t records, struct error *err)
{
    struct registry_audit_head head;
    must(audit_load(db, &head, err), err);
    for (uint32_t i = 0; i < records; i++) {
        char subject[REGISTRY_NAME_MAX + 1];
        plugin_name(i % PLUGINS, subject);
        struct registry_audit_record e = {.time_ms = 1700000000000u + i,
                                          .count = 1,
                                          .actor = "uid:1000",
                                          .call = "00112233445566778899aabbccddeeff",
                                          .action = "plugin.use",
                                          .subject = subject,
                                          .outcome = "ok",
                                          .detail = "{\"version\":\"1.4.0\"}"};
        must(audit_append(db, &head, &e, err), err);
    }
    must(audit_save(db, &head, err), err);
}

static void fill(struct place *p, uint32_t plugins, uint32_t records)
{
    struct registry *r;
    struct db db;
    struct error err;
    char file[400];
    must(registry_open(p->registry, p->packages, &r, &err), &err);
    registry_close(r);
    snprintf(file, sizeof file, "%s/registry.db", p->registry);
    must(db_open(&db, file, true, &err), &err);
    sqlite3_exec(db.handle, "PRAGMA synchronous=OFF; PRAGMA journal_mode=MEMORY; PRAGMA cache_size=-200000; BEGIN",
                 NULL, NULL, NULL);
    add_publishers(&db, &err);
    add_plugins(&db, plugins, &err);
    add_records(&db, records, &err);
    if (sqlite3_exec(db.handle, "COMMIT; PRAGMA journal_mode=WAL", NULL, NULL, NULL) != SQLITE_OK)
        must(db_error(&db, &err), &err);
    db_close(&db);
}

/* In a process of its own, whose memory is not what is measured. */
static void make(struct place *p, uint32_t plugins, uint32_t records)
{
    int status;
    bench_home(p->dir);
    snprintf(p->registry, sizeof p->registry, "%s/registry", p->dir);
    snprintf(p->packages, sizeof p->packages, "%s/packages", p->dir);
    pid_t child = fork();
    if (child == 0) {
        fill(p, plugins, records);
        exit(0);
    }
    if (child < 0 || waitpid(child, &status, 0) != child || status)
        bench_die("the registry could not be made");
}

/* ---- measuring ---- */

static void print(const char *name, const char *unit, double value, struct samples *s)
{
    struct figure f = {.name = name,
                       .unit = unit,
                       .value = value,
                       .p50 = s ? samples_percentile(s, 50) / NS_PER_US : -1,
                       .p99 = s ? samples_percentile(s, 99) / NS_PER_US : -1,
                       .reference_value = -1,
                       .ratio = -1};
    figure_print(&f);
}

struct page {
    unsigned left;
    uint64_t bytes;
};

static bool take(void *context, const struct registry_plugin *p, const struct registry_version *v, const char *manifest,
                 size_t len)
{
    struct page *page = context;
    page->bytes += len;
    return --page->left > 0;
}

static void list_page(struct registry_reader *reader, struct error *err)
{
    char after[REGISTRY_NAME_MAX + 1];
    struct page page = {.left = PAGE};
    plugin_name(dice(PLUGINS), after);
    struct registry_filter filter = {.active = -1, .after = after};
    must(registry_each_plugin(reader, &filter, take, &page, err), err);
}

/* One word, a part of one, two words, a name, and one with a letter wrong. */
static void search(struct registry_reader *reader, struct error *err)
{
    char text[80], one[24], two[24];
    struct page page = {.left = HITS};
    common_word(one);
    common_word(two);
    switch (dice(5)) {
    case 0:
        snprintf(text, sizeof text, "%s", one);
        break;
    case 1:
        snprintf(text, sizeof text, "%.4s", one);
        break;
    case 2:
        snprintf(text, sizeof text, "%s %s", one, two);
        break;
    case 3:
        plugin_name(dice(PLUGINS), text);
        break;
    default:
        snprintf(text, sizeof text, "%s", one);
        text[strlen(text) / 2] = 'x';
    }
    struct registry_filter filter = {.active = -1, .text = text};
    must(registry_each_plugin(reader, &filter, take, &page, err), err);
}

static bool count_version(void *context, const struct registry_version *v)
{
    ++*(unsigned *)context;
    return true;
}

static bool count_decision(void *context, const struct registry_decision *d)
{
    ++*(unsigned *)context;
    return true;
}

/* Everything that `info` asks of the registry. */
static void info(struct registry_reader *reader, struct error *err)
{
    static struct buf manifest = {.max = 1 << 20};
    char name[REGISTRY_NAME_MAX + 1];
    struct registry_plugin p;
    struct registry_version v;
    struct registry_counts counts;
    unsigned n = 0;
    plugin_name(dice(PLUGINS), name);
    buf_clear(&manifest);
    must(registry_find_counts(reader, name, NULL, &counts, err), err);
    must(registry_snapshot_begin(reader, err), err);
    must(registry_find_plugin(reader, name, &p, err), err);
    must(registry_find_version(reader, name, p.current, &v, &manifest, err), err);
    must(registry_each_version(reader, name, count_version, &n, err), err);
    must(registry_each_decision(reader, name, count_decision, &n, err), err);
    registry_snapshot_end(reader);
    if (n != VERSIONS || counts.calls != 7)
        bench_die("%s has %u versions", name, n);
}

static void sampled(const char *name, struct registry_reader *reader, unsigned times,
                    void (*one)(struct registry_reader *reader, struct error *err))
{
    struct samples s = {0};
    struct error err;
    for (unsigned i = 0; i < times + times / 10; i++) {
        uint64_t start = clock_mono_ns();
        one(reader, &err);
        if (i >= times / 10) /* the first ones read from the disk */
            samples_add(&s, (double)(clock_mono_ns() - start));
    }
    print(name, "us", samples_percentile(&s, 50) / NS_PER_US, &s);
    samples_clear(&s);
}

static void install(struct registry *r, uint32_t n, struct error *err)
{
    static char content[20000];
    char name[REGISTRY_NAME_MAX + 1];
    struct registry_stage stage;
    uint8_t sha256[32] = {9}, key[32];
    struct buf manifest = BUF_INIT(1 << 16);
    memcpy(sha256 + 4, &n, sizeof n);
    key_of(1, key);
    snprintf(name, sizeof name, "installed_%u", n);
    make_manifest(&manifest, name, "1.0.0");
    must(registry_stage(r, content, sizeof content, &stage, err), err);
    struct registry_command c = {.verb = REGISTRY_INSTALL,
                                 .install = {.name = name,
                                             .version = "1.0.0",
                                             .newest = "1.0.0",
                                             .sha256 = sha256,
                                             .key = key,
                                             .size = sizeof content,
                                             .signed_at = 1000,
                                             .manifest = buf_text(&manifest),
                                             .stage = &stage}};
    must(registry_run(r, &c, err), err);
    buf_free(&manifest);
}

/* The median of what is not the disk's, in ms. */
static double install_overhead(struct registry *r)
{
    struct samples s = {0};
    struct error err;
    for (uint32_t i = 0; i < 200; i++) {
        uint64_t before = synced_ns, start = clock_mono_ns();
        install(r, i, &err);
        samples_add(&s, (double)(clock_mono_ns() - start - (synced_ns - before)));
    }
    double ms = samples_percentile(&s, 50) / NS_PER_MS;
    samples_clear(&s);
    return ms;
}

static void verify(struct registry_reader *reader)
{
    struct registry_audit_check check;
    struct error err;
    uint64_t start = clock_mono_ns();
    must(registry_audit_verify(reader, NULL, &check, &err), &err);
    double s = (double)(clock_mono_ns() - start) / NS_PER_S;
    if (check.problem[0] || check.records < RECORDS)
        bench_die("the trail: %s", check.problem);
    print("registry.audit_verify", "records/s", (double)check.records / s, NULL);
}

static double status_mib(const char *key)
{
    char line[200];
    double kib = 0;
    FILE *f = fopen("/proc/self/status", "re");
    while (f && fgets(line, sizeof line, f))
        if (strncmp(line, key, strlen(key)) == 0)
            kib = strtod(line + strlen(key), NULL);
    if (f)
        fclose(f);
    return kib / 1024;
}

static void open_ms(struct place *p)
{
    struct samples s = {0};
    struct error err;
    for (int i = 0; i < 15; i++) {
        struct registry *r;
        uint64_t start = clock_mono_ns();
        must(registry_open(p->registry, p->packages, &r, &err), &err);
        samples_add(&s, (double)(clock_mono_ns() - start));
        registry_close(r);
    }
    print("registry.open_ms", "ms", samples_percentile(&s, 50) / NS_PER_MS, &s);
    samples_clear(&s);
}

/* The whole command, its start and what it syncs included. */
static void command(const char *name, const char *const *argv)
{
    char moat[600];
    int status;
    snprintf(moat, sizeof moat, "%s/moat", bench_build());
    uint64_t start = clock_mono_ns();
    pid_t child = fork();
    if (child == 0) {
        int quiet = open("/dev/null", O_WRONLY);
        dup2(quiet, STDOUT_FILENO);
        execv(moat, (char *const *)(uintptr_t)argv);
        _exit(127);
    }
    if (child < 0 || waitpid(child, &status, 0) != child || status)
        bench_die("moat %s failed", argv[1]);
    print(name, "per_s", PLUGINS * VERSIONS / ((double)(clock_mono_ns() - start) / NS_PER_S), NULL);
}

static void export_and_import(const struct place *p)
{
    char file[300], other[256];
    snprintf(file, sizeof file, "%s/export.json", p->dir);
    bench_home(other);
    command("registry.export_per_s", (const char *[]){"moat", "export", "-o", file, "--home", p->dir, NULL});
    command("registry.import_per_s", (const char *[]){"moat", "import", file, "--home", other, NULL});
    bench_cleanup(other);
}

int main(void)
{
    struct place large, small;
    struct registry *r;
    struct registry_reader *reader;
    struct error err;
    struct stat st;
    char file[400];
    make(&large, PLUGINS, RECORDS);
    export_and_import(&large);
    snprintf(file, sizeof file, "%s/registry.db", large.registry);
    if (stat(file, &st) < 0)
        bench_die("no %s", file);
    int64_t trail = 0;
    struct db db;
    must(db_open(&db, file, false, &err), &err);
    must(db_number(&db, &err, 0, &trail, "SELECT sum(pgsize) FROM dbstat WHERE name IN ('audit', 'audit_subject')", ""),
         &err);
    db_close(&db);
    print("registry.bytes_per_version", "bytes", (double)(st.st_size - trail) / (PLUGINS * VERSIONS), NULL);
    open_ms(&large);
    must(registry_open(large.registry, large.packages, &r, &err), &err);
    must(registry_reader_new(r, &reader, &err), &err);
    sampled("registry.info", reader, 5000, info);
    sampled("registry.list_page", reader, 500, list_page);
    sampled("registry.search", reader, 500, search);
    verify(reader);
    print("registry.install_overhead_ms", "ms", install_overhead(r), NULL);
    registry_reader_free(reader);
    registry_close(r);
    bench_cleanup(large.dir);
    make(&small, 20, 0);
    must(registry_open(small.registry, small.packages, &r, &err), &err);
    print("registry.install_overhead_small_ms", "ms", install_overhead(r), NULL);
    registry_close(r);
    bench_cleanup(small.dir);
    print("registry.memory_mib", "MiB", status_mib("VmHWM:"), NULL);
    return 0;
}
