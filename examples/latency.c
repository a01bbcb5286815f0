/* latency: measures how long reads take on this machine and prints them as a JSON list of microseconds.
 *
 *     latency [COUNT [BYTES]]     100,000 reads of 4,096 bytes unless told otherwise
 *
 * Each read is at a random place of a file of its own, which is gone when it ends. scripts/demo feeds it to a plugin.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define FILE_SIZE ((size_t)64 << 20)
#define BLOCK ((size_t)1 << 20)

static void die(const char *what)
{
    fprintf(stderr, "latency: %s: %s\n", what, strerror(errno));
    exit(1);
}

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static int make_file(void)
{
    static char block[BLOCK];
    char path[] = "/tmp/moat-latency-XXXXXX";
    int fd = mkstemp(path);
    if (fd < 0)
        die("could not make a file in /tmp");
    unlink(path);
    memset(block, 'x', sizeof block);
    for (size_t done = 0; done < FILE_SIZE; done += BLOCK)
        if (write(fd, block, BLOCK) != (ssize_t)BLOCK)
            die("could not fill the file");
    return fd;
}

int main(int argc, char **argv)
{
    static char buffer[BLOCK];
    size_t count = argc > 1 ? strtoul(argv[1], NULL, 10) : 100000, bytes = argc > 2 ? strtoul(argv[2], NULL, 10) : 4096;
    if (count == 0 || count > 10000000 || bytes == 0 || bytes > sizeof buffer) {
        fprintf(stderr, "usage: latency [COUNT [BYTES]]\n");
        return 2;
    }
    int fd = make_file();
    uint64_t random = (uint64_t)now_ns() | 1;
    for (size_t i = 0; i < count; i++) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        off_t at = (off_t)((random >> 20) % (FILE_SIZE - bytes));
        int64_t start = now_ns();
        if (pread(fd, buffer, bytes, at) != (ssize_t)bytes)
            die("read");
        printf("%s%.3f", i ? "," : "[", (double)(now_ns() - start) / 1000);
    }
    printf("]\n");
    return ferror(stdout) || fflush(stdout) != 0;
}
