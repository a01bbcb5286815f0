/* Would the code of a package run behind a worker's wall?  What the inspector reports is the publisher's word at best:
 * this saves authors and operators a failing start, the wall is what holds. */
#include <elf.h>
#include <stdio.h>
#include <string.h>

#include "package/answer.h"
#include "sandbox/libraries.h"

#if defined(__x86_64__)
#define HOST_MACHINE EM_X86_64
#define HOST_NAME "x86-64"
#elif defined(__aarch64__)
#define HOST_MACHINE EM_AARCH64
#define HOST_NAME "aarch64"
#else
#error "Moat knows the walls of x86-64 and aarch64"
#endif

struct judgement {
    const struct manifest *manifest;
    const struct answer *answer;
    struct findings *findings;
    struct finding *first;
    size_t count;     /* of what refuses, whether or not there was room to keep it */
    uint32_t asked;   /* permissions of the manifest, 1u << each */
    size_t place;     /* of the file being judged, as it is loaded: libraries in order, the entry last */
    const char *path; /* of it */
    const struct file_facts *facts;
};

static void add(struct judgement *j, const char *cure, const char *what)
{
    struct findings one = {.list = j->first, .cap = 1};
    if (j->count++ == 0)
        findings_add(&one, MOAT_E_IMPORT_REFUSED, j->path, cure, "%s %s", j->path, what);
    findings_add(j->findings, MOAT_E_IMPORT_REFUSED, j->path, cure, "%s %s", j->path, what);
}

/* Without these it is no library for this machine, and nothing else about it can be judged. */
static bool judge_kind(struct judgement *j)
{
    static const char build[] = "build it with -shared -fPIC for " HOST_NAME;
    uint64_t v = j->facts->value;
    char text[64];
    if (!j->facts->elf)
        return add(j, build, "is not an ELF file"), false;
    if (v & INSPECT_ELF_BROKEN)
        return add(j, build, "is not an ELF file that the loader can read"), false;
    if (v & INSPECT_ELF_OTHER || INSPECT_ELF_MACHINE(v) != HOST_MACHINE) {
        snprintf(text, sizeof text, "is for machine %u, this host is " HOST_NAME, INSPECT_ELF_MACHINE(v));
        return add(j, build, text), false;
    }
    if (INSPECT_ELF_TYPE(v) != ET_DYN || v & INSPECT_ELF_PROGRAM)
        return add(j, build, "is not a shared object"), false;
    return true;
}

static void judge_flags(struct judgement *j)
{
    static const struct {
        uint32_t flag;
        const char *what, *cure;
    } rules[] = {
        {INSPECT_ELF_STACK, "asks for an executable stack",
         "link it with -Wl,-z,noexecstack, and mark assembler sources with .note.GNU-stack"},
        {INSPECT_ELF_WRITABLE, "has a segment that is writable and executable",
         "link it without -N and without a linker script of its own"},
        {INSPECT_ELF_TEXT, "has relocations in its code", "compile everything in it with -fPIC"},
        {INSPECT_ELF_TOO_MANY, "names more libraries, paths or symbols than a plugin may", "link fewer libraries"},
        {INSPECT_ELF_NO_OPEN, "is marked against being loaded by dlopen, which is how a worker loads it",
         "link it without -z nodlopen"},
    };
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++)
        if (j->facts->value & rules[i].flag)
            add(j, rules[i].cure, rules[i].what);
}

static const struct file_facts *facts_of(const struct judgement *j, const char *path)
{
    const struct unpacked *files = &j->answer->files;
    size_t i = 0;
    while (i < files->count && strcmp(files->paths[i], path) != 0)
        i++;
    return &j->answer->facts[i]; /* FILES and the archive have every file of the manifest */
}

static const char *soname_of(const struct file_facts *f)
{
    for (size_t i = 0; i < f->count; i++)
        if (f->texts[i].type == INSPECT_SONAME)
            return f->texts[i].text;
    return NULL;
}

/* The place of the bundled library that calls itself so, among the first n; or -1.  By that name it is found, because
 * it is loaded before what needs it. */
static long bundled(const struct judgement *j, const char *name, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const char *soname = soname_of(facts_of(j, j->manifest->libraries[i]));
        if (soname && strcmp(soname, name) == 0)
            return (long)i;
    }
    return -1;
}

static void judge_soname(struct judgement *j)
{
    char text[ARCHIVE_TEXT_MAX + 100];
    const char *soname = soname_of(j->facts);
    if (!soname || !*soname) {
        add(j, "link it with -Wl,-soname,NAME", "has no soname, by which the others would find it");
    } else if (imports_library(soname)) {
        snprintf(text, sizeof text, "calls itself %s, which the worker has already", soname);
        add(j, "leave it out of the package", text);
    } else if (bundled(j, soname, j->place) >= 0) {
        snprintf(text, sizeof text, "calls itself %s, as a library before it does", soname);
        add(j, "give each library a soname of its own", text);
    }
}

static void judge_needed(struct judgement *j, const char *name)
{
    char text[ARCHIVE_TEXT_MAX + 100];
    if (imports_library(name) || bundled(j, name, j->place) >= 0)
        return;
    if (bundled(j, name, j->manifest->nlibraries) >= 0) {
        snprintf(text, sizeof text, "needs %s, which is loaded later", name);
        add(j, "list each library in \"libraries\" behind those it needs itself", text);
        return;
    }
    snprintf(text, sizeof text, "needs %s, which neither the worker nor the package has", name);
    add(j, "put it into the package with that soname and name it in \"libraries\", or link it statically", text);
}

/* "$ORIGIN" or below, in each element. */
static bool runpath_is_inside(const char *path)
{
    for (const char *p = path;; p++) {
        size_t n = strcspn(p, ":"), prefix = strncmp(p, "$ORIGIN", 7) == 0     ? 7
                                             : strncmp(p, "${ORIGIN}", 9) == 0 ? 9
                                                                               : 0;
        if (!prefix || (n > prefix && p[prefix] != '/'))
            return false;
        for (size_t i = prefix; i + 1 < n; i++)
            if (p[i] == '.' && p[i + 1] == '.')
                return false;
        p += n;
        if (!*p)
            return true;
    }
}

static void judge_texts(struct judgement *j)
{
    for (size_t i = 0; i < j->facts->count; i++) {
        const struct answer_text *t = &j->facts->texts[i];
        if (t->type == INSPECT_NEEDED)
            judge_needed(j, t->text);
        else if (t->type == INSPECT_RUNPATH && !runpath_is_inside(t->text))
            add(j, "link it without -rpath", "looks for libraries outside the package (RPATH or RUNPATH)");
    }
}

/* The permissions of a rule as a sentence has them: "file_read or file_write". */
static void put_permissions(struct buf *out, uint32_t permissions)
{
    bool first = true;
    for (unsigned p = 0; p < PERMISSION_COUNT; p++) {
        if (!(permissions >> p & 1))
            continue;
        buf_printf(out, "%s%s", first ? "" : " or ", permission_name((enum permission)p));
        first = false;
    }
}

#define SYMBOLS_SHOWN 4

/* "socket, connect and 3 more", of one rule; the count. */
static size_t put_symbols(struct buf *out, const struct file_facts *f, unsigned rule)
{
    size_t count = 0;
    for (size_t i = 0; i < imports_nsymbols; i++) {
        if (imports_symbols[i].rule != rule || !(f->imports[i / 8] >> i % 8 & 1))
            continue;
        if (count < SYMBOLS_SHOWN)
            buf_printf(out, "%s%s%s", count ? ", " : "", imports_symbols[i].name, imports_symbols[i].prefix ? "…" : "");
        count++;
    }
    if (count > SYMBOLS_SHOWN)
        buf_printf(out, " and %zu more", count - SYMBOLS_SHOWN);
    return count;
}

static void judge_rule(struct judgement *j, unsigned rule)
{
    const struct import_rule *r = &imports_rules[rule];
    buf_auto symbols = BUF_INIT(4096);
    buf_auto permissions = BUF_INIT(4096);
    char text[512], cure[200];
    if (j->asked & r->permissions || !put_symbols(&symbols, j->facts, rule))
        return;
    put_permissions(&permissions, r->permissions);
    if (r->permissions) {
        snprintf(text, sizeof text, "imports %s, which needs %s: %s", buf_text(&symbols), buf_text(&permissions),
                 r->why);
        snprintf(cure, sizeof cure,
                 "ask for %s in \"optional_permissions\" or \"required_permissions\", or leave out what imports it",
                 buf_text(&permissions));
    } else {
        snprintf(text, sizeof text, "imports %s, which nothing allows: %s", buf_text(&symbols), r->why);
        snprintf(cure, sizeof cure, "leave out what imports it");
    }
    if (r->refuses)
        add(j, cure, text);
    else
        findings_warn(j->findings, MOAT_E_IMPORT_REFUSED, j->path, cure, "%s %s", j->path, text);
}

static void judge_file(struct judgement *j, const char *path, size_t place)
{
    bool entry = place == j->manifest->nlibraries;
    j->path = path;
    j->place = place;
    j->facts = facts_of(j, path);
    if (!judge_kind(j))
        return;
    judge_flags(j);
    if (!entry)
        judge_soname(j);
    judge_texts(j);
    if (entry && !(j->facts->value & INSPECT_ELF_PLUGIN))
        add(j, "define the plugin with MOAT_PLUGIN(…) of moat/plugin.h, and do not hide that symbol",
            "does not export moat_plugin");
    for (unsigned rule = 0; rule < imports_nrules; rule++)
        judge_rule(j, rule);
}

uint32_t elf_libraries(const struct answer *a)
{
    uint32_t needed = 0;
    for (size_t i = 0; i < a->nfacts; i++)
        for (size_t k = 0; k < a->facts[i].count; k++)
            if (a->facts[i].texts[k].type == INSPECT_NEEDED)
                needed |= libraries_bit(a->facts[i].texts[k].text);
    return needed;
}

bool elf_judge(const struct manifest *m, const struct answer *a, struct findings *findings, struct finding *first)
{
    struct judgement j = {.manifest = m, .answer = a, .findings = findings, .first = first};
    for (size_t i = 0; i < m->nasks; i++)
        j.asked |= 1u << m->asks[i].permission;
    for (size_t i = 0; i < m->nlibraries; i++)
        judge_file(&j, m->libraries[i], i);
    judge_file(&j, m->entry, m->nlibraries);
    return j.count > 0;
}
