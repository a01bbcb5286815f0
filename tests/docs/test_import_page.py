"""docs/imports.md is what its table says."""

import subprocess
import sys


def test_the_page_is_made_of_the_table(root):
    table = root / "src" / "package" / "imports"
    made = subprocess.run([sys.executable, table / "imports.py", table / "imports.txt", "--docs"], capture_output=True, text=True,
                          check=True).stdout
    assert (root / "docs" / "imports.md").read_text() == made, "the command that makes it stands in its first lines"
