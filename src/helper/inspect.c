/* Duty "inspect": reads the archive of a package whose signature the host has checked, and tells what is in it.
 * libarchive sees tar alone; compression, limits and order are ours. */
#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "helper/duty.h"
#include "helper/elf_facts.h"
#include "helper/stream.h"
#include "wire/archive.h"

#define HEAD 512
#define BLOCK 512 /* of tar */
/* Headers, padding and the end of the archive, for as many entries as there may be. */
#define TAR_OVERHEAD ((ARCHIVE_FILES_MAX + 20) * 2 * BLOCK)

struct inspection {
    const struct duty_io *io;
    struct stream *stream;
    struct archive *archive;
    uint64_t budget;   /* left */
    uint64_t expected; /* where in the tar stream the next header must stand */
    unsigned count;
    char last[ARCHIVE_PATH_MAX + 1];
    bool gone; /* the host does not listen any more */
};

static void say(struct inspection *in, enum inspect_type type, const char *text, uint64_t value)
{
    size_t len = strnlen(text, ARCHIVE_TEXT_MAX);
    struct inspect_record r = {.type = type, .text_len = (uint32_t)len, .value = value};
    if (!in->gone)
        in->gone = !in->io->write(in->io->context, &r, sizeof r) || !in->io->write(in->io->context, text, len);
}

static enum inspect_refusal path_refusal(const struct inspection *in, const char *path)
{
    size_t len = path ? strnlen(path, ARCHIVE_PATH_MAX + 1) : 0;
    if (len == 0 || len > ARCHIVE_PATH_MAX || path[0] == '/')
        return INSPECT_REFUSAL_PATH;
    for (const char *p = path;; p++) {
        size_t n = strcspn(p, "/");
        if (n == 0 || (n == 1 && p[0] == '.') || (n == 2 && p[0] == '.' && p[1] == '.'))
            return INSPECT_REFUSAL_PATH;
        p += n;
        if (!*p)
            break;
    }
    /* Ascending: nothing can be there twice, and there is one order for one set of files. */
    return strcmp(in->last, path) >= 0 ? INSPECT_REFUSAL_ORDER : INSPECT_NOT_REFUSED;
}

static enum inspect_refusal entry_refusal(struct inspection *in, struct archive_entry *entry)
{
    const char *path = archive_entry_pathname(entry);
    /* pax and GNU headers can change any of the fields below; plain ustar says all it says in one block. */
    if (archive_format(in->archive) != ARCHIVE_FORMAT_TAR_USTAR)
        return INSPECT_REFUSAL_NOT_USTAR;
    if ((uint64_t)archive_read_header_position(in->archive) != in->expected)
        return INSPECT_REFUSAL_TRAILING;
    if (in->count == ARCHIVE_FILES_MAX)
        return INSPECT_REFUSAL_COUNT;
    if (archive_entry_filetype(entry) != AE_IFREG || archive_entry_hardlink(entry) || archive_entry_symlink(entry))
        return INSPECT_REFUSAL_KIND;
    if (archive_entry_perm(entry) & (S_ISUID | S_ISGID | S_ISVTX))
        return INSPECT_REFUSAL_MODE;
    if (archive_entry_xattr_count(entry) || archive_entry_sparse_count(entry) || archive_entry_acl_types(entry))
        return INSPECT_REFUSAL_EXTRA;
    if (!archive_entry_size_is_set(entry) || archive_entry_size(entry) < 0 ||
        (uint64_t)archive_entry_size(entry) > in->budget)
        return INSPECT_REFUSAL_SIZE;
    return path_refusal(in, path);
}

static bool read_content(struct inspection *in, uint8_t *bytes, size_t size)
{
    size_t got = 0;
    while (got < size) {
        la_ssize_t n = archive_read_data(in->archive, bytes + got, size - got);
        if (n <= 0)
            return false;
        got += (size_t)n;
    }
    return true;
}

static void say_elf(struct inspection *in, uint8_t *bytes, size_t size)
{
    struct elf_facts facts;
    if (!elf_facts_looks_like(bytes, size))
        return;
    elf_facts_read(bytes, size, &facts);
    say(in, INSPECT_ELF, "", facts.value);
    for (size_t i = 0; i < facts.count; i++)
        say(in, facts.texts[i].type, facts.texts[i].text, 0);
    for (size_t i = 0; i < facts.nimports; i++)
        say(in, INSPECT_IMPORT, facts.imports[i], 0);
    elf_facts_free(&facts);
}

static enum inspect_refusal inspect_entry(struct inspection *in, struct archive_entry *entry)
{
    enum inspect_refusal why = entry_refusal(in, entry);
    if (why)
        return why;
    const char *path = archive_entry_pathname(entry);
    size_t size = (size_t)archive_entry_size(entry);
    uint8_t *bytes = malloc(size ? size : 1);
    if (!bytes)
        return INSPECT_REFUSAL_MEMORY;
    if (!read_content(in, bytes, size)) {
        free(bytes);
        return stream_refusal(in->stream) ? stream_refusal(in->stream) : INSPECT_REFUSAL_BROKEN;
    }
    in->budget -= size;
    in->expected += BLOCK + (size + BLOCK - 1) / BLOCK * BLOCK;
    in->count++;
    memcpy(in->last, path, strlen(path) + 1);
    say(in, INSPECT_FILE, path, size);
    if (!in->gone)
        in->gone = !in->io->write(in->io->context, bytes, size);
    say_elf(in, bytes, size);
    free(bytes);
    return INSPECT_NOT_REFUSED;
}

/* Behind the last entry: zeros to the end of the frame, and the frame to the end of the package. */
static enum inspect_refusal check_end(struct inspection *in)
{
    const void *piece;
    while (stream_next(in->stream, &piece) > 0)
        ;
    if (stream_refusal(in->stream))
        return stream_refusal(in->stream);
    return stream_used(in->stream) > in->expected ? INSPECT_REFUSAL_TRAILING : INSPECT_NOT_REFUSED;
}

static enum inspect_refusal inspect_entries(struct inspection *in, const char **where)
{
    struct archive_entry *entry;
    for (;;) {
        int got = archive_read_next_header(in->archive, &entry);
        if (got == ARCHIVE_EOF)
            return check_end(in);
        if (stream_refusal(in->stream))
            return stream_refusal(in->stream);
        if (got != ARCHIVE_OK) {
            *where = archive_error_string(in->archive);
            return INSPECT_REFUSAL_BROKEN;
        }
        enum inspect_refusal why = inspect_entry(in, entry);
        if (why) {
            *where = archive_entry_pathname(entry);
            return why;
        }
        if (in->gone)
            return INSPECT_NOT_REFUSED;
    }
}

static la_ssize_t feed(struct archive *a, void *context, const void **piece)
{
    struct inspection *in = context;
    long n = stream_next(in->stream, piece);
    if (n < 0)
        archive_set_error(a, EIO, "the stream was refused");
    return n;
}

static enum inspect_refusal inspect_archive(struct inspection *in, const char **where)
{
    if (archive_read_support_format_tar(in->archive) != ARCHIVE_OK)
        return INSPECT_REFUSAL_MEMORY;
    if (archive_read_open(in->archive, in, NULL, feed, NULL) == ARCHIVE_OK)
        return inspect_entries(in, where);
    if (stream_refusal(in->stream))
        return stream_refusal(in->stream);
    return INSPECT_REFUSAL_NOT_USTAR;
}

static uint64_t get_le64(const uint8_t *p)
{
    uint64_t v = 0;
    for (int i = 7; i >= 0; i--)
        v = v << 8 | p[i];
    return v;
}

int duty_inspect(const struct duty_io *io)
{
    uint8_t head[HEAD];
    if (!io->read(io->context, head, sizeof head, 0))
        return HELPER_BAD_INPUT;
    /* The head was checked by the host; a wrong length only makes a read fail. */
    uint64_t offset = HEAD + get_le64(head + 40) + get_le64(head + 48), len = get_le64(head + 56);
    struct inspection in = {.io = io, .budget = archive_budget(len)};
    in.stream = stream_new(io, offset, len, in.budget + TAR_OVERHEAD);
    in.archive = archive_read_new();
    const char *where = NULL;
    enum inspect_refusal why =
        in.stream && in.archive ? inspect_archive(&in, &where) : (enum inspect_refusal)INSPECT_REFUSAL_MEMORY;
    if (why)
        say(&in, INSPECT_REFUSED, where ? where : "", why);
    else
        say(&in, INSPECT_END, "", 0);
    archive_read_free(in.archive);
    stream_free(in.stream);
    return in.gone ? HELPER_BAD_INPUT : HELPER_DONE;
}
