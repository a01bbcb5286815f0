/* The plugin service from C: open a home, see what is there, call an action.
 *
 *     service HOME     with data_processor installed in HOME */
#include <stdio.h>
#include <string.h>

#include <moat/moat.h>

static int failed(const char *what, const struct moat_error *error)
{
    fprintf(stderr, "%s: %s\n", what, error->message);
    return 1;
}

int main(int argc, char **argv)
{
    struct moat *m;
    struct moat_error error;
    struct moat_options options = {.size = sizeof options, .home = argc > 1 ? argv[1] : NULL};
    if (moat_open(&options, &m, &error))
        return failed("open", &error);

    struct moat_call_data call = {.size = sizeof call,
                                  .plugin = "data_processor",
                                  .action = "transform",
                                  .parameters = "{\"data\":[1,2,3],\"operation\":\"multiply\",\"factor\":2}"};
    int status = 0;
    if (moat_call(m, &call))
        status = failed("call", &call.error);
    else
        printf("doubled: %s\n", call.result);
    moat_free(call.result);
    moat_close(m);
    return status;
}
