"""Prints files as C arrays, a 0 behind each that its length does not count: embed.py SYMBOL FILE [SYMBOL FILE ...]."""
import sys

print("#include <stddef.h>\n#include <stdint.h>")
for symbol, path in zip(sys.argv[1::2], sys.argv[2::2]):
    data = open(path, "rb").read()
    print(f"\nextern const uint8_t {symbol}[];\nextern const size_t {symbol}_len;\n")
    print(f"const uint8_t {symbol}[] = {{")
    for i in range(0, len(data), 16):
        print("    " + " ".join(f"{b}," for b in data[i : i + 16]))
    print(f"    0}};\nconst size_t {symbol}_len = {len(data)};")
