/* Duty "needs": what a program asks the kernel and the dynamic loader for. It is read where these two read it, from the
 * program headers and the dynamic segment; only what is asked for is read of the file at all. */
#include <elf.h>
#include <string.h>

#include "helper/duty.h"
#include "wire/archive.h"
#include "wire/needs.h"

#define SEGMENTS_MAX 64
#define ENTRIES_MAX 1024

#if defined(__x86_64__)
#define MACHINE EM_X86_64
#else
#define MACHINE EM_AARCH64
#endif

struct look {
    const struct duty_io *io;
    Elf64_Phdr segments[SEGMENTS_MAX];
    unsigned nsegments, said;
    Elf64_Dyn entries[ENTRIES_MAX];
    size_t nentries;
};

static bool get(const struct look *l, void *data, size_t len, uint64_t offset)
{
    return l->io->read(l->io->context, data, len, offset);
}

static bool say(struct look *l, enum needs_type type, const char *text)
{
    struct needs_record r = {.type = type, .text_len = (uint32_t)strlen(text)};
    if (++l->said > NEEDS_MAX && type != NEEDS_END)
        return false;
    return l->io->write(l->io->context, &r, sizeof r) && l->io->write(l->io->context, text, r.text_len);
}

/* The text at offset with its 0, of which `room` bytes are there; false: it is longer than a record, or none. */
static bool get_text(const struct look *l, uint64_t offset, uint64_t room, char out[NEEDS_TEXT_MAX + 1])
{
    size_t len = 0;
    while (len < room && len <= NEEDS_TEXT_MAX) {
        if (!get(l, out + len, 1, offset + len))
            return false;
        if (!out[len])
            return len > 0;
        len++;
    }
    return false;
}

/* Up to the first space behind the sign, as the kernel reads it. */
static bool script(struct look *l)
{
    char line[NEEDS_TEXT_MAX + 1];
    size_t len = 0;
    while (len < NEEDS_TEXT_MAX && get(l, line + len, 1, 2 + len) && line[len] != '\n' && line[len] != '\0')
        len++;
    line[len] = '\0';
    char *name = line + strspn(line, " \t");
    name[strcspn(name, " \t\r")] = '\0';
    return *name == '/' && say(l, NEEDS_SCRIPT, name);
}

/* Where the loader's address lies in the file, and how many bytes of the file follow it there. */
static bool file_offset(const struct look *l, uint64_t address, uint64_t *offset, uint64_t *room)
{
    for (unsigned i = 0; i < l->nsegments; i++) {
        const Elf64_Phdr *ph = &l->segments[i];
        if (ph->p_type != PT_LOAD || address < ph->p_vaddr || address - ph->p_vaddr >= ph->p_filesz)
            continue;
        *room = ph->p_filesz - (address - ph->p_vaddr);
        return !__builtin_add_overflow(ph->p_offset, address - ph->p_vaddr, offset);
    }
    return false;
}

static bool get_segments(struct look *l, const Elf64_Ehdr *h)
{
    if (h->e_phnum == 0 || h->e_phnum > SEGMENTS_MAX || h->e_phentsize != sizeof(Elf64_Phdr))
        return false;
    l->nsegments = h->e_phnum;
    return get(l, l->segments, h->e_phnum * sizeof(Elf64_Phdr), h->e_phoff);
}

static bool get_entries(struct look *l, const Elf64_Phdr *ph)
{
    uint64_t n = ph->p_filesz / sizeof(Elf64_Dyn);
    if (n == 0 || n > ENTRIES_MAX || !get(l, l->entries, n * sizeof(Elf64_Dyn), ph->p_offset))
        return false;
    while (l->nentries < n && l->entries[l->nentries].d_tag != DT_NULL)
        l->nentries++;
    return true;
}

static bool say_texts(struct look *l)
{
    uint64_t address = 0, offset, room;
    char text[NEEDS_TEXT_MAX + 1];
    for (size_t i = 0; i < l->nentries; i++)
        if (l->entries[i].d_tag == DT_STRTAB)
            address = l->entries[i].d_un.d_ptr;
    if (!file_offset(l, address, &offset, &room))
        return false;
    for (size_t i = 0; i < l->nentries; i++) {
        const Elf64_Dyn *d = &l->entries[i];
        bool library = d->d_tag == DT_NEEDED || d->d_tag == DT_AUXILIARY || d->d_tag == DT_FILTER;
        bool path = d->d_tag == DT_RPATH || d->d_tag == DT_RUNPATH;
        if (!library && !path)
            continue;
        if (d->d_un.d_val >= room || !get_text(l, offset + d->d_un.d_val, room - d->d_un.d_val, text) ||
            !say(l, library ? NEEDS_LIBRARY : NEEDS_PATH, text))
            return false;
    }
    return true;
}

static bool program(struct look *l, const Elf64_Ehdr *h)
{
    char text[NEEDS_TEXT_MAX + 1];
    bool dynamic = false;
    if (h->e_ident[EI_CLASS] != ELFCLASS64 || h->e_ident[EI_DATA] != ELFDATA2LSB || h->e_machine != MACHINE ||
        (h->e_type != ET_EXEC && h->e_type != ET_DYN) || !get_segments(l, h))
        return false;
    for (unsigned i = 0; i < l->nsegments; i++) {
        const Elf64_Phdr *ph = &l->segments[i];
        if (ph->p_type == PT_INTERP &&
            (!get_text(l, ph->p_offset, ph->p_filesz, text) || *text != '/' || !say(l, NEEDS_LOADER, text)))
            return false;
        if (ph->p_type == PT_DYNAMIC && (dynamic || !get_entries(l, ph)))
            return false;
        dynamic |= ph->p_type == PT_DYNAMIC;
    }
    return !dynamic || say_texts(l);
}

int duty_needs(const struct duty_io *io)
{
    static struct look l;
    Elf64_Ehdr h = {0};
    char sign[2] = "";
    l = (struct look){.io = io};
    if (get(&l, sign, sizeof sign, 0) && memcmp(sign, "#!", 2) == 0)
        return (script(&l) || say(&l, NEEDS_STRANGE, "")) && say(&l, NEEDS_END, "") ? HELPER_DONE : HELPER_BAD_INPUT;
    bool known = get(&l, &h, sizeof h, 0) && memcmp(h.e_ident, ELFMAG, SELFMAG) == 0 && program(&l, &h);
    return (known || say(&l, NEEDS_STRANGE, "")) && say(&l, NEEDS_END, "") ? HELPER_DONE : HELPER_BAD_INPUT;
}
