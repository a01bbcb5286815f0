/* starter: starts programs as any POSIX program does; for the tests of execute_code. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <moat/plugin.h>

#include "../../../plugins/common/request.h"

static const struct moat_host *host;
static char *const empty[] = {NULL};

enum { SPAWN, FORK, REPLACE, LEAVE, LATER };

#define WORDS_MAX 16

static void split(char *text, char *words[WORDS_MAX + 1])
{
    size_t n = 0;
    char *save = NULL;
    for (char *word = strtok_r(text, " ", &save); word && n < WORDS_MAX; word = strtok_r(NULL, " ", &save))
        words[n++] = word;
    words[n] = NULL;
}

/* 0 with the child, or an errno. */
static int start(char **words, int how, pid_t *pid)
{
    if (how == SPAWN)
        return posix_spawn(pid, words[0], NULL, NULL, words, empty);
    if (how == REPLACE) {
        execve(words[0], words, empty);
        return errno;
    }
    *pid = fork();
    if (*pid < 0)
        return errno;
    if (*pid)
        return 0;
    if (how == LEAVE && fork()) /* what runs has no parent in here */
        _exit(0);
    execve(words[0], words, empty);
    _exit(errno);
}

/* What it ended with: its status, or 128 and the signal; -errno when it was not started. */
static int run_once(char **words, int how)
{
    pid_t pid = -1;
    int status = 0, e = start(words, how, &pid);
    if (e)
        return -e;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return -errno;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* Long after the call, when nobody looks for its sake any more. */
static void *start_later(void *words)
{
    nanosleep(&(struct timespec){.tv_sec = 12}, NULL);
    run_once(words, SPAWN);
    return NULL;
}

static bool later(struct moat_call *call, char **words)
{
    pthread_t thread;
    bool ok = pthread_create(&thread, NULL, start_later, words) == 0 && pthread_detach(thread) == 0;
    return ok ? host->answer(call, "{\"status\":0,\"error\":\"\"}", 23) : host->fail(call, "no_thread", "no thread");
}

static bool run(struct moat_call *call, const char *parameters, size_t len)
{
    static const char *const ways[] = {"spawn", "fork", "replace", "leave", "later", NULL};
    static char command[4096], reply[64];
    static char *words[WORDS_MAX + 1];
    struct slice value;
    long long times = 1;
    int how = SPAWN, status = 0;
    if (!request_find(parameters, len, "command", &value) || !request_text(value, command, sizeof command))
        return host->fail(call, "bad_command", "no command");
    if (request_find(parameters, len, "how", &value))
        how = request_word(value, ways);
    if (request_find(parameters, len, "times", &value))
        request_integer(value, &times);
    split(command, words);
    if (how == LATER)
        return later(call, words);
    for (long long i = 0; i < times && status == 0; i++) {
        status = run_once(words, how);
        /* Those without a parent count until somebody waits for them: as init it is this process. */
        while (how == LEAVE && waitpid(-1, NULL, status == -EAGAIN ? 0 : WNOHANG) > 0)
            status = 0;
    }
    snprintf(reply, sizeof reply, "{\"status\":%d,\"error\":\"%s\"}", status,
             status < 0 ? strerrorname_np(-status) : "");
    return host->answer(call, reply, strlen(reply));
}

static bool children(struct moat_call *call)
{
    siginfo_t left = {0};
    bool none = waitid(P_ALL, 0, &left, WEXITED | WNOHANG | WNOWAIT) < 0 && errno == ECHILD;
    return host->answer(call, none ? "false" : "true", none ? 5 : 4);
}

static bool initialize(const struct moat_host *h, const char *config, size_t len)
{
    (void)config;
    (void)len;
    host = h;
    return true;
}

static bool execute(struct moat_call *call, const char *action, const char *parameters, size_t len)
{
    return strcmp(action, "run") == 0 ? run(call, parameters, len) : children(call);
}

MOAT_PLUGIN(.initialize = initialize, .execute = execute);
