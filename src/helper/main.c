/* moat-helper: does one duty for the host over hostile bytes, behind a wall, and ends.  It has descriptor 0 (sealed
 * input), descriptor 1 (a pipe) and memory; it opens nothing, starts nothing and knows no secret.  The duty "net" has a
 * wall of its own, with sockets to other machines (helper/net.h). */
#include <errno.h>
#include <iconv.h>
#include <libelf.h>
#include <string.h>
#include <unistd.h>

#include "helper/duty.h"
#include "helper/net.h"
#include "helper/sql.h"
#include "sandbox/inside_helper.h"
#include "wire/archive.h"

static bool read_input(void *context, void *data, size_t len, uint64_t offset)
{
    for (uint8_t *p = data; len;) {
        ssize_t n = offset <= INT64_MAX ? pread(0, p, len, (off_t)offset) : 0;
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        p += n;
        len -= (size_t)n;
        offset += (uint64_t)n;
    }
    return true;
}

/* Records are small and files are large: small writes are gathered. */
static struct {
    size_t len;
    uint8_t bytes[64 * 1024];
} out;

static bool write_all(const uint8_t *data, size_t len)
{
    while (len) {
        ssize_t n = write(1, data, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        data += n;
        len -= (size_t)n;
    }
    return true;
}

static bool flush(void)
{
    bool ok = write_all(out.bytes, out.len);
    out.len = 0;
    return ok;
}

static bool write_output(void *context, const void *data, size_t len)
{
    if (len > sizeof out.bytes - out.len && !flush())
        return false;
    if (len > sizeof out.bytes)
        return write_all(data, len);
    memcpy(out.bytes + out.len, data, len);
    out.len += len;
    return true;
}

/* What it serves is opened by the host, or connected to before the wall stands; it lives until nobody asks. */
static _Noreturn void serve_sql(const char *called)
{
    if (!duty_sql_prepare())
        _exit(HELPER_BAD_USAGE);
    _exit(inside_helper_lock_sql(called, sql_start.kind != SQL_SQLITE, duty_sql_descriptors()) ? HELPER_NO_LOCK
                                                                                               : duty_sql());
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        int (*run)(const struct duty_io *io);
    } duties[] = {{"inspect", duty_inspect}, {"needs", duty_needs}, {"pack", duty_pack}};
    static const struct duty_io io = {.read = read_input, .write = write_output};
    if (argc == 2 && strcmp(argv[1], "net") == 0)
        _exit(duty_net(argv[0]));
    size_t i = 0, n = sizeof duties / sizeof *duties;
    if (argc == 2 && strcmp(argv[1], "sql") == 0)
        serve_sql(argv[0]);
    while (i < n && (argc != 2 || strcmp(argv[1], duties[i].name) != 0))
        i++;
    if (i == n)
        _exit(HELPER_BAD_USAGE);
    elf_version(EV_CURRENT);
    /* libarchive converts names in headers of formats that are refused a moment later: the C library looks for its
     * converters' list once, and must not go looking behind the lock.  Whether it finds one does not matter. */
    (void)iconv_open("ANSI_X3.4-1968", "UTF-8");
    /* Nothing hostile was read so far; nothing but the two descriptors is left from here on. */
    if (inside_helper_lock(argv[0]))
        _exit(HELPER_NO_LOCK);
    int status = duties[i].run(&io);
    if (!flush() && status == HELPER_DONE)
        status = HELPER_BAD_INPUT;
    _exit(status);
}
