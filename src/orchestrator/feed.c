#include "orchestrator/feed.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

#define NAME 8 /* digits that tell this feed from that of another host, or of another time */
#define HEAD_MAX (64u << 20)

struct feed {
    _Atomic int refs;
    pthread_mutex_t lock; /* of all below, and of the lists of those who follow */
    char name[NAME + 1];
    uint64_t first, next;         /* the numbers of the events that are kept: [first, next) */
    uint64_t starts[FEED_EVENTS]; /* of event n, at n % FEED_EVENTS: bytes since the beginning */
    uint64_t end;                 /* bytes since the beginning */
    bool ended;
    struct follow *followers;
    char text[FEED_BYTES]; /* byte n at n % FEED_BYTES */
};

struct follow {
    _Atomic int refs; /* its owner's, and its task's on the way */
    struct feed *feed;
    struct follow *next, **link; /* the feed's lock, as the two flags */
    bool posted, left;
    bool begun, beats; /* its loop's, as all below */
    struct task_following how;
    struct loop_task task;
    struct loop_timer timer;
    struct buf head;
    size_t head_at;
    uint64_t at; /* bytes since the feed's beginning */
};

/* ---- a feed ---- */

struct feed *feed_new(void)
{
    struct feed *f = malloc(sizeof *f);
    char id[33];
    if (!f)
        return NULL;
    memset(f, 0, offsetof(struct feed, text));
    f->refs = 1;
    f->next = f->first = 1;
    pthread_mutex_init(&f->lock, NULL);
    call_make_id(id);
    memcpy(f->name, id + 32 - NAME, NAME);
    return f;
}

struct feed *feed_ref(struct feed *f)
{
    atomic_fetch_add_explicit(&f->refs, 1, memory_order_relaxed);
    return f;
}

void feed_unref(struct feed *f)
{
    if (!f || atomic_fetch_sub_explicit(&f->refs, 1, memory_order_acq_rel) > 1)
        return;
    pthread_mutex_destroy(&f->lock);
    free(f);
}

static void run_follow(struct loop_task *task);

/* The feed's lock is held. */
static void wake_all(struct feed *f)
{
    for (struct follow *w = f->followers; w; w = w->next) {
        if (w->posted)
            continue;
        w->posted = true;
        atomic_fetch_add_explicit(&w->refs, 1, memory_order_relaxed);
        loop_post(w->how.loop, &w->task);
    }
}

static uint64_t start_of(const struct feed *f, uint64_t n)
{
    return n == f->next ? f->end : f->starts[n % FEED_EVENTS];
}

static void copy_in(struct feed *f, const void *bytes, size_t len)
{
    size_t at = f->end % FEED_BYTES, piece = FEED_BYTES - at < len ? FEED_BYTES - at : len;
    memcpy(f->text + at, bytes, piece);
    memcpy(f->text, (const char *)bytes + piece, len - piece);
    f->end += len;
}

static void copy_out(const struct feed *f, uint64_t from, char *room, size_t len)
{
    size_t at = from % FEED_BYTES, piece = FEED_BYTES - at < len ? FEED_BYTES - at : len;
    memcpy(room, f->text + at, piece);
    memcpy(room + piece, f->text, len - piece);
}

void feed_put(struct feed *f, const char *name, const void *json, size_t len)
{
    char head[100];
    pthread_mutex_lock(&f->lock);
    size_t head_len = (size_t)snprintf(head, sizeof head, "id: %s-%llu\nevent: %s\ndata: ", f->name,
                                       (unsigned long long)f->next, name);
    size_t all = head_len + len + 2;
    if (all <= FEED_BYTES) {
        while (f->first < f->next &&
               (f->end + all - start_of(f, f->first) > FEED_BYTES || f->next - f->first == FEED_EVENTS))
            f->first++;
        f->starts[f->next % FEED_EVENTS] = f->end;
        copy_in(f, head, head_len);
        copy_in(f, json, len);
        copy_in(f, "\n\n", 2);
        f->next++;
        wake_all(f);
    }
    pthread_mutex_unlock(&f->lock);
}

void feed_end(struct feed *f)
{
    pthread_mutex_lock(&f->lock);
    f->ended = true;
    wake_all(f);
    pthread_mutex_unlock(&f->lock);
}

/* ---- one who follows ---- */

static struct follow *make(const struct task_following *how, struct feed *feed)
{
    struct follow *w = calloc(1, sizeof *w);
    if (!w)
        return NULL;
    w->refs = 1;
    w->how = *how;
    w->how.after = NULL;
    w->task.run = run_follow;
    w->feed = feed ? feed_ref(feed) : NULL;
    return w;
}

/* The feed's lock is held. */
static void enlist(struct follow *w)
{
    struct feed *f = w->feed;
    w->next = f->followers;
    w->link = &f->followers;
    if (w->next)
        w->next->link = &w->next;
    f->followers = w;
}

/* With the id of what came into the feed last: who comes back to it goes on from here. */
static bool put_head(struct follow *w, const char *name, const struct buf *json)
{
    w->head = BUF_INIT(HEAD_MAX);
    if (w->feed)
        buf_printf(&w->head, "id: %s-%llu\n", w->feed->name, (unsigned long long)(w->feed->next - 1));
    buf_printf(&w->head, "event: %s\ndata: ", name);
    buf_put(&w->head, json->data, json->len);
    buf_puts(&w->head, "\n\n");
    return !w->head.failed;
}

struct follow *follow_new(const struct task_following *how, struct feed *feed, const char *name, const struct buf *json)
{
    struct follow *w = make(how, feed);
    if (!w)
        return NULL;
    if (feed)
        pthread_mutex_lock(&feed->lock);
    bool good = put_head(w, name, json);
    if (feed && good) {
        w->at = feed->end;
        enlist(w);
    }
    if (feed)
        pthread_mutex_unlock(&feed->lock);
    if (good)
        return w;
    follow_end(w);
    return NULL;
}

/* "NAME-NUMBER" of this feed; 0: another's, or none. */
static uint64_t number_of(const struct feed *f, const char *id)
{
    if (strncmp(id, f->name, NAME) != 0 || id[NAME] != '-' || strspn(id + NAME + 1, "0123456789") == 0 ||
        strlen(id) > NAME + 20)
        return 0;
    return strtoull(id + NAME + 1, NULL, 10) + 1;
}

struct follow *follow_after(const struct task_following *how, struct feed *feed, const char *id)
{
    struct follow *w = make(how, feed);
    if (!w)
        return NULL;
    pthread_mutex_lock(&feed->lock);
    uint64_t n = number_of(feed, id);
    bool known = n >= feed->first && n <= feed->next;
    if (known) {
        w->at = start_of(feed, n);
        enlist(w);
    }
    pthread_mutex_unlock(&feed->lock);
    if (known)
        return w;
    follow_end(w);
    return NULL;
}

static void unref(struct follow *w)
{
    if (atomic_fetch_sub_explicit(&w->refs, 1, memory_order_acq_rel) > 1)
        return;
    buf_free(&w->head);
    feed_unref(w->feed);
    free(w);
}

void follow_end(struct follow *w)
{
    if (!w)
        return;
    loop_timer_clear(&w->timer);
    if (w->feed)
        pthread_mutex_lock(&w->feed->lock);
    w->left = true;
    if (w->link) {
        *w->link = w->next;
        if (w->next)
            w->next->link = w->link;
        w->link = NULL;
    }
    if (w->feed)
        pthread_mutex_unlock(&w->feed->lock);
    unref(w);
}

/* ---- on its loop ---- */

static void beat(struct loop_timer *timer)
{
    struct follow *w = (struct follow *)(void *)((char *)timer - offsetof(struct follow, timer));
    w->beats = true;
    loop_timer_set(w->how.loop, &w->timer, clock_mono_ns() + w->how.heartbeat_ns);
    w->how.more(w->how.context);
}

static void begin(struct follow *w)
{
    w->begun = true;
    w->timer.fire = beat;
    if (w->feed && w->how.heartbeat_ns) /* without memory for it there is none */
        loop_timer_set(w->how.loop, &w->timer, clock_mono_ns() + w->how.heartbeat_ns);
    w->how.ready(w->how.context, NULL, w);
}

static void run_follow(struct loop_task *task)
{
    struct follow *w = (struct follow *)(void *)((char *)task - offsetof(struct follow, task));
    if (w->feed)
        pthread_mutex_lock(&w->feed->lock);
    w->posted = false;
    bool left = w->left;
    if (w->feed)
        pthread_mutex_unlock(&w->feed->lock);
    if (!left && !w->begun)
        begin(w);
    else if (!left)
        w->how.more(w->how.context);
    unref(w);
}

void follow_begin(struct follow *w)
{
    if (w->feed)
        pthread_mutex_lock(&w->feed->lock);
    bool post = !w->posted;
    w->posted = true;
    if (w->feed)
        pthread_mutex_unlock(&w->feed->lock);
    if (!post)
        return; /* an event did it already */
    atomic_fetch_add_explicit(&w->refs, 1, memory_order_relaxed);
    loop_post(w->how.loop, &w->task);
}

static long read_head(struct follow *w, void *room, size_t size)
{
    size_t left = w->head.len - w->head_at, n = left < size ? left : size;
    memcpy(room, w->head.data + w->head_at, n);
    w->head_at += n;
    if (w->head_at == w->head.len) {
        buf_free(&w->head);
        w->head_at = 0;
    }
    return (long)n;
}

long follow_read(struct follow *w, void *room, size_t size)
{
    static const char heartbeat[] = ":\n\n";
    struct feed *f = w->feed;
    if (w->head.len)
        return read_head(w, room, size);
    if (!f)
        return FOLLOW_END;
    pthread_mutex_lock(&f->lock);
    bool lost = w->at < start_of(f, f->first);
    size_t left = f->end - w->at, n = left < size ? left : size;
    if (!lost)
        copy_out(f, w->at, room, n);
    w->at += n;
    bool over = lost || (!n && f->ended);
    pthread_mutex_unlock(&f->lock);
    if (over)
        return FOLLOW_END;
    if (n || !w->beats || size < sizeof heartbeat - 1)
        return (long)n;
    w->beats = false;
    memcpy(room, heartbeat, sizeof heartbeat - 1);
    return sizeof heartbeat - 1;
}
