/* bench: what every figure needs: a throw-away home with one installed plugin, samples and their percentiles, and the
 * line that scripts/bench collects.  Not part of the product: on any failure it says why and exits. */
#ifndef BENCH_BENCH_H
#define BENCH_BENCH_H

#include <stddef.h>
#include <stdint.h>

/* Where the build's packages are: $MOAT_BUILD, or "build". */
const char *bench_build(void);

/* A new private directory that bench_cleanup removes. */
void bench_home(char path[256]);
void bench_cleanup(const char *path);

/* `moat ARGUMENT…` of this build, NULL behind the last, 14 at most; says nothing. */
void bench_moat(const char *const *arguments);

/* `moat settings set KEY VALUE`, before the home is opened. */
void bench_setting(const char *home, const char *key, const char *value);

/* Trusts the build's throw-away key and installs packages-test/NAME-*.moat or packages/NAME-*.moat. */
struct moat;
struct moat *bench_open(const char *home);
void bench_install(struct moat *m, const char *name);
void bench_install_granted(struct moat *m, const char *name, const char *const *grants, size_t ngrants);
char *bench_package(const char *name); /* its path, malloc'd */
/* Trusts the build's throw-away key; a package of one's own, which that key has signed. */
void bench_trust(struct moat *m);
void bench_install_file(struct moat *m, const char *path, const char *const *grants, size_t ngrants);

/* One request of an operator's, answered with success. */
void bench_request(struct moat *m, const char *method, const char *target, const char *body_or_null);

struct samples {
    double *ns;
    size_t count, cap;
};
void samples_add(struct samples *s, double ns);
double samples_percentile(struct samples *s, double p); /* sorts */
void samples_clear(struct samples *s);

struct figure {
    const char *name, *unit, *reference;
    double value, p50, p99, reference_value, ratio; /* negative: left out */
};
/* Prints one JSON line; p50 and p99 are in us. */
void figure_print(const struct figure *f);

__attribute__((noreturn, format(printf, 1, 2))) void bench_die(const char *format, ...);

#endif
