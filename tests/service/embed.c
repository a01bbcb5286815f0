/* The smallest program that embeds Moat: embed HOME LIBEXEC KEY.pub PACKAGE.  docs/embedding.md shows it. */
#include <moat/moat.h>

#include <stdio.h>
#include <stdlib.h>

static int complain(const char *what, const struct moat_error *e)
{
    fprintf(stderr, "%s: %s: %s\n", what, moat_code_name(e->code), e->message);
    return 1;
}

static char *read_file(const char *path)
{
    static char text[4096];
    FILE *f = fopen(path, "r");
    text[f ? fread(text, 1, sizeof text - 1, f) : 0] = '\0';
    if (f)
        fclose(f);
    return text;
}

int main(int argc, char **argv)
{
    if (argc != 5)
        return 2;
    struct moat *m;
    struct moat_error e;
    struct moat_options options = {.size = sizeof options, .home = argv[1], .libexec = argv[2]};
    if (moat_open(&options, &m, &e) != MOAT_E_OK)
        return complain("open", &e);

    char *json = NULL;
    if (moat_trust_add(m, "somebody", read_file(argv[3]), NULL, &e) != MOAT_E_OK)
        return complain("trust", &e);
    if (moat_install(m, argv[4], NULL, &json, &e) != MOAT_E_OK)
        return complain("install", &e);
    puts(json);
    moat_free(json);

    struct moat_call_data call = {
        .size = sizeof call, .plugin = "alpha", .action = "echo", .parameters = "{\"hello\":\"world\"}"};
    if (moat_call(m, &call) != MOAT_E_OK)
        return complain("call", &call.error);
    puts(call.result);
    moat_free(call.result);
    moat_close(m);
    return 0;
}
