"""The policy language: what its compiler refuses, and what the compiled filters answer, run in a small interpreter."""

import pathlib
import re
import struct
import subprocess

import pytest

POLICIES = pathlib.Path(__file__).resolve().parents[2] / "src" / "sandbox" / "policy"

ALLOW, NOTIFY, EPERM, ENOSYS, KILL = 0x7FFF0000, 0x7FC00000, 0x00050001, 0x00050026, 0x80000000
PRIVATE, SHARED, ANONYMOUS, GROWSDOWN, HUGETLB = 2, 1, 0x20, 0x100, 0x40000
READ, WRITE, EXEC = 1, 2, 4
X86_64 = 0xC000003E


@pytest.fixture(scope="module")
def policyc(build):
    return build / "src" / "sandbox" / "policyc"


def check(policyc, path):
    return subprocess.run([policyc, "--check", path], capture_output=True, text=True, check=False)


def test_our_policies_are_clean(policyc):
    for path in sorted(POLICIES.glob("*.policy")):
        result = check(policyc, path)
        assert result.returncode == 0, result.stderr


GOOD = "default notify\ngroup a: a reason that says why\n    allow read\n"

FAULTS = {
    "no_default": ("group a: a reason that says why\n    allow read\n", "no `default` action"),
    "no_reason": ("default notify\ngroup a:\n    allow read\n", "says why"),
    "short_reason": ("default notify\ngroup a: because\n    allow read\n", "says why"),
    "outside_a_group": ("default notify\nallow read\n", "outside a group"),
    "unknown_call": (GOOD + "    allow raed\n", "no system call is called raed"),
    "unknown_action": (GOOD + "    permit write\n", "no action is called permit"),
    "unknown_errno": (GOOD + "    errno EWHAT write\n", "errno needs"),
    "no_call": (GOOD + "    allow if arg0 == 1\n", "without a system call"),
    "twice": (GOOD + "    allow read\n", "read stands twice"),
    "two_groups": (GOOD + "group b: another reason for it\n    allow read\n", "stands in two groups"),
    "same_group_twice": (GOOD + "group a: another reason for it\n    allow write\n", "the group a stands twice"),
    "two_actions": (GOOD + "    allow fcntl if arg1 == 1\n    errno EPERM fcntl if arg1 == 2\n", "two actions"),
    "same_condition": (GOOD + "    allow fcntl if arg1 == 1\n    allow fcntl if arg1 == 1\n", "same condition"),
    "condition_and_none": (GOOD + "    allow fcntl\n    allow fcntl if arg1 == 1\n", "without a condition"),
    "bad_test": (GOOD + "    allow fcntl if arg9 == 1\n", "not a test"),
    "bad_constant": (GOOD + "    allow fcntl if arg1 == F_WHAT\n", "not a test"),
    "value_outside_mask": (GOOD + "    allow fcntl if arg1 & 1 == 2\n", "not a test"),
    "masked_inequality": (GOOD + "    allow fcntl if arg1 & 1 != 1\n", "not a test"),
    "joined_by_or": (GOOD + "    allow fcntl if arg1 == 1 or arg1 == 2\n", "joined by"),
    "bad_default": (GOOD.replace("notify", "maybe"), "the default is"),
    "ptrace": (GOOD + "    allow ptrace\n", "ptrace may never be allowed"),
    "memfd": (GOOD + "    explain memfd_create\n", "memfd_create may never be allowed"),
    "execve": (GOOD + "    explain execve\n", "execve may never be allowed"),
    "execve_unasked": ("relax-programs: a reason that says why\n" + GOOD + "    allow execve\n", "execve may never be allowed"),
    "execveat": ("relax-programs: a reason that says why\n" + GOOD + "    explain execveat\n", "execveat may never be allowed"),
    "socket": (GOOD + "    allow socket if arg0 == 1\n", "socket may never be allowed"),
    "any_mmap": (GOOD + "    allow mmap\n", "writable and executable"),
    "executable_anonymous": (
        GOOD + "    allow mmap if arg2 & PROT_EXEC|PROT_WRITE == PROT_EXEC and arg3 & MAP_TYPE == MAP_PRIVATE\n",
        "writable and executable",
    ),
    "executable_and_writable": (
        GOOD + "    allow mmap if arg2 & PROT_EXEC == PROT_EXEC and arg3 & MAP_TYPE|MAP_ANONYMOUS == MAP_PRIVATE\n",
        "writable and executable",
    ),
    "any_mprotect": (GOOD + "    allow mprotect\n", "writable and executable"),
    "use_after_group": (GOOD + "use other.policy\n", "before every group"),
    "use_of_nothing": ("use other.policy\n" + GOOD, "cannot be opened"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_refused(policyc, tmp_path, name):
    text, message = FAULTS[name]
    path = tmp_path / f"{name}.policy"
    path.write_text(text)
    result = check(policyc, path)
    assert result.returncode == 1
    assert message in result.stderr
    assert str(path) in result.stderr or "other.policy" in result.stderr


def test_the_model_of_the_faults_is_good(policyc, tmp_path):
    path = tmp_path / "good.policy"
    path.write_text(GOOD)
    assert check(policyc, path).returncode == 0


def test_nothing_is_written_for_a_bad_policy(policyc, tmp_path):
    path = tmp_path / "bad.policy"
    path.write_text(GOOD + "    allow ptrace\n")
    outputs = [tmp_path / "out.c", tmp_path / "names.h"]
    assert subprocess.run([policyc, *outputs, path], capture_output=True, check=False).returncode == 1
    assert not any(o.exists() for o in outputs)


# -- the compiled filters --


@pytest.fixture(scope="module")
def compiled(build):
    text = (build / "src" / "sandbox" / "policy_data.c").read_text()
    programs = {}
    for name, body in re.findall(r"sock_filter (\w+)_code\[\] = \{\n(.*?)\};", text, re.S):
        rows = re.findall(r"\{(0x\w+), (\d+), (\d+), (0x\w+)\}", body)
        programs[name] = [(int(c, 16), int(t), int(f), int(k, 16)) for c, t, f, k in rows]
    return programs


@pytest.fixture(scope="module")
def numbers(build):
    text = (build / "src" / "sandbox" / "syscall_names.h").read_text()
    return {name: int(n) for n, name in re.findall(r"\[(\d+)\] = \"(\w+)\"", text)}


def run(program, number, args, arch=X86_64):
    """Classic BPF over struct seccomp_data, as far as libseccomp uses it."""
    data = struct.pack("<IIQ6Q", number & 0xFFFFFFFF, arch, 0, *[a & (2**64 - 1) for a in args])
    accumulator, at = 0, 0
    for _ in range(100000):
        code, jump_true, jump_false, k = program[at]
        at += 1
        if code == 0x20:
            (accumulator,) = struct.unpack_from("<I", data, k)
        elif code == 0x54:
            accumulator &= k
        elif code == 0x05:
            at += k
        elif code in (0x15, 0x25, 0x35, 0x45):
            taken = {0x15: accumulator == k, 0x25: accumulator > k, 0x35: accumulator >= k, 0x45: bool(accumulator & k)}
            at += jump_true if taken[code] else jump_false
        elif code == 0x06:
            return k
        else:
            raise AssertionError(f"an instruction {code:#x} that the interpreter does not know")
    raise AssertionError("the filter does not end")


def six(*args):
    return list(args) + [0] * (6 - len(args))


SELF = 0x4D4F4154  # what stands for the process itself until the filter is set

CASES = [
    # policy, call, arguments, answer
    ("worker_fallback", "read", six(), ALLOW),
    ("worker_fallback_quiet", "openat", six(-100, 0, 0), ALLOW),
    ("worker_fallback_quiet", "openat", six(-100, 0, 0o10000000), EPERM),  # O_PATH: no right that Landlock asks for
    ("worker_fallback_quiet", "openat", six(-100, 0, 3), EPERM),  # an access mode that is neither reading nor writing
    ("worker_fallback_quiet", "open", six(0, 0o10000000), EPERM),
    ("worker_fallback_quiet", "open", six(0, 1, 0o4755), EPERM),
    ("worker_fallback", "newfstatat", six(), NOTIFY),
    ("worker_fallback_quiet", "stat", six(), EPERM),
    ("worker_fallback_quiet", "access", six(), EPERM),
    ("worker_fallback_quiet", "chdir", six(), EPERM),
    ("worker_fallback_quiet", "chmod", six(), EPERM),
    ("worker_fallback_quiet", "fchmod", six(3, 0o644), EPERM),
    ("worker_fallback_quiet", "utimensat", six(), EPERM),
    ("worker_fallback_quiet", "clone", six(0x3D0F00), EPERM),  # a thread
    ("worker_fallback_quiet", "mmap", six(0, 4096, READ | EXEC, PRIVATE, 3), EPERM),
    ("worker_fallback_quiet", "mmap", six(0, 4096, READ | WRITE, PRIVATE | ANONYMOUS, -1), ALLOW),
    ("worker_fallback_quiet", "tgkill", six(SELF, 1, 6), ALLOW),
    ("worker_fallback_quiet", "tgkill", six(1, 1, 6), EPERM),
    ("worker_fallback_quiet", "prlimit64", six(1), EPERM),
    ("worker_fallback_quiet", "getpgid", six(1), EPERM),
    ("worker_fallback_quiet", "connect", six(), EPERM),
    ("worker", "read", six(), ALLOW),
    ("worker", "openat", six(-100, 0, 0, 0o644), NOTIFY),
    ("worker_quiet", "openat", six(-100, 0, 0o101, 0o644), ALLOW),
    ("worker_quiet", "openat", six(-100, 0, 0o101, 0o4755), EPERM),
    ("worker_quiet", "openat", six(-100, 0, 0o101, 0o2755), EPERM),
    ("worker_quiet", "chmod", six(0, 0o6755), EPERM),
    ("worker_quiet", "fchmod", six(3, 0o4755), EPERM),
    ("worker", "fchmod", six(3, 0o4755), NOTIFY),
    ("worker_quiet", "ptrace", six(), EPERM),
    ("worker", "ptrace", six(), NOTIFY),
    ("worker", "mmap", six(0, 4096, READ | WRITE, PRIVATE | ANONYMOUS), ALLOW),
    ("worker", "mmap", six(0, 4096, READ | WRITE, SHARED | ANONYMOUS), NOTIFY),
    ("worker", "mmap", six(0, 4096, READ | WRITE, 3 | ANONYMOUS), NOTIFY),
    ("worker", "mmap", six(0, 4096, READ | WRITE, SHARED, 3), ALLOW),
    ("worker", "mmap", six(0, 4096, READ | EXEC, PRIVATE, 3), ALLOW),
    ("worker", "mmap", six(0, 4096, READ | WRITE | EXEC, PRIVATE, 3), NOTIFY),
    ("worker", "mmap", six(0, 4096, READ | EXEC, SHARED, 3), NOTIFY),
    ("worker", "mmap", six(0, 4096, READ | EXEC, 3, 3), NOTIFY),
    ("worker", "mmap", six(0, 4096, READ | EXEC, PRIVATE | ANONYMOUS), NOTIFY),
    ("worker", "mmap", six(0, 4096, READ | WRITE, PRIVATE | ANONYMOUS | GROWSDOWN), NOTIFY),
    ("worker", "mmap", six(0, 4096, READ | WRITE, PRIVATE | ANONYMOUS | HUGETLB), NOTIFY),
    ("worker", "mprotect", six(0, 4096, READ | WRITE), ALLOW),
    ("worker", "mprotect", six(0, 4096, READ | EXEC), NOTIFY),
    ("worker", "mprotect", six(0, 4096, 2**32 | EXEC), NOTIFY),
    ("worker", "pkey_mprotect", six(0, 4096, READ), NOTIFY),
    ("worker_execute", "mmap", six(0, 4096, 7, PRIVATE | ANONYMOUS), ALLOW),
    ("worker_execute", "mmap", six(0, 4096, 7, SHARED | ANONYMOUS), NOTIFY),
    ("worker_execute", "mmap", six(0, 4096, 3, PRIVATE | ANONYMOUS | GROWSDOWN), NOTIFY),
    ("worker_execute", "mprotect", six(0, 4096, 7), ALLOW),
    ("worker_execute", "execve", six(), NOTIFY),
    ("worker_quiet", "execve", six(), EPERM),
    ("worker_execute_quiet", "execve", six(), EPERM),
    ("worker_execute", "fork", six(), NOTIFY),
    ("worker_programs", "execve", six(), NOTIFY),
    ("worker_programs_quiet", "execve", six(), ALLOW),  # the mounts and Landlock decide
    ("worker_programs_quiet", "execveat", six(), EPERM),
    ("worker_programs", "clone", six(17), ALLOW),  # fork
    ("worker_programs", "clone", six(0x4111), ALLOW),  # posix_spawn
    ("worker_programs", "clone", six(0x111), NOTIFY),  # memory shared for longer
    ("worker_programs", "clone", six(0x8011), NOTIFY),  # a sibling
    ("worker_programs", "clone", six(0x10000011), NOTIFY),  # a user namespace
    ("worker_programs", "clone", six(0x20000011), NOTIFY),  # a pid namespace
    ("worker_programs", "clone", six(0x3D0F00), ALLOW),
    ("worker_programs", "clone3", six(), ENOSYS),
    ("worker_programs", "kill", six(1, 9), ALLOW),
    ("worker_programs", "ptrace", six(), NOTIFY),
    ("worker_programs", "process_vm_readv", six(), NOTIFY),
    ("worker_programs", "memfd_create", six(), NOTIFY),
    ("worker_programs", "socket", six(1, 1), NOTIFY),
    ("worker_programs", "unshare", six(), NOTIFY),
    ("worker_programs", "mmap", six(0, 4096, 7, PRIVATE | ANONYMOUS), NOTIFY),
    ("worker_programs", "mprotect", six(0, 4096, READ | EXEC), NOTIFY),
    ("worker_execute_programs", "mmap", six(0, 4096, 7, PRIVATE | ANONYMOUS), ALLOW),
    ("worker_execute_programs", "execve", six(), NOTIFY),
    ("worker_execute_programs", "fork", six(), ALLOW),
    ("worker_programs", "arch_prctl", six(0x1002), ALLOW),
    ("worker_programs", "arch_prctl", six(0x1012), NOTIFY),
    ("worker", "clone", six(0x3D0F00), ALLOW),
    ("worker", "clone", six(17), NOTIFY),
    ("worker", "clone", six(0x3D0F00 | 0x10000000), NOTIFY),
    ("worker", "clone", six(0x3D0F00 | 0x20000), NOTIFY),
    ("worker", "clone3", six(), ENOSYS),
    ("worker", "io_uring_setup", six(), ENOSYS),
    ("worker", "futex", six(0, 128), ALLOW),
    ("worker", "futex", six(0, 129 | 256), ALLOW),
    ("worker", "futex", six(0, 6), NOTIFY),
    ("worker", "futex", six(0, 134), NOTIFY),
    ("worker", "fcntl", six(3, 1), ALLOW),
    ("worker", "fcntl", six(3, 4), NOTIFY),
    ("worker", "fcntl", six(3, 1031), NOTIFY),
    ("worker", "fcntl", six(3, 2**32 + 1), NOTIFY),
    ("worker", "ioctl", six(1, 0x5401), ALLOW),
    ("worker", "ioctl", six(1, 0x5412), NOTIFY),
    ("worker", "madvise", six(0, 0, 12), NOTIFY),
    ("worker", "madvise", six(0, 0, 4), ALLOW),
    ("worker", "eventfd2", six(), NOTIFY),
    ("worker_last", "read", six(), ALLOW),
    ("worker_last", "sendmsg", six(), EPERM),
    ("worker_last", "sendmmsg", six(), EPERM),
    ("worker_last", "seccomp", six(), EPERM),
    ("worker_last", "prctl", six(15), ALLOW),
    ("worker_last", "prctl", six(1), EPERM),
    ("worker_last", "prctl", six(2**32 + 15), EPERM),
    ("worker_last", "prlimit64", six(0, 7, 0, 1), ALLOW),
    ("worker_last", "prlimit64", six(0, 7, 1), EPERM),
    ("worker", "recvmsg", six(4), ALLOW),  # connections, where the second filter leaves it
    ("worker", "recvmsg", six(3), NOTIFY),
    ("worker_fallback", "recvmsg", six(4), ALLOW),
    ("worker_last", "recvmsg", six(4), EPERM),
    ("worker_last_net", "recvmsg", six(4), ALLOW),
    ("worker_last_net", "sendmsg", six(4), EPERM),
    ("worker_last_net", "seccomp", six(), EPERM),
    ("helper_net", "socket", six(2, 1 | 0o2000000, 0), ALLOW),
    ("helper_net", "socket", six(10, 2, 17), ALLOW),
    ("helper_net", "socket", six(2, 1, 262), KILL),  # MPTCP
    ("helper_net", "socket", six(2, 3, 0), KILL),  # raw
    ("helper_net", "socket", six(1, 1, 0), KILL),  # Unix
    ("helper_net", "socket", six(16, 3, 0), KILL),  # netlink
    ("helper_net", "bind", six(), KILL),
    ("helper_net", "listen", six(), KILL),
    ("helper_net", "sendmsg", six(0), KILL),
    ("helper_net", "sendto", six(5, 1, 1, 0, 1), KILL),  # to an address that was not connected to
    ("helper_net", "recvmsg", six(0), ALLOW),
    ("helper_net", "recvmsg", six(5), KILL),
    ("helper_net", "openat", six(), 0x00050000 | 13),
    ("helper_net", "execve", six(), KILL),
    ("helper_net", "mmap", six(0, 4096, READ | EXEC, PRIVATE | ANONYMOUS, -1), KILL),
    ("helper", "read", six(), ALLOW),
    ("helper", "openat", six(), KILL),
    ("helper", "mmap", six(0, 4096, READ | WRITE, PRIVATE | ANONYMOUS), ALLOW),
    ("helper", "mmap", six(0, 4096, READ, PRIVATE, 0), KILL),
    ("helper", "mmap", six(0, 4096, READ | EXEC, PRIVATE | ANONYMOUS), KILL),
    ("helper", "clone", six(), KILL),
]


@pytest.mark.parametrize("policy,call,args,answer", CASES)
def test_a_compiled_filter_answers(compiled, numbers, policy, call, args, answer):
    if numbers.get("read") != 0:
        pytest.skip("the cases are written for x86-64")
    assert run(compiled[policy], numbers[call], args) == answer


def test_other_architectures_are_killed(compiled):
    for name, program in compiled.items():
        if name == "worker_last":
            continue
        assert run(program, 3, six(), arch=0x40000003) == KILL
        assert run(program, 0x40000000, six()) == KILL


def test_what_nobody_named_is_refused(compiled, numbers):
    """A number beyond all known ones, and -1, which tracers use."""
    for number in (1000, 0xFFFFFFFF):
        assert run(compiled["worker"], number, six()) == NOTIFY
        assert run(compiled["worker_quiet"], number, six()) == EPERM
        assert run(compiled["helper"], number, six()) == KILL


def test_the_helper_is_let_do_almost_nothing(compiled, numbers):
    allowed = {n for n, k in numbers.items() if run(compiled["helper"], k, six()) == ALLOW}
    assert allowed <= {
        "read", "pread64", "readv", "write", "writev", "lseek", "fstat", "mprotect", "brk", "munmap", "mremap",
        "madvise", "futex", "getrandom", "exit_group", "rt_sigreturn", "restart_syscall",
    }
