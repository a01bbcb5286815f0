#include "bench.h"

#include <fcntl.h>
#include <ftw.h>
#include <glob.h>
#include <pthread.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <moat/moat.h>

#include "base/buf.h"
#include "base/io.h"

void bench_die(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("bench: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    exit(1);
}

const char *bench_build(void)
{
    const char *build = getenv("MOAT_BUILD");
    return build ? build : "build";
}

void bench_home(char path[256])
{
    snprintf(path, 256, "/tmp/moat-bench-XXXXXX");
    if (!mkdtemp(path))
        bench_die("cannot make a directory in /tmp");
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *where)
{
    return remove(path);
}

void bench_cleanup(const char *path)
{
    nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

void bench_moat(const char *const *arguments)
{
    char moat[600];
    const char *argv[16] = {moat};
    snprintf(moat, sizeof moat, "%s/moat", bench_build());
    for (size_t i = 0; i < 14 && arguments[i]; i++)
        argv[i + 1] = arguments[i];
    posix_spawn_file_actions_t quiet;
    posix_spawn_file_actions_init(&quiet);
    posix_spawn_file_actions_addopen(&quiet, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_addopen(&quiet, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    pid_t pid;
    int status;
    if (posix_spawn(&pid, moat, &quiet, NULL, (char *const *)(uintptr_t)argv, environ) ||
        waitpid(pid, &status, 0) != pid || status)
        bench_die("`moat %s %s` failed", arguments[0], arguments[1]);
    posix_spawn_file_actions_destroy(&quiet);
}

void bench_setting(const char *home, const char *key, const char *value)
{
    bench_moat((const char *const[]){"settings", "set", key, value, "--home", home, NULL});
}

struct moat *bench_open(const char *home)
{
    struct moat_options options = {.size = sizeof options, .home = home, .libexec = bench_build()};
    struct moat *m;
    struct moat_error error;
    if (moat_open(&options, &m, &error))
        bench_die("%s", error.message);
    return m;
}

char *bench_package(const char *name)
{
    static const char *const folders[] = {"packages-test", "packages"};
    for (size_t i = 0; i < 2; i++) {
        char pattern[600];
        snprintf(pattern, sizeof pattern, "%s/%s/%s-*.moat", bench_build(), folders[i], name);
        glob_t found;
        if (glob(pattern, 0, NULL, &found) == 0) {
            char *path = strdup(found.gl_pathv[0]);
            globfree(&found);
            return path;
        }
    }
    bench_die("there is no package %s in %s: run scripts/build", name, bench_build());
}

void bench_install(struct moat *m, const char *name)
{
    bench_install_granted(m, name, NULL, 0);
}

void bench_trust(struct moat *m)
{
    char pub[600];
    snprintf(pub, sizeof pub, "%s/packages/demo.pub", bench_build());
    buf_auto pem = BUF_INIT(4096);
    struct error why;
    if (io_read_file(pub, &pem, &why))
        bench_die("%s", why.message);
    struct moat_error error;
    if (moat_trust_add(m, "demo", buf_text(&pem), NULL, &error) && error.code != MOAT_E_ALREADY_EXISTS)
        bench_die("%s", error.message);
}

void bench_install_file(struct moat *m, const char *path, const char *const *grants, size_t ngrants)
{
    char *json = NULL;
    struct moat_error error;
    struct moat_install_options options = {.size = sizeof options, .grants = grants, .ngrants = ngrants};
    if (moat_install(m, path, &options, &json, &error))
        bench_die("%s: %s", path, error.message);
    moat_free(json);
}

void bench_install_granted(struct moat *m, const char *name, const char *const *grants, size_t ngrants)
{
    char *path = bench_package(name);
    bench_trust(m);
    bench_install_file(m, path, grants, ngrants);
    free(path);
}

/* ---- requests ---- */

struct asked {
    pthread_mutex_t lock;
    pthread_cond_t told;
    bool done;
};

static void answered(struct moat_rest_request *request)
{
    struct asked *a = request->context;
    pthread_mutex_lock(&a->lock);
    a->done = true;
    pthread_cond_signal(&a->told);
    pthread_mutex_unlock(&a->lock);
}

void bench_request(struct moat *m, const char *method, const char *target, const char *body_or_null)
{
    struct asked a = {.lock = PTHREAD_MUTEX_INITIALIZER, .told = PTHREAD_COND_INITIALIZER};
    struct moat_rest_header json = {"content-type", "application/json"};
    struct moat_rest_request r = {.size = sizeof r,
                                  .method = method,
                                  .target = target,
                                  .headers = &json,
                                  .nheaders = body_or_null ? 1 : 0,
                                  .body = body_or_null,
                                  .body_len = body_or_null ? strlen(body_or_null) : 0,
                                  .trusted = true,
                                  .context = &a};
    struct moat_error error;
    if (moat_rest_begin(m, &r, answered, &error))
        bench_die("%s %s: %s", method, target, error.message);
    pthread_mutex_lock(&a.lock);
    while (!a.done)
        pthread_cond_wait(&a.told, &a.lock);
    pthread_mutex_unlock(&a.lock);
    if (r.status < 200 || r.status > 299)
        bench_die("%s %s: %d %s", method, target, r.status, r.answer);
    moat_rest_end(&r);
}

/* ---- figures ---- */

void samples_add(struct samples *s, double ns)
{
    if (s->count == s->cap) {
        s->cap = s->cap ? 2 * s->cap : 1024;
        s->ns = realloc(s->ns, s->cap * sizeof *s->ns);
        if (!s->ns)
            bench_die("out of memory");
    }
    s->ns[s->count++] = ns;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

double samples_percentile(struct samples *s, double p)
{
    if (!s->count)
        bench_die("no samples");
    qsort(s->ns, s->count, sizeof *s->ns, by_value);
    size_t i = (size_t)(p / 100 * (double)s->count);
    return s->ns[i < s->count ? i : s->count - 1];
}

void samples_clear(struct samples *s)
{
    free(s->ns);
    *s = (struct samples){0};
}

void figure_print(const struct figure *f)
{
    printf("{\"name\":\"%s\",\"value\":%.6g,\"unit\":\"%s\"", f->name, f->value, f->unit);
    if (f->p50 >= 0)
        printf(",\"p50_us\":%.6g", f->p50);
    if (f->p99 >= 0)
        printf(",\"p99_us\":%.6g", f->p99);
    if (f->reference)
        printf(",\"reference\":\"%s\",\"reference_value\":%.6g,\"ratio\":%.4g", f->reference, f->reference_value,
               f->ratio);
    puts("}");
    fflush(stdout);
}
