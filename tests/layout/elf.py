"""Reads what a 64-bit little-endian ELF file says of itself: headers, dynamic section, symbols, notes."""

import struct

ET_DYN = 3
PT_LOAD, PT_DYNAMIC, PT_INTERP, PT_NOTE = 1, 2, 3, 4
PT_GNU_STACK, PT_GNU_RELRO = 0x6474E551, 0x6474E552
PF_X, PF_W = 1, 2
DT_NEEDED, DT_STRTAB, DT_SYMTAB, DT_RPATH, DT_TEXTREL, DT_FLAGS, DT_RUNPATH = 1, 5, 6, 15, 22, 30, 29
DT_FLAGS_1 = 0x6FFFFFFB
DF_TEXTREL, DF_BIND_NOW, DF_1_NOW, DF_1_PIE = 0x4, 0x8, 0x1, 0x08000000
SHT_SYMTAB, SHT_DYNSYM = 2, 11
NT_GNU_PROPERTY_TYPE_0, FEATURE_1_AND, IBT, SHSTK = 5, 0xC0000002, 1, 2


class Elf:
    def __init__(self, path):
        self.bytes = path.read_bytes()
        assert self.bytes[:6] == b"\x7fELF\x02\x01", f"{path} is no 64-bit little-endian ELF file"
        (self.type, self.machine, _, _, phoff, shoff, _, _, phentsize, phnum, shentsize, shnum, _) = struct.unpack_from(
            "<HHIQQQIHHHHHH", self.bytes, 16)
        self.segments = [self._segment(phoff + i * phentsize) for i in range(phnum)]
        self.sections = [struct.unpack_from("<IIQQQQIIQQ", self.bytes, shoff + i * shentsize) for i in range(shnum)]
        self.dynamic = self._dynamic()

    def _segment(self, at):
        kind, flags, offset, vaddr, _, filesz, memsz, align = struct.unpack_from("<IIQQQQQQ", self.bytes, at)
        return {"type": kind, "flags": flags, "offset": offset, "vaddr": vaddr, "size": filesz, "align": align}

    def segment(self, kind):
        return next((s for s in self.segments if s["type"] == kind), None)

    def offset(self, address):
        """Where in the file an address lies."""
        for s in self.segments:
            if s["type"] == PT_LOAD and s["vaddr"] <= address < s["vaddr"] + s["size"]:
                return address - s["vaddr"] + s["offset"]
        raise ValueError(hex(address))

    def string(self, at):
        return self.bytes[at:self.bytes.index(0, at)].decode()

    def _dynamic(self):
        segment, entries = self.segment(PT_DYNAMIC), []
        for at in range(segment["offset"], segment["offset"] + segment["size"], 16) if segment else ():
            tag, value = struct.unpack_from("<QQ", self.bytes, at)
            if tag == 0:
                break
            entries.append((tag, value))
        return entries

    def tag(self, wanted):
        return next((value for tag, value in self.dynamic if tag == wanted), None)

    def needed(self):
        strings = self.tag(DT_STRTAB)
        return {self.string(self.offset(strings + value)) for tag, value in self.dynamic if tag == DT_NEEDED}

    def symbols(self, kind):
        """(name, defined, value) of a symbol table: SHT_DYNSYM, or SHT_SYMTAB unless it was stripped."""
        for _, section, _, _, offset, size, link, _, _, entsize in self.sections:
            if section != kind:
                continue
            strings = self.sections[link][4]
            for at in range(offset + entsize, offset + size, entsize):
                name, _, _, index, value, _ = struct.unpack_from("<IBBHQQ", self.bytes, at)
                yield self.string(strings + name).split("@")[0], index != 0, value

    def imports(self):
        return {name for name, defined, _ in self.symbols(SHT_DYNSYM) if not defined}

    def names(self):
        return {name for kind in (SHT_DYNSYM, SHT_SYMTAB) for name, defined, _ in self.symbols(kind) if defined}

    def cet(self):
        """The x86 features that every part of the file was built for."""
        for s in self.segments:
            at, end = s["offset"], s["offset"] + s["size"]
            while s["type"] == PT_NOTE and at + 12 <= end:
                namesz, descsz, kind = struct.unpack_from("<III", self.bytes, at)
                description = at + 12 + (namesz + 3) // 4 * 4
                if kind == NT_GNU_PROPERTY_TYPE_0 and self.bytes[at + 12:at + 16] == b"GNU\0":
                    return self._property(description, description + descsz)
                at = description + (descsz + s["align"] - 1) // s["align"] * s["align"]
        return 0

    def _property(self, at, end):
        while at + 8 <= end:
            kind, size = struct.unpack_from("<II", self.bytes, at)
            if kind == FEATURE_1_AND:
                return struct.unpack_from("<I", self.bytes, at + 8)[0]
            at += 8 + (size + 7) // 8 * 8
        return 0

    def code_of(self, name, size=4):
        """The first bytes of a function; None when it is not to be found."""
        for symbol, defined, value in self.symbols(SHT_SYMTAB):
            if symbol == name and defined and value:
                at = self.offset(value)
                return self.bytes[at:at + size]
        return None
