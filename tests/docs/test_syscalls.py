"""docs/syscalls.md is the policy that is compiled in, and no other."""

import re
import subprocess


def test_the_table_is_the_policy(build, root):
    policies = sorted(map(str, (root / "src" / "sandbox" / "policy").glob("*.policy")))
    done = subprocess.run([build / "src" / "sandbox" / "policyc", "--table", *policies], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    page = (root / "docs" / "syscalls.md").read_text()
    assert page == done.stdout, ("docs/syscalls.md is not the policy any more; make it anew: "
                                 "build/src/sandbox/policyc --table src/sandbox/policy/*.policy > docs/syscalls.md")


def test_every_call_has_an_answer(build, root):
    """Each call that this architecture has stands in the worker's part, named or among the rest."""
    page = (root / "docs" / "syscalls.md").read_text()
    worker = page[page.index("## worker\n"):]
    worker = worker[:worker.index("\n## ", 4)]
    names = (build / "src" / "sandbox" / "syscall_names.h").read_text()
    there = set(re.findall(r'= "(\w+)"', names))
    assert len(there) > 300
    missing = {name for name in there if f"`{name}`" not in worker}
    assert not missing, missing
