/* Would the code of a package run behind a worker's wall?  What the inspector reports is the publisher's word at best:
 * this saves authors and operators a failing start, the wall is what holds.  Rules over imported symbols belong here
 * too, beside these. */
#include <elf.h>
#include <stdio.h>
#include <string.h>

#include "package/answer.h"

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
    size_t count;     /* of what was found, whether or not there was room to keep it */
    const char *path; /* of the file being judged */
    const struct file_facts *facts;
};

/* What a worker has loaded before the plugin's code comes. */
static const char *const loaded[] = {
    "libc.so.6",  "libm.so.6",  "libgcc_s.so.1",        "libstdc++.so.6",        "libpthread.so.0",
    "libdl.so.2", "librt.so.1", "ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1",
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
        {INSPECT_ELF_TOO_MANY, "names more libraries and paths than a plugin may", "link fewer libraries"},
    };
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++)
        if (j->facts->value & rules[i].flag)
            add(j, rules[i].cure, rules[i].what);
}

/* A bundled library is found by the name it calls itself, because it is loaded before. */
static bool is_bundled(const struct judgement *j, const char *name)
{
    const struct manifest *m = j->manifest;
    const struct unpacked *files = &j->answer->files;
    for (size_t i = 0; i < files->count; i++) {
        bool library = false;
        for (size_t k = 0; k < m->nlibraries; k++)
            library = library || strcmp(m->libraries[k], files->paths[i]) == 0;
        const struct file_facts *f = &j->answer->facts[i];
        for (size_t k = 0; library && k < f->count; k++)
            if (f->texts[k].type == INSPECT_SONAME && strcmp(f->texts[k].text, name) == 0)
                return true;
    }
    return false;
}

static void judge_needed(struct judgement *j, const char *name)
{
    char text[ARCHIVE_TEXT_MAX + 100];
    for (size_t i = 0; i < sizeof loaded / sizeof *loaded; i++)
        if (strcmp(loaded[i], name) == 0)
            return;
    if (is_bundled(j, name))
        return;
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

static void judge_file(struct judgement *j, const char *path, bool entry)
{
    const struct unpacked *files = &j->answer->files;
    size_t i = 0;
    while (i < files->count && strcmp(files->paths[i], path) != 0)
        i++;
    j->path = path;
    j->facts = &j->answer->facts[i]; /* FILES and the archive have every file of the manifest */
    if (!judge_kind(j))
        return;
    judge_flags(j);
    judge_texts(j);
    if (entry && !(j->facts->value & INSPECT_ELF_PLUGIN))
        add(j, "define the plugin with MOAT_PLUGIN(…) of moat/plugin.h, and do not hide that symbol",
            "does not export moat_plugin");
}

bool elf_judge(const struct manifest *m, const struct answer *a, struct findings *findings, struct finding *first)
{
    struct judgement j = {.manifest = m, .answer = a, .findings = findings, .first = first};
    for (size_t i = 0; i < m->nlibraries; i++)
        judge_file(&j, m->libraries[i], false);
    judge_file(&j, m->entry, true);
    return j.count > 0;
}
