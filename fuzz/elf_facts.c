/* An ELF file out of a package, read as the inspector reads it and judged as the host judges what it hears.  Facts
 * point into the file, and a judgement that refuses says why.  The input is what stands behind the magic: a seed is no
 * ELF file itself. */
#include <elf.h>
#include <stdlib.h>
#include <string.h>

#include "helper/elf_facts.h"
#include "package/answer.h"

#define INPUT_MAX (1 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
    if (!holds)
        abort();
}

static void check_text(const uint8_t *bytes, size_t size, const char *text)
{
    const uint8_t *at = (const uint8_t *)text;
    must(at >= bytes && at < bytes + size && memchr(at, 0, size - (size_t)(at - bytes)));
}

static void check_facts(const struct elf_facts *f, const uint8_t *bytes, size_t size)
{
    must(f->count <= INSPECT_ELF_TEXTS_MAX && f->nimports <= INSPECT_ELF_IMPORTS_MAX);
    must(!(f->value & INSPECT_ELF_BROKEN) || (f->value == INSPECT_ELF_BROKEN && !f->count && !f->nimports));
    for (size_t i = 0; i < f->count; i++) {
        check_text(bytes, size, f->texts[i].text);
        must(strlen(f->texts[i].text) <= ARCHIVE_TEXT_MAX);
    }
    for (size_t i = 0; i < f->nimports; i++)
        check_text(bytes, size, f->imports[i]);
}

/* What src/package/answer.c makes of the records. */
static void hear(const struct elf_facts *f, struct file_facts *out)
{
    out->elf = true;
    out->value = f->value;
    out->count = f->count;
    for (size_t i = 0; i < f->count; i++) {
        out->texts[i].type = f->texts[i].type;
        memcpy(out->texts[i].text, f->texts[i].text, strlen(f->texts[i].text) + 1); /* its length was checked */
    }
    for (size_t i = 0; i < f->nimports; i++) {
        int place = imports_find(f->imports[i]);
        must(place < (int)imports_nsymbols);
        if (place >= 0)
            out->imports[place / 8] |= (uint8_t)(1u << place % 8);
    }
}

/* Once as the entry, once as a library beside another. */
static void judge(const struct elf_facts *f)
{
    static struct answer_text texts[2][INSPECT_ELF_TEXTS_MAX];
    static const char *const libraries[] = {"a.so"};
    static char library[] = "a.so", entry[] = "demo.so", *paths[] = {library, entry};
    static const struct manifest_ask asks[] = {{.permission = PERMISSION_FILE_READ}};
    const struct manifest m = {.entry = "demo.so", .libraries = libraries, .nlibraries = 1, .asks = asks, .nasks = 1};
    struct file_facts facts[2] = {{.texts = texts[0]}, {.texts = texts[1]}};
    struct answer a = {.files = {.paths = paths, .count = 2}, .facts = facts, .nfacts = 2};
    struct findings findings = {0};
    struct finding first = {0};
    hear(f, &facts[0]);
    hear(f, &facts[1]);
    bool refused = elf_judge(&m, &a, &findings, &first);
    must(refused == (findings.refusals > 0) && findings.refusals <= findings.count);
    must(!refused || (*first.message && *first.cure && strcmp(first.message, findings.list[0].message) == 0));
    for (size_t i = 0; i < findings.count; i++)
        must(findings.list[i].warning == (i >= findings.refusals) && *findings.list[i].cure);
    findings_free(&findings);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct elf_facts facts;
    if (size > INPUT_MAX)
        return 0;
    uint8_t *bytes = malloc(SELFMAG + size); /* of its exact size: a read behind it is seen */
    must(bytes != NULL);
    memcpy(bytes, ELFMAG, SELFMAG);
    memcpy(bytes + SELFMAG, data, size);
    size += SELFMAG;
    elf_facts_read(bytes, size, &facts);
    check_facts(&facts, bytes, size);
    judge(&facts);
    elf_facts_free(&facts);
    free(bytes);
    return 0;
}
