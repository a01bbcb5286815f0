/* What TLS with a PostgreSQL server needs behind the wall: the certificates and the key that its options name, which
 * the host has read, and the reason when a certificate is not accepted, which libpq keeps to itself.
 *
 * libpq looks at files with `stat` and its TLS library reads them with `fopen64`: those names are found here first, as
 * an executable's symbols come before a library's, and three names that are no paths are answered from memory. Where a
 * library reads files in another way it finds none, and libpq refuses to go on: without its file no certificate is
 * accepted. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "helper/sql.h"
#include "helper/sql_postgres.h"

#define PUBLIC __attribute__((visibility("default"), used))

/* ---- files ---- */

static char *bytes; /* all of them, in the order of enum sql_file */

static size_t length(void)
{
    size_t n = 0;
    for (int i = 0; i < SQL_FILES; i++)
        n += sql_start.files[i];
    return n;
}

bool postgres_has_files(void)
{
    return length() > 0;
}

bool postgres_read_files(int fd)
{
    size_t n = length(), done = 0;
    for (int i = 0; i < SQL_FILES; i++)
        if (sql_start.files[i] > SQL_FILE_MAX)
            return false;
    bytes = malloc(n);
    while (bytes && done < n) {
        ssize_t got = pread(fd, bytes + done, n - done, (off_t)done);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return false;
        done += (size_t)got;
    }
    return bytes;
}

void postgres_forget(void)
{
    if (bytes)
        explicit_bzero(bytes, length());
    free(bytes);
    bytes = NULL;
    explicit_bzero(sql_start.options, sizeof sql_start.options);
}

/* The file of that name; NULL: it is none of these. */
static char *find(const char *name, size_t *len)
{
    static const char *const names[SQL_FILES] = SQL_FILE_NAMES;
    char *at = bytes;
    for (int i = 0; at && i < SQL_FILES; at += sql_start.files[i++])
        if (sql_start.files[i] && strcmp(name, names[i]) == 0) {
            *len = sql_start.files[i];
            return at;
        }
    return NULL;
}

/* By their names in the symbol table: the C library's headers make others of them. */
PUBLIC int own_stat(const char *path, struct stat *st) __asm__("stat");
PUBLIC FILE *own_fopen(const char *path, const char *mode) __asm__("fopen64");

/* A key has to be a file that is nobody else's. */
int own_stat(const char *path, struct stat *st)
{
    size_t len;
    if (!find(path, &len))
        return fstatat(AT_FDCWD, path, st, 0);
    *st = (struct stat){.st_mode = S_IFREG | 0400, .st_uid = geteuid(), .st_nlink = 1, .st_size = (off_t)len};
    return 0;
}

/* The C library's own is the next of that name. */
FILE *own_fopen(const char *path, const char *mode)
{
    FILE *(*next)(const char *path, const char *mode);
    size_t len;
    char *file = find(path, &len);
    if (file)
        return fmemopen(file, len, "r");
    *(void **)(void *)&next = dlsym(RTLD_NEXT, "fopen64");
    return next ? next(path, mode) : NULL;
}

/* ---- why a certificate is not accepted ---- */

typedef int verify_callback(int fine, void *store);

static struct {
    void (*set_verify)(void *session, int mode, verify_callback *callback);
    int (*get_error)(void *store);
    const char *(*error_string)(long error);
} tls;

static verify_callback *libpqs;
static char refused[128];

PUBLIC void own_set_verify(void *session, int mode, verify_callback *callback) __asm__("SSL_set_verify");

void postgres_load_tls(void *library)
{
    *(void **)(void *)&tls.set_verify = dlsym(library, "SSL_set_verify");
    *(void **)(void *)&tls.get_error = dlsym(library, "X509_STORE_CTX_get_error");
    *(void **)(void *)&tls.error_string = dlsym(library, "X509_verify_cert_error_string");
}

const char *postgres_refused_certificate(void)
{
    return refused;
}

/* Only listens: what becomes of it is libpq's decision, and without one the TLS library's. */
static int listen_in(int fine, void *store)
{
    if (!fine && !refused[0] && tls.get_error && tls.error_string)
        snprintf(refused, sizeof refused, "%s", tls.error_string(tls.get_error(store)));
    return libpqs ? libpqs(fine, store) : fine;
}

/* Without the real one nothing would be looked at: better no process. */
void own_set_verify(void *session, int mode, verify_callback *callback)
{
    if (!tls.set_verify)
        abort();
    libpqs = callback;
    tls.set_verify(session, mode, listen_in);
}
