/* The attacker: a shared object that runs a script, one attempt a line, and prints `LINE -> ok` or the error's name.
 * The same object is run outside the wall, where the attempts work. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;
static int control_fd, bell_fd;

__attribute__((constructor)) static void constructor(void)
{
    /* Before anybody asked for anything: the wall must stand already. */
    if (getenv("MOAT_PROBE_OUTSIDE"))
        return;
    int fd = open("/etc/hostname", O_RDONLY);
    printf("constructor open -> %s\n", fd < 0 ? strerrorname_np(errno) : "ok");
    void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    printf("constructor rwx -> %s\n", p == MAP_FAILED ? strerrorname_np(errno) : "ok");
    fflush(stdout);
}

/* Each attempt: 0 or more is success, -1 a failure with errno. argv[0] is its name. */
typedef long attempt(char **argv, int argc);

static long number(const char *text)
{
    return text ? (long)strtoul(text, NULL, 0) : 0;
}

static long keep_open(int fd)
{
    if (fd >= 0)
        close(fd);
    return fd < 0 ? -1 : 0;
}

static long open_read(char **a, int n)
{
    return keep_open(open(a[1], O_RDONLY));
}
static long open_path(char **a, int n)
{
    return keep_open(open(a[1], O_PATH));
}
static long open_write(char **a, int n)
{
    return keep_open(open(a[1], O_WRONLY));
}
static long open_trunc(char **a, int n)
{
    return keep_open(open(a[1], O_RDONLY | O_TRUNC));
}
static long create(char **a, int n)
{
    return keep_open(open(a[1], O_CREAT | O_EXCL | O_WRONLY, n > 2 ? (mode_t)number(a[2]) : 0600));
}
static long put(char **a, int n)
{
    int fd = open(a[1], O_CREAT | O_WRONLY | O_TRUNC, 0644);
    long r = fd < 0 ? -1 : write(fd, a[2], strlen(a[2]));
    if (fd >= 0)
        close(fd);
    return r;
}
static long get(char **a, int n)
{
    char text[256];
    int fd = open(a[1], O_RDONLY);
    ssize_t got = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (got >= 0)
        printf("content %s = %.*s\n", a[1], (int)got, text);
    if (fd >= 0)
        close(fd);
    return got;
}
static long make_dir(char **a, int n)
{
    return mkdir(a[1], 0755);
}
static long remove_file(char **a, int n)
{
    return unlink(a[1]);
}
static long move(char **a, int n)
{
    return rename(a[1], a[2]);
}
static long exchange(char **a, int n)
{
    return renameat2(AT_FDCWD, a[1], AT_FDCWD, a[2], RENAME_EXCHANGE);
}
static long hard_link(char **a, int n)
{
    return link(a[1], a[2]);
}
static long soft_link(char **a, int n)
{
    return symlink(a[1], a[2]);
}
static long make_fifo(char **a, int n)
{
    return mknod(a[1], S_IFIFO | 0600, 0);
}
static long make_device(char **a, int n)
{
    return mknod(a[1], S_IFCHR | 0600, 0x103);
}
static long change_mode(char **a, int n)
{
    return chmod(a[1], (mode_t)number(a[2]));
}
static long fchange_mode(char **a, int n)
{
    int fd = open(a[1], O_RDONLY);
    return fd < 0 ? -1 : fchmod(fd, (mode_t)number(a[2])) | keep_open(fd);
}
static long change_owner(char **a, int n)
{
    return chown(a[1], 0, 0);
}
static long change_times(char **a, int n)
{
    return utimensat(AT_FDCWD, a[1], NULL, 0);
}
static long cut(char **a, int n)
{
    return truncate(a[1], 0);
}
static long look(char **a, int n)
{
    struct stat st;
    return stat(a[1], &st);
}
static long go_to(char **a, int n)
{
    return chdir(a[1]);
}
static long list(char **a, int n)
{
    DIR *d = opendir(a[1]);
    if (!d)
        return -1;
    int count = 0;
    while (readdir(d))
        count++;
    closedir(d);
    return count;
}
static long open_at(char **a, int n)
{
    int dir = open(a[1], O_PATH | O_DIRECTORY);
    return dir < 0 ? -1 : keep_open(openat(dir, a[2], O_RDONLY)) | keep_open(dir);
}

static long map(char **a, int n)
{
    return mmap(NULL, 4096, (int)number(a[1]), (int)number(a[2]), -1, 0) == MAP_FAILED ? -1 : 0;
}
static long map_file(char **a, int n)
{
    int prot = (int)number(a[2]), flags = (int)number(a[3]);
    int fd = open(a[1], (prot & PROT_WRITE) && (flags & MAP_SHARED) ? O_RDWR : O_RDONLY);
    if (fd < 0)
        return -1;
    void *p = mmap(NULL, 4096, prot, flags, fd, 0);
    int e = errno;
    close(fd);
    errno = e;
    return p == MAP_FAILED ? -1 : 0;
}
static long protect(char **a, int n)
{
    void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return mprotect(p, 4096, (int)number(a[1]));
}
static long protect_key(char **a, int n)
{
    void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return syscall(SYS_pkey_mprotect, p, 4096, number(a[1]), -1);
}
/* Turns a page of its own text writable: the other way round. */
static long text_writable(char **a, int n)
{
    void *page = (void *)((uintptr_t)text_writable & ~4095ul);
    return mprotect(page, 4096, PROT_READ | PROT_WRITE | PROT_EXEC);
}
static long memfd(char **a, int n)
{
    return keep_open((int)syscall(SYS_memfd_create, "x", 0));
}

static long make_socket(char **a, int n)
{
    return keep_open(socket((int)number(a[1]), (int)number(a[2]), 0));
}
static long make_pair(char **a, int n)
{
    int ends[2];
    return socketpair(AF_UNIX, SOCK_STREAM, 0, ends);
}
/* Passing a descriptor over the one socket there is. */
static long pass_fd(char **a, int n)
{
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } c = {{0}};
    char x = 'x';
    struct iovec part = {&x, 1};
    struct msghdr m = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = c.bytes, .msg_controllen = sizeof c.bytes};
    struct cmsghdr *h = CMSG_FIRSTHDR(&m);
    h->cmsg_level = SOL_SOCKET;
    h->cmsg_type = SCM_RIGHTS;
    h->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(h), &control_fd, sizeof(int));
    return sendmsg(control_fd, &m, 0);
}
static long say_control(char **a, int n)
{
    return write(control_fd, a[1], strlen(a[1]));
}

static long do_fork(char **a, int n)
{
    pid_t pid = fork();
    if (pid == 0)
        _exit(0);
    if (pid > 0)
        waitpid(pid, NULL, 0);
    return pid < 0 ? -1 : 0;
}
static long run(char **a, int n)
{
    char *argv[] = {a[1], NULL};
    pid_t pid = getenv("MOAT_PROBE_OUTSIDE") ? fork() : 0;
    if (pid > 0)
        return waitpid(pid, NULL, 0) == pid ? 0 : -1;
    execv(a[1], argv);
    return -1;
}
/* Its exit status must be 0; what it says is in the output. */
static long start(char **a, int n)
{
    int status = 0;
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        char *none[] = {NULL};
        execve(a[1], a + 1, none);
        _exit(errno);
    }
    if (pid < 0 || waitpid(pid, &status, 0) != pid)
        return -1;
    errno = WIFEXITED(status) ? WEXITSTATUS(status) : EINTR;
    return errno ? -1 : 0;
}
static long copy(char **a, int n)
{
    char piece[4096];
    ssize_t got = -1;
    int from = open(a[1], O_RDONLY), to = open(a[2], O_WRONLY | O_CREAT | O_TRUNC, 0755);
    while (from >= 0 && to >= 0 && (got = read(from, piece, sizeof piece)) > 0)
        if (write(to, piece, (size_t)got) != got)
            return -1;
    return keep_open(from) | keep_open(to) | got;
}
static long spawn(char **a, int n)
{
    pid_t pid;
    int status = 0;
    char *none[] = {NULL};
    fflush(stdout);
    int e = posix_spawn(&pid, a[1], NULL, NULL, a + 1, none);
    if (!e && waitpid(pid, &status, 0) == pid)
        e = WIFEXITED(status) ? WEXITSTATUS(status) : EINTR;
    errno = e;
    return e ? -1 : 0;
}
static long run_fd(char **a, int n)
{
    char *argv[] = {a[1], NULL};
    int fd = open(a[1], O_PATH);
    return fd < 0 ? -1 : syscall(SYS_execveat, fd, "", argv, environ, AT_EMPTY_PATH);
}
static void *idle(void *stop)
{
    while (!__atomic_load_n((int *)stop, __ATOMIC_ACQUIRE))
        usleep(1000);
    return NULL;
}
/* How many threads can live at once, up to argv[1]. */
static long threads(char **a, int n)
{
    static pthread_t all[4096];
    int stop = 0, count = 0, most = (int)number(a[1]), e = 0;
    while (count < most && (e = pthread_create(&all[count], NULL, idle, &stop)) == 0)
        count++;
    __atomic_store_n(&stop, 1, __ATOMIC_RELEASE);
    for (int i = 0; i < count; i++)
        pthread_join(all[i], NULL);
    printf("threads %d\n", count);
    errno = e;
    return e ? -1 : 0;
}
static long touch(char **a, int n)
{
    size_t size = (size_t)number(a[1]) << 20;
    char *p = malloc(size);
    if (!p)
        return -1;
    memset(p, 1, size);
    __asm__ volatile("" : : "r"(p) : "memory"); /* a compiler may know that nobody looks */
    free(p);
    return 0;
}
static long reserve(char **a, int n)
{
    void *p = mmap(NULL, (size_t)number(a[1]) << 20, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return p == MAP_FAILED ? -1 : munmap(p, (size_t)number(a[1]) << 20);
}
/* Address space first without rights, then with: the limit must see that too. */
static long reserve_then_use(char **a, int n)
{
    size_t size = (size_t)number(a[1]) << 20;
    void *p = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return p == MAP_FAILED ? -1 : mprotect(p, size, PROT_READ | PROT_WRITE);
}
static long fill(char **a, int n)
{
    static char block[65536];
    long most = number(a[2]) << 20, done = 0, r = 0;
    int fd = open(a[1], O_CREAT | O_WRONLY | O_TRUNC, 0600);
    if (fd < 0)
        return -1;
    while (done < most && (r = write(fd, block, sizeof block)) > 0)
        done += r;
    int e = errno;
    printf("filled %ld\n", done >> 20);
    close(fd);
    errno = e;
    return r < 0 ? -1 : 0;
}
static long descriptors(char **a, int n)
{
    int fds[2048], count = 0, most = (int)number(a[1]);
    while (count < most && (fds[count] = dup(1)) >= 0)
        count++;
    int e = errno;
    for (int i = 0; i < count; i++)
        close(fds[i]);
    printf("descriptors %d\n", count);
    errno = e;
    return count < most ? -1 : 0;
}

static long signal_pid(char **a, int n)
{
    return kill((pid_t)number(a[1]), 0);
}
static long attach(char **a, int n)
{
    return ptrace(PTRACE_ATTACH, (pid_t)number(a[1]), NULL, NULL);
}
static long push_char(char **a, int n)
{
    char c = 'x';
    return ioctl(0, TIOCSTI, &c);
}
static long prctl_(char **a, int n)
{
    return prctl((int)number(a[1]), number(a[2]), 0, 0, 0);
}
static long listener(char **a, int n)
{
    return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, NULL);
}
static long raw(char **a, int n)
{
    return syscall(number(a[1]), number(a[2]), number(a[3]), number(n > 4 ? a[4] : NULL), number(n > 5 ? a[5] : NULL),
                   number(n > 6 ? a[6] : NULL), number(n > 7 ? a[7] : NULL));
}
#ifdef __x86_64__
static long int80(char **a, int n)
{
    long r;
    __asm__ volatile("int $0x80" : "=a"(r) : "a"(20L) : "memory"); /* getpid of the 32-bit table */
    return r;
}
#endif

/* What a plugin may expect to work. */
static void *exits(void *x)
{
    pthread_exit(x);
}
static void *waits(void *x)
{
    for (;;)
        pause();
    return x;
}
static int compare(const void *a, const void *b)
{
    return *(const int *)a - *(const int *)b;
}
static long libc(char **a, int n)
{
    pthread_t t;
    void *r = NULL;
    if (pthread_create(&t, NULL, exits, &r) || pthread_join(t, &r) || r != &r)
        return -1;
    if (pthread_create(&t, NULL, waits, NULL))
        return -1;
    usleep(2000);
    if (pthread_cancel(t) || pthread_join(t, &r) || r != PTHREAD_CANCELED)
        return -1;
    int *numbers = malloc(4000000);
    for (int i = 0; i < 1000000; i++)
        numbers[i] = rand();
    qsort(numbers, 1000000, sizeof *numbers, compare);
    free(numbers);
    FILE *f = fopen("/tmp/stdio", "w+");
    if (!f || fprintf(f, "%d", 42) != 2 || fseek(f, 0, SEEK_SET) || fscanf(f, "%d", &(int){0}) != 1 || fclose(f))
        return -1;
    struct timespec now, nap = {0, 1000000};
    pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
    clock_gettime(CLOCK_REALTIME, &now);
    pthread_mutex_lock(&lock);
    int e = pthread_cond_timedwait(&cond, &lock, &now);
    pthread_mutex_unlock(&lock);
    return e == ETIMEDOUT && nanosleep(&nap, NULL) == 0 && time(NULL) > 0 && isatty(1) == 0 ? 0 : -1;
}
static long facts(char **a, int n)
{
    char name[64] = "";
    int count = 0, open_fds = 0;
    while (environ && environ[count])
        count++;
    for (int i = 0; i < 256; i++)
        if (fcntl(i, F_GETFD) >= 0)
            printf("fd %d%s\n", i, i == control_fd ? " control" : i == bell_fd ? " bell" : ""), open_fds++;
    gethostname(name, sizeof name);
    printf("pid %d uid %d gid %d environment %d descriptors %d host %s dumpable %d\n", getpid(), getuid(), getgid(),
           count, open_fds, name, -1);
    return 0;
}
static long stay(char **a, int n)
{
    char c;
    fflush(stdout);
    return read(control_fd, &c, 1);
}
static long spin(char **a, int n)
{
    fflush(stdout);
    for (volatile unsigned long i = 0;; i++)
        ;
    return 0;
}
static long crash(char **a, int n)
{
    fflush(stdout);
    volatile uintptr_t nowhere = 8;
    *(volatile int *)nowhere = 1;
    return 0;
}

static const struct {
    const char *name;
    attempt *run;
} attempts[] = {
    {"open_read", open_read},
    {"open_path", open_path},
    {"open_write", open_write},
    {"open_trunc", open_trunc},
    {"create", create},
    {"put", put},
    {"get", get},
    {"mkdir", make_dir},
    {"unlink", remove_file},
    {"rename", move},
    {"exchange", exchange},
    {"link", hard_link},
    {"symlink", soft_link},
    {"mkfifo", make_fifo},
    {"mkdev", make_device},
    {"chmod", change_mode},
    {"fchmod", fchange_mode},
    {"chown", change_owner},
    {"utimes", change_times},
    {"truncate", cut},
    {"stat", look},
    {"chdir", go_to},
    {"list", list},
    {"open_at", open_at},
    {"map", map},
    {"map_file", map_file},
    {"protect", protect},
    {"protect_key", protect_key},
    {"text_writable", text_writable},
    {"memfd", memfd},
    {"socket", make_socket},
    {"socketpair", make_pair},
    {"pass_fd", pass_fd},
    {"say_control", say_control},
    {"fork", do_fork},
    {"exec", run},
    {"start", start},
    {"copy", copy},
    {"spawn", spawn},
    {"exec_fd", run_fd},
    {"threads", threads},
    {"touch", touch},
    {"reserve", reserve},
    {"reserve_then_use", reserve_then_use},
    {"fill", fill},
    {"descriptors", descriptors},
    {"kill", signal_pid},
    {"ptrace", attach},
    {"tiocsti", push_char},
    {"prctl", prctl_},
    {"listener", listener},
    {"raw", raw},
    {"libc", libc},
    {"facts", facts},
    {"stay", stay},
    {"spin", spin},
    {"crash", crash},
#ifdef __x86_64__
    {"int80", int80},
#endif
};

static void run_line(char *line)
{
    char copy[1024], *argv[10] = {NULL};
    int argc = 0;
    snprintf(copy, sizeof copy, "%s", line);
    for (char *w = strtok(copy, " "); w && argc < 9; w = strtok(NULL, " "))
        argv[argc++] = w;
    if (!argc)
        return;
    for (size_t i = 0; i < sizeof attempts / sizeof *attempts; i++) {
        if (strcmp(attempts[i].name, argv[0]) != 0)
            continue;
        fflush(stdout);
        errno = 0;
        long r = attempts[i].run(argv, argc);
        const char *name = strerrorname_np(errno);
        printf("%s -> %s\n", line, r >= 0 ? "ok" : name ? name : "?");
        fflush(stdout);
        return;
    }
    printf("%s -> no such attempt\n", line);
}

int probe_main(const char *script, int control, int bell);

int probe_main(const char *script, int control, int bell)
{
    char *text = strdup(script), *save = NULL;
    control_fd = control;
    bell_fd = bell;
    for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
        run_line(line);
    free(text);
    fflush(stdout);
    return 0;
}
