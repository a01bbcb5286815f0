/* Everything is read where the dynamic loader reads it, from the program headers and the dynamic segment: section
 * headers are for tools, and may say something else.  Where symbols need them, they must agree. */
#include "helper/elf_facts.h"

#include <gelf.h>
#include <stdlib.h>
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
    uint64_t symbols, symbols_offset; /* where the loader and where the file has them */
    struct {
        uint64_t address, size;
    } relocations[2]; /* DT_RELA and DT_JMPREL */
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
    if (d->d_tag == DT_FLAGS_1 && d->d_un.d_val & DF_1_NOOPEN)
        v->facts->value |= INSPECT_ELF_NO_OPEN;
}

/* The tables that the other entries point into; of an entry that stands twice the loader takes the last. */
static bool read_tables(struct view *v)
{
    uint64_t strings = 0, size = 0, offset;
    const struct {
        int64_t tag;
        uint64_t *value;
    } places[] = {
        {DT_STRTAB, &strings},
        {DT_STRSZ, &size},
        {DT_SYMTAB, &v->symbols},
        {DT_RELA, &v->relocations[0].address},
        {DT_RELASZ, &v->relocations[0].size},
        {DT_JMPREL, &v->relocations[1].address},
        {DT_PLTRELSZ, &v->relocations[1].size},
    };
    GElf_Dyn d;
    for (size_t i = 0; entry(v, i, &d); i++) {
        read_flags(v, &d);
        for (size_t k = 0; k < sizeof places / sizeof *places; k++)
            if (d.d_tag == places[k].tag)
                *places[k].value = d.d_un.d_val;
    }
    if (!size || !file_offset(v, strings, size, &offset) || v->bytes[offset + size - 1] != '\0')
        return false;
    v->strings = v->bytes + offset;
    v->strings_len = size;
    return file_offset(v, v->symbols, sizeof(Elf64_Sym), &v->symbols_offset);
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

/* The dynamic segment does not say how many symbols there are; the section does, and must be the same table. */
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

/* What the loader binds is what relocations name, whatever sections say.  `seen` has a bit for each symbol. */
struct walk {
    struct view *v;
    uint8_t *seen;
    size_t room; /* symbols that the file has space for */
};

static bool import(struct walk *w, uint64_t index)
{
    struct view *v = w->v;
    struct elf_facts *f = v->facts;
    Elf64_Sym symbol;
    uint64_t offset;
    if (index >= w->room || !file_offset(v, v->symbols + index * sizeof symbol, sizeof symbol, &offset))
        return false;
    if (w->seen[index / 8] >> index % 8 & 1)
        return true;
    w->seen[index / 8] |= (uint8_t)(1u << index % 8);
    memcpy(&symbol, v->bytes + offset, sizeof symbol);
    if (symbol.st_name >= v->strings_len)
        return false;
    if (symbol.st_shndx != SHN_UNDEF)
        return true;
    if (f->nimports == INSPECT_ELF_IMPORTS_MAX)
        f->value |= INSPECT_ELF_TOO_MANY;
    else
        f->imports[f->nimports++] = v->strings + symbol.st_name;
    return true;
}

static bool walk_relocations(struct walk *w, uint64_t address, uint64_t size)
{
    const struct view *v = w->v;
    uint64_t offset;
    if (!size)
        return true;
    if (!file_offset(v, address, size, &offset))
        return false;
    for (uint64_t at = 0; size - at >= sizeof(Elf64_Rela); at += sizeof(Elf64_Rela)) {
        Elf64_Rela r;
        memcpy(&r, v->bytes + offset + at, sizeof r);
        uint64_t index = ELF64_R_SYM(r.r_info);
        if (index && !import(w, index))
            return false;
    }
    return true;
}

static bool read_imports(struct view *v)
{
    struct walk w = {.v = v, .room = (v->len - v->symbols_offset) / sizeof(Elf64_Sym)};
    w.seen = calloc(w.room / 8 + 1, 1);
    v->facts->imports = calloc(w.room < INSPECT_ELF_IMPORTS_MAX ? w.room + 1 : INSPECT_ELF_IMPORTS_MAX, sizeof(char *));
    bool ok = w.seen && v->facts->imports;
    for (size_t i = 0; ok && i < sizeof v->relocations / sizeof *v->relocations; i++)
        ok = walk_relocations(&w, v->relocations[i].address, v->relocations[i].size);
    free(w.seen);
    return ok;
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
    return read_segments(v) && read_tables(v) && read_texts(v) && read_symbols(v) && read_imports(v);
}

void elf_facts_read(void *bytes, size_t len, struct elf_facts *out)
{
    *out = (struct elf_facts){0};
    struct view v = {.bytes = bytes, .len = len, .facts = out};
    elf_version(EV_CURRENT);
    v.elf = elf_memory(bytes, len);
    if (!v.elf || elf_kind(v.elf) != ELF_K_ELF || !read_all(&v)) {
        elf_facts_free(out);
        out->value = INSPECT_ELF_BROKEN;
    }
    elf_end(v.elf);
}

void elf_facts_free(struct elf_facts *f)
{
    free(f->imports);
    *f = (struct elf_facts){0};
}
