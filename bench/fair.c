/* One plugin's queue is kept full by somebody; another plugin is called now and then.  How long do its calls wait
 * before they run, in service times of the flood? */
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#include <moat/moat.h>

#include "base/clock.h"
#include "bench.h"
#include "many.h"

#define FLOOD 512 /* calls that wait, of 1,024 that may */
#define CALLS 400
#define GAP_US 5000

struct flooder {
    struct moat *m;
    struct moat_call_data call;
};

static _Atomic bool stop;
static _Atomic unsigned under_way;
static _Atomic uint64_t flood_runs, flood_ns;

static void flood(struct moat_call_data *done);

static void send(struct flooder *f)
{
    f->call = (struct moat_call_data){
        .size = sizeof f->call, .plugin = "ledger", .action = "work", .parameters = "{\"us\":1000}", .context = f};
    moat_call_begin(f->m, &f->call, flood);
}

static void flood(struct moat_call_data *done)
{
    struct flooder *f = done->context;
    if (done->code)
        bench_die("the flood: %s", done->error.message);
    atomic_fetch_add(&flood_runs, 1);
    atomic_fetch_add(&flood_ns, done->receipt.ran_ns);
    moat_free(done->result);
    if (atomic_load(&stop))
        atomic_fetch_sub(&under_way, 1);
    else
        send(f);
}

static sem_t one_is_done;

static void one_done(struct moat_call_data *call)
{
    sem_post(&one_is_done);
}

/* Through the queue, as a request of the server's: a thread that calls by itself would borrow the worker and not wait.
 */
static double wait_of_one(struct moat *m)
{
    struct moat_call_data call = {
        .size = sizeof call, .plugin = "echo", .action = "echo", .parameters = "{\"text\":\"beside\"}"};
    moat_call_begin(m, &call, one_done);
    while (sem_wait(&one_is_done) < 0)
        ;
    if (call.code)
        bench_die("beside the flood: %s", call.error.message);
    moat_free(call.result);
    return (double)call.receipt.queued_ns;
}

void measure_fairness(void)
{
    static struct flooder flooders[FLOOD];
    struct samples waits = {0};
    char home[256];
    sem_init(&one_is_done, 0, 0);
    bench_home(home);
    struct moat *m = bench_open(home);
    bench_install(m, "echo");
    bench_install(m, "ledger");
    wait_of_one(m);
    atomic_store(&under_way, FLOOD);
    for (unsigned i = 0; i < FLOOD; i++) {
        flooders[i].m = m;
        send(&flooders[i]);
    }
    for (unsigned i = 0; i < CALLS; i++) {
        usleep(GAP_US);
        samples_add(&waits, wait_of_one(m));
    }
    atomic_store(&stop, true);
    while (atomic_load(&under_way))
        usleep(1000);
    double service = (double)atomic_load(&flood_ns) / (double)atomic_load(&flood_runs);
    double p99 = samples_percentile(&waits, 99);
    figure_print(&(struct figure){.name = "fair.queue_wait_ratio",
                                  .unit = "",
                                  .value = p99 / service,
                                  .p50 = samples_percentile(&waits, 50) / 1e3,
                                  .p99 = p99 / 1e3,
                                  .reference = "service time of the flood, us",
                                  .reference_value = service / 1e3,
                                  .ratio = p99 / service});
    samples_clear(&waits);
    moat_close(m);
    bench_cleanup(home);
}
