#include "package/answer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/io.h"
#include "wire/assets.h"

#define CHUNK (64 * 1024)

_Static_assert(ARCHIVE_FILES_MAX == PACKAGE_FILES_MAX && ARCHIVE_PATH_MAX == PACKAGE_PATH_MAX, "one set of caps");

struct reading {
    const struct answer_source *source;
    const struct files *expected;
    uint64_t budget; /* left */
    struct assets_writer assets;
    struct answer *answer;
    struct error *err;
};

static int nonsense(struct reading *r, const char *what)
{
    return error_set(r->err, MOAT_E_PACKAGE_DAMAGED, "the inspector's answer is refused: %s", what);
}

static int get(struct reading *r, void *data, size_t len)
{
    for (uint8_t *p = data; len;) {
        ssize_t n = r->source->read(r->source->context, p, len, r->err);
        if (n < 0)
            return (int)n;
        if (n == 0)
            return nonsense(r, "it ends too early");
        p += n;
        len -= (size_t)n;
    }
    return 0;
}

static int get_text(struct reading *r, uint32_t len, char out[ARCHIVE_TEXT_MAX + 1])
{
    if (len > ARCHIVE_TEXT_MAX)
        return nonsense(r, "a text is too long");
    int rc = get(r, out, len);
    if (rc == 0 && memchr(out, 0, len))
        return nonsense(r, "a text holds a zero byte");
    out[rc ? 0 : len] = '\0';
    return rc;
}

/* Paths of a package are printable ASCII; what is not is shown as it should not be seen. */
static void neutralise(char *text)
{
    for (unsigned char *p = (unsigned char *)text; *p; p++)
        if (*p < 0x20 || *p > 0x7e)
            *p = '?';
}

static int copy_content(struct reading *r, int fd, uint64_t size)
{
    uint8_t chunk[CHUNK];
    while (size) {
        size_t n = size < CHUNK ? (size_t)size : CHUNK;
        int rc = get(r, chunk, n);
        if (rc)
            return rc;
        if (!io_write_all(fd, chunk, n))
            return error_errno(r->err, MOAT_E_OUT_OF_MEMORY, errno, "no memory for the package's files");
        size -= n;
    }
    return 0;
}

/* Hashed after it was sealed: what has the right hash is what will run. */
static int check_hash(struct reading *r, int fd, size_t i)
{
    uint8_t hash[32];
    const struct files_entry *entry = &r->expected->list[i];
    uint64_t size = r->answer->files.sizes[i];
    void *map = size ? mmap(NULL, size, PROT_READ, MAP_SHARED, fd, (off_t)r->answer->files.offsets[i]) : NULL;
    if (map == MAP_FAILED)
        return error_errno(r->err, MOAT_E_OUT_OF_MEMORY, errno, "cannot map %s", entry->path);
    sha256(map ? map : "", size, hash);
    if (map)
        munmap(map, size);
    if (memcmp(hash, entry->sha256, sizeof hash) != 0)
        return error_set(r->err, MOAT_E_PACKAGE_DAMAGED, "%s is not what was signed: its SHA-256 does not match FILES",
                         entry->path);
    return 0;
}

/* A memory file of its own: the loader wants one. */
static int take_code(struct reading *r, size_t i)
{
    fd_auto fd = io_memfile("moat-file");
    if (fd < 0)
        return error_errno(r->err, MOAT_E_OUT_OF_MEMORY, errno, "no memory for the package's files");
    int rc = copy_content(r, fd, r->answer->files.sizes[i]);
    if (rc)
        return rc;
    fd_auto sealed = io_seal(fd);
    if (sealed < 0)
        return error_errno(r->err, MOAT_E_OUT_OF_MEMORY, errno, "cannot seal %s", r->expected->list[i].path);
    rc = check_hash(r, sealed, i);
    if (rc == 0)
        r->answer->files.fds[i] = io_steal(&sealed);
    return rc;
}

/* Beside the others; all are hashed together when their file is sealed. */
static int take_asset(struct reading *r, size_t i)
{
    struct unpacked *files = &r->answer->files;
    int rc = r->assets.list ? 0 : assets_begin(&r->assets, r->expected->count, r->err);
    if (rc)
        return rc;
    int64_t offset = assets_add(&r->assets, r->expected->list[i].path, files->sizes[i], r->err);
    if (offset < 0)
        return (int)offset;
    files->offsets[i] = (uint64_t)offset;
    return copy_content(r, r->assets.fd, files->sizes[i]);
}

static int read_file(struct reading *r, const struct inspect_record *record)
{
    struct unpacked *files = &r->answer->files;
    char path[ARCHIVE_TEXT_MAX + 1] = "";
    size_t i = files->count;
    int rc = get_text(r, record->text_len, path);
    if (rc)
        return rc;
    bool same = i < r->expected->count && strcmp(path, r->expected->list[i].path) == 0;
    neutralise(path);
    if (i == r->expected->count)
        return error_set(r->err, MOAT_E_NOT_A_PACKAGE, "the archive has %s, which FILES does not name", path);
    const struct files_entry *entry = &r->expected->list[i];
    if (!same)
        return error_set(r->err, MOAT_E_NOT_A_PACKAGE, "the archive has %s where FILES names %s", path, entry->path);
    if (record->value > r->budget)
        return error_set(r->err, MOAT_E_NOT_A_PACKAGE, "the archive unpacks to more than this host allows, at %s",
                         path);
    files->sizes[i] = record->value;
    files->fds[i] = -1;
    rc = entry->asset ? take_asset(r, i) : take_code(r, i);
    if (rc == 0 && !(files->paths[i] = strdup(path)))
        rc = error_set(r->err, MOAT_E_OUT_OF_MEMORY, "no memory for the package's files");
    if (rc) {
        io_close(&files->fds[i]);
        return rc;
    }
    r->budget -= record->value;
    files->count++;
    return 0;
}

/* The facts of the file before; NULL when there is none, or when it has no ELF record yet and needs one. */
static struct file_facts *facts_of_last(struct reading *r, bool need_elf)
{
    size_t n = r->answer->files.count;
    struct file_facts *f = n ? &r->answer->facts[n - 1] : NULL;
    return f && f->elf == need_elf ? f : NULL;
}

static int read_elf(struct reading *r, const struct inspect_record *record)
{
    struct file_facts *f = facts_of_last(r, false);
    if (!f || record->text_len)
        return nonsense(r, "facts without their file");
    f->texts = calloc(INSPECT_ELF_TEXTS_MAX, sizeof *f->texts);
    if (!f->texts)
        return error_set(r->err, MOAT_E_OUT_OF_MEMORY, "no memory for the package's files");
    f->elf = true;
    f->value = record->value;
    return 0;
}

static int read_elf_text(struct reading *r, const struct inspect_record *record)
{
    struct file_facts *f = facts_of_last(r, true);
    if (!f || f->count == INSPECT_ELF_TEXTS_MAX || record->value)
        return nonsense(r, "facts without their file, or too many");
    struct answer_text *t = &f->texts[f->count];
    t->type = (enum inspect_type)record->type;
    int rc = get_text(r, record->text_len, t->text);
    neutralise(t->text);
    f->count += rc == 0;
    return rc;
}

/* Only what the table knows is kept, as a bit: however many there are, they take no memory. */
static int read_import(struct reading *r, const struct inspect_record *record)
{
    char symbol[ARCHIVE_TEXT_MAX + 1];
    struct file_facts *f = facts_of_last(r, true);
    if (!f || f->nimports++ == INSPECT_ELF_IMPORTS_MAX || record->value)
        return nonsense(r, "imports without their file, or too many");
    int rc = get_text(r, record->text_len, symbol);
    int place = rc == 0 ? imports_find(symbol) : -1;
    if (place >= 0)
        f->imports[place / 8] |= (uint8_t)(1u << place % 8);
    return rc;
}

static int read_refused(struct reading *r, const struct inspect_record *record)
{
    static const char *const reasons[INSPECT_REFUSALS_END] = {
#define X(id, text) [INSPECT_REFUSAL_##id] = (text),
        INSPECT_REFUSALS(X)
#undef X
    };
    char where[ARCHIVE_TEXT_MAX + 1] = "";
    int rc = get_text(r, record->text_len, where);
    if (rc)
        return rc;
    neutralise(where);
    if (record->value >= INSPECT_REFUSALS_END || !reasons[record->value])
        return nonsense(r, "an unknown refusal");
    return error_set(r->err, MOAT_E_NOT_A_PACKAGE, "the archive %s%s%s", reasons[record->value], *where ? ": " : "",
                     where);
}

static int seal_assets(struct reading *r)
{
    struct unpacked *files = &r->answer->files;
    if (!r->assets.list)
        return 0;
    fd_auto sealed = assets_finish(&r->assets, r->err);
    int rc = sealed < 0 ? sealed : 0;
    for (size_t i = 0; rc == 0 && i < files->count; i++)
        if (r->expected->list[i].asset)
            rc = check_hash(r, sealed, i);
    if (rc == 0)
        files->assets = io_steal(&sealed);
    return rc;
}

static int read_end(struct reading *r, const struct inspect_record *record)
{
    const struct unpacked *files = &r->answer->files;
    uint8_t more;
    if (record->text_len || record->value)
        return nonsense(r, "an end with a tail");
    if (files->count < r->expected->count)
        return error_set(r->err, MOAT_E_NOT_A_PACKAGE, "FILES names %s, which the archive does not have",
                         r->expected->list[files->count].path);
    ssize_t n = r->source->read(r->source->context, &more, 1, r->err);
    return n < 0 ? (int)n : n ? nonsense(r, "bytes after its end") : seal_assets(r);
}

/* One record after the other; each reader consumes exactly its own. */
static int read_records(struct reading *r)
{
    static int (*const readers[INSPECT_TYPES])(struct reading *, const struct inspect_record *) = {
        [INSPECT_FILE] = read_file,       [INSPECT_ELF] = read_elf,          [INSPECT_NEEDED] = read_elf_text,
        [INSPECT_SONAME] = read_elf_text, [INSPECT_RUNPATH] = read_elf_text, [INSPECT_IMPORT] = read_import,
        [INSPECT_REFUSED] = read_refused, [INSPECT_END] = read_end,
    };
    for (;;) {
        struct inspect_record record;
        int rc = get(r, &record, sizeof record);
        if (rc == 0 && (record.type >= INSPECT_TYPES || !readers[record.type]))
            rc = nonsense(r, "an unknown record");
        if (rc == 0)
            rc = readers[record.type](r, &record);
        if (rc || record.type == INSPECT_END)
            return rc;
    }
}

static bool make_room(struct answer *a, size_t n)
{
    a->files.paths = calloc(n, sizeof *a->files.paths);
    a->files.fds = calloc(n, sizeof *a->files.fds);
    a->files.sizes = calloc(n, sizeof *a->files.sizes);
    a->files.offsets = calloc(n, sizeof *a->files.offsets);
    a->files.assets = -1;
    a->facts = calloc(n, sizeof *a->facts);
    a->nfacts = n;
    return a->files.paths && a->files.fds && a->files.sizes && a->files.offsets && a->facts;
}

struct unpacked answer_steal_files(struct answer *a)
{
    struct unpacked files = a->files;
    a->files = (struct unpacked){0};
    return files;
}

void answer_free(struct answer *a)
{
    for (size_t i = 0; a->facts && i < a->nfacts; i++)
        free(a->facts[i].texts);
    free(a->facts);
    unpacked_free(&a->files);
    *a = (struct answer){0};
}

int answer_read(const struct answer_source *source, const struct files *expected, uint64_t budget, struct answer *out,
                struct error *err)
{
    struct answer answer = {0};
    struct reading r = {
        .source = source, .expected = expected, .budget = budget, .assets = {.fd = -1}, .answer = &answer, .err = err};
    int rc = make_room(&answer, expected->count)
                 ? read_records(&r)
                 : error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory for the package's files");
    assets_abandon(&r.assets);
    if (rc) {
        answer_free(&answer);
        return rc;
    }
    *out = answer;
    return 0;
}

int unpacked_find(const struct unpacked *u, const char *path)
{
    for (size_t i = 0; i < u->count; i++)
        if (strcmp(u->paths[i], path) == 0)
            return u->fds[i];
    return -1;
}

void unpacked_free(struct unpacked *u)
{
    for (size_t i = 0; i < u->count; i++) {
        free(u->paths[i]);
        io_close(&u->fds[i]);
    }
    if (u->fds) /* an empty struct has no descriptor at all */
        io_close(&u->assets);
    free(u->paths);
    free(u->fds);
    free(u->sizes);
    free(u->offsets);
    *u = (struct unpacked){0};
}
