#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "service/internal.h"

#define WORKER "moat-worker"
#define HELPER "moat-helper"

static bool join(char out[PATH_MAX], const char *dir, const char *name)
{
    return (size_t)snprintf(out, PATH_MAX, "%s/%s", dir, name) < PATH_MAX && access(out, X_OK) == 0;
}

static void cut_name(char *path)
{
    char *slash = strrchr(path, '/');
    if (slash)
        *slash = '\0';
}

static bool beside_executable(char dir[PATH_MAX])
{
    ssize_t n = readlink("/proc/self/exe", dir, PATH_MAX - 1);
    if (n <= 0)
        return false;
    dir[n] = '\0';
    cut_name(dir);
    return true;
}

/* The shared libmoat, or again the executable. */
static bool beside_library(char dir[PATH_MAX])
{
    Dl_info info;
    char *real = dladdr((const void *)(uintptr_t)&locate_executables, &info) && info.dli_fname
                     ? realpath(info.dli_fname, NULL)
                     : NULL;
    bool fits = real && (size_t)snprintf(dir, PATH_MAX, "%s", real) < PATH_MAX;
    free(real);
    if (fits)
        cut_name(dir);
    return fits;
}

static bool find(const char *name, char out[PATH_MAX])
{
    char dir[PATH_MAX];
    const char *env = getenv("MOAT_LIBEXEC");
    return (beside_executable(dir) && join(out, dir, name)) || (beside_library(dir) && join(out, dir, name)) ||
           (env && *env && join(out, env, name)) || join(out, MOAT_LIBEXECDIR, name);
}

static int locate(const char *given, const char *name, char out[PATH_MAX], struct error *err)
{
    if (given) {
        if ((size_t)snprintf(out, PATH_MAX, "%s", given) < PATH_MAX && access(out, X_OK) == 0)
            return 0;
        return error_set(err, MOAT_E_NO_SUCH_FILE, "%.400s is not an executable", given);
    }
    if (find(name, out))
        return 0;
    return error_set(err, MOAT_E_NO_SUCH_FILE,
                     "%s is neither beside this program, nor in $MOAT_LIBEXEC, nor in " MOAT_LIBEXECDIR, name);
}

int locate_executables(const struct service_options *options, char worker[PATH_MAX], char helper[PATH_MAX],
                       struct error *err)
{
    int rc = locate(options->worker_path, WORKER, worker, err);
    return rc < 0 ? rc : locate(options->helper_path, HELPER, helper, err);
}
