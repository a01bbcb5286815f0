/* Stands in for libFuzzer: runs a target over files, one test each, and says so as TAP.  Any compiler will do. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The input ends where its memory ends, so that a sanitizer sees a step beyond it. */
static int run_file(const char *path)
{
    struct stat st;
    FILE *file = fopen(path, "rb");
    if (!file || fstat(fileno(file), &st) != 0)
        return -1;
    size_t size = (size_t)st.st_size;
    uint8_t *data = malloc(size ? size : 1);
    int whole = data && fread(data, 1, size, file) == size;
    fclose(file);
    if (whole)
        LLVMFuzzerTestOneInput(data, size);
    free(data);
    return whole ? 0 : -1;
}

static int plain_file(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

int main(int argc, char **argv)
{
    struct dirent **names = NULL;
    int count = argc == 2 ? scandir(argv[1], &names, plain_file, alphasort) : -1, failures = 0;
    if (count < 0) {
        fprintf(stderr, "usage: %s CORPUS\n", argv[0]);
        return 2;
    }
    /* Nothing at all is an input too. */
    printf("1..%d\n", count + 1);
    LLVMFuzzerTestOneInput((const uint8_t *)"", 0);
    printf("ok 1 - empty\n");
    for (int i = 0; i < count; i++) {
        char path[4096];
        snprintf(path, sizeof path, "%s/%s", argv[1], names[i]->d_name);
        int bad = run_file(path);
        failures += bad != 0;
        printf("%sok %d - %s\n", bad ? "not " : "", i + 2, names[i]->d_name);
        fflush(stdout);
        free(names[i]);
    }
    free(names);
    return failures != 0;
}
