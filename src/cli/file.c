#include "cli/file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"

int file_as_body(struct ask *a, const char *path, struct error *err)
{
    fd_auto fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        return error_errno(err, MOAT_E_NO_SUCH_FILE, errno, "cannot read %.400s", path);
    if (!S_ISREG(st.st_mode))
        return error_set(err, MOAT_E_NO_SUCH_FILE, "%.400s is not a file", path);
    a->len = (size_t)st.st_size;
    a->file = io_steal(&fd);
    a->content_type = "application/octet-stream";
    return 0;
}

int file_read_stdin(struct buf *out, struct error *err)
{
    char chunk[64 * 1024];
    for (;;) {
        ssize_t n = read(STDIN_FILENO, chunk, sizeof chunk);
        if (n == 0)
            return 0;
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return error_errno(err, MOAT_E_NO_SUCH_FILE, errno, "cannot read standard input");
        if (!buf_put(out, chunk, (size_t)n))
            return error_set(err, MOAT_E_TOO_LARGE, "standard input has more than %zu bytes", out->max);
    }
}

int file_from_root(const char *file, char out[PATH_MAX], struct error *err)
{
    char here[PATH_MAX];
    if (file[0] != '/' && !getcwd(here, sizeof here))
        return error_errno(err, MOAT_E_STORAGE_FAILED, errno, "cannot tell the current directory");
    int n = file[0] == '/' ? snprintf(out, PATH_MAX, "%s", file) : snprintf(out, PATH_MAX, "%s/%s", here, file);
    return n < PATH_MAX ? 0 : error_set(err, MOAT_E_BAD_USAGE, "the path %.200s is too long", file);
}
