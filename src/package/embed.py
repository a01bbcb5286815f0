"""Prints a file as a C array: embed.py FILE SYMBOL."""
import sys

path, symbol = sys.argv[1:]
data = open(path, "rb").read()
print("#include <stddef.h>\n#include <stdint.h>\n")
print(f"extern const uint8_t {symbol}[];\nextern const size_t {symbol}_len;\n")
print(f"const uint8_t {symbol}[] = {{")
for i in range(0, len(data), 16):
    print("    " + " ".join(f"{b}," for b in data[i : i + 16]))
print(f"}};\nconst size_t {symbol}_len = {len(data)};")
