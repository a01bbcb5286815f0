#include "front.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>

void front_open(struct front *f)
{
    snprintf(f->home, sizeof f->home, "/tmp/rest-test-XXXXXX");
    assert_non_null(mkdtemp(f->home));
    f->service = fake_begin(f->home);
    assert_int_equal(rest_new(f->service, &f->rest, NULL), 0);
    pthread_mutex_init(&f->mutex, NULL);
    pthread_cond_init(&f->cond, NULL);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st, (void)type, (void)at;
    return remove(path);
}

void front_close(struct front *f)
{
    fake_end(f->service);
    rest_free(f->rest);
    assert_int_equal(nftw(f->home, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
}

void front_done(struct front *f)
{
    pthread_mutex_lock(&f->mutex);
    f->done = true;
    pthread_cond_signal(&f->cond);
    pthread_mutex_unlock(&f->mutex);
}

void front_wait(struct front *f)
{
    pthread_mutex_lock(&f->mutex);
    while (!f->done)
        pthread_cond_wait(&f->cond, &f->mutex);
    pthread_mutex_unlock(&f->mutex);
}
