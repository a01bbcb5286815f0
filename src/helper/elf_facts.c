/* Everything is read where the dynamic loader reads it, from the program headers and the dynamic segment: section
 * headers are for tools, and may say something else.  Where symbols need them, they must agree. */
#include "helper/elf_facts.h"

#include <gelf.h>
#include <string.h>

struct view {
    Elf *elf;
    const char *bytes;
    size_t len, segments;
    Elf_Data *dynamic; /* translated DT_ entries */
    size_t entries;
    uint64_t dynamic_offset;
    const char *strings;
    size_t strings_len;
    uint64_t symbols_offset;
    struct elf_facts *facts;
};

bool elf_facts_looks_like(const void *bytes, size_t len)
{
    return len >= SELFMAG && memcmp(bytes, ELFMAG, SELFMAG) == 0;
}

/* Where the loader's address lies in the file; false when no segment holds it with `need` bytes of file behind it. */
static bool file_offset(const struct view *v, uint64_t address, uint64_t need, uint64_t *offset)
{
    GElf_Phdr ph;
    for (size_t i = 0; i < v->segments; i++) {
        if (!gelf_getphdr(v->elf, (int)i, &ph) || ph.p_type != PT_LOAD || address < ph.p_vaddr)
            continue;
        uint64_t inside = address - ph.p_vaddr;
        if (inside > ph.p_filesz || ph.p_filesz - inside < need || ph.p_offset > v->len ||
            v->len - ph.p_offset < inside + need)
            continue;
        *offset = ph.p_offset + inside;
        return true;
    }
    return false;
}

static bool read_segments(struct view *v)
{
    bool stack = false, dynamic = false;
    GElf_Phdr ph;
    if (elf_getphdrnum(v->elf, &v->segments) != 0)
        return false;
    for (size_t i = 0; i < v->segments; i++) {
        if (!gelf_getphdr(v->elf, (int)i, &ph))
            return false;
        if (ph.p_type == PT_LOAD && (ph.p_flags & (PF_W | PF_X)) == (PF_W | PF_X))
            v->facts->value |= INSPECT_ELF_WRITABLE;
        if (ph.p_type == PT_INTERP)
            v->facts->value |= INSPECT_ELF_PROGRAM;
        if (ph.p_type == PT_GNU_STACK) {
            stack = true;
            if (ph.p_flags & PF_X)
                v->facts->value |= INSPECT_ELF_STACK;
        }
        if (ph.p_type == PT_DYNAMIC) {
            if (dynamic || ph.p_offset > v->len || ph.p_filesz > v->len - ph.p_offset)
                return false;
            dynamic = true;
            v->dynamic_offset = ph.p_offset;
            v->dynamic = elf_getdata_rawchunk(v->elf, (int64_t)ph.p_offset, ph.p_filesz, ELF_T_DYN);
            v->entries = ph.p_filesz / sizeof(Elf64_Dyn);
        }
    }
    if (!stack)
        v->facts->value |= INSPECT_ELF_STACK;
    return v->dynamic != NULL;
}

/* Entry i of the dynamic segment; false at its end. */
static bool entry(const struct view *v, size_t i, GElf_Dyn *out)
{
    return i < v->entries && gelf_getdyn(v->dynamic, (int)i, out) && out->d_tag != DT_NULL;
}

static void read_flags(struct view *v, const GElf_Dyn *d)
{
    if (d->d_tag == DT_TEXTREL || (d->d_tag == DT_FLAGS && d->d_un.d_val & DF_TEXTREL))
        v->facts->value |= INSPECT_ELF_TEXT;
    if (d->d_tag == DT_FLAGS_1 && d->d_un.d_val & DF_1_PIE)
        v->facts->value |= INSPECT_ELF_PROGRAM;
}

/* The tables that the other entries point into. */
static bool read_tables(struct view *v)
{
    uint64_t strings = 0, size = 0, symbols = 0, offset;
    GElf_Dyn d;
    for (size_t i = 0; entry(v, i, &d); i++) {
        read_flags(v, &d);
        if (d.d_tag == DT_STRTAB)
            strings = d.d_un.d_ptr;
        else if (d.d_tag == DT_STRSZ)
            size = d.d_un.d_val;
        else if (d.d_tag == DT_SYMTAB)
            symbols = d.d_un.d_ptr;
    }
    if (!size || !file_offset(v, strings, size, &offset) || v->bytes[offset + size - 1] != '\0')
        return false;
    v->strings = v->bytes + offset;
    v->strings_len = size;
    return file_offset(v, symbols, sizeof(Elf64_Sym), &v->symbols_offset);
}

static bool add_text(struct view *v, enum inspect_type type, uint64_t at)
{
    if (at >= v->strings_len)
        return false;
    const char *text = v->strings + at; /* the table ends with a 0 */
    if (strlen(text) > ARCHIVE_TEXT_MAX)
        return false;
    if (v->facts->count == INSPECT_ELF_TEXTS_MAX) {
        v->facts->value |= INSPECT_ELF_TOO_MANY;
        return true;
    }
    v->facts->texts[v->facts->count].type = type;
    v->facts->texts[v->facts->count++].text = text;
    return true;
}

static bool read_texts(struct view *v)
{
    static const struct {
        int64_t tag;
        enum inspect_type type;
    } kinds[] = {
        {DT_NEEDED, INSPECT_NEEDED}, {DT_AUXILIARY, INSPECT_NEEDED}, /* loaded as well */
        {DT_FILTER, INSPECT_NEEDED}, {DT_SONAME, INSPECT_SONAME},
        {DT_RPATH, INSPECT_RUNPATH}, {DT_RUNPATH, INSPECT_RUNPATH},
    };
    GElf_Dyn d;
    for (size_t i = 0; entry(v, i, &d); i++)
        for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++)
            if (d.d_tag == kinds[k].tag && !add_text(v, kinds[k].type, d.d_un.d_val))
                return false;
    return true;
}

static bool is_plugin(const struct view *v, const GElf_Sym *symbol)
{
    return symbol->st_name < v->strings_len && strcmp(v->strings + symbol->st_name, "moat_plugin") == 0 &&
           symbol->st_shndx != SHN_UNDEF && GELF_ST_TYPE(symbol->st_info) == STT_OBJECT &&
           GELF_ST_BIND(symbol->st_info) != STB_LOCAL &&
           (GELF_ST_VISIBILITY(symbol->st_other) == STV_DEFAULT ||
            GELF_ST_VISIBILITY(symbol->st_other) == STV_PROTECTED);
}

/* The dynamic segment does not say how many symbols there are; the section does, and must be the same table.
 * What a library imports would be reported from here too. */
static bool read_symbols(struct view *v)
{
    Elf_Scn *section = NULL;
    GElf_Shdr sh;
    GElf_Sym symbol;
    while ((section = elf_nextscn(v->elf, section))) {
        if (!gelf_getshdr(section, &sh) || sh.sh_type != SHT_DYNSYM)
            continue;
        Elf_Data *data = elf_getdata(section, NULL);
        if (sh.sh_offset != v->symbols_offset || !data)
            return false;
        for (size_t i = 0; i < data->d_size / sizeof(Elf64_Sym); i++)
            if (gelf_getsym(data, (int)i, &symbol) && is_plugin(v, &symbol))
                v->facts->value |= INSPECT_ELF_PLUGIN;
        return true;
    }
    return false;
}

static bool read_all(struct view *v)
{
    GElf_Ehdr header;
    if (!gelf_getehdr(v->elf, &header))
        return false;
    v->facts->value |= (uint64_t)header.e_machine << 32 | (uint64_t)header.e_type << 48;
    if (header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_ident[EI_DATA] != ELFDATA2LSB) {
        v->facts->value |= INSPECT_ELF_OTHER;
        return true;
    }
    /* What is no shared object has none of the rest; the host says so by the type. */
    if (header.e_type != ET_DYN)
        return true;
    /* The loader insists on these, libelf does not. */
    if (header.e_phentsize != sizeof(Elf64_Phdr) || header.e_version != EV_CURRENT)
        return false;
    return read_segments(v) && read_tables(v) && read_texts(v) && read_symbols(v);
}

void elf_facts_read(void *bytes, size_t len, struct elf_facts *out)
{
    *out = (struct elf_facts){0};
    struct view v = {.bytes = bytes, .len = len, .facts = out};
    elf_version(EV_CURRENT);
    v.elf = elf_memory(bytes, len);
    if (!v.elf || elf_kind(v.elf) != ELF_K_ELF || !read_all(&v)) {
        out->value = INSPECT_ELF_BROKEN;
        out->count = 0;
    }
    elf_end(v.elf);
}
