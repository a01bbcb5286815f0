/* The worker's part of a query, and the host's: a spawner, a keeper, a seat, a database in a directory of its own. */
#ifndef TESTS_SQL_RIG_H
#define TESTS_SQL_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "broker/sql.h"
#include "broker/sql_source.h"
#include "wire/seat.h"

struct rig {
    char directory[64], database[128];
    struct spawner *spawner;
    struct sql_keeper *keeper;
    int seats;
    struct seat *seat;
    uint64_t serial; /* of the helper there */
    struct spin spin;
    struct seat_answer answer;
    char text[SEAT_ANSWER_MAX + 1]; /* of the last answer */
    struct sql_start start;         /* limits of the next helper */
    char refused[8][32];            /* what helpers told of */
    _Atomic unsigned nrefused;
};

struct rig *rig_new(void);
void rig_free(struct rig *r);
/* A helper for the database; write or only reading. */
void rig_open(struct rig *r, bool write);
/* The same for any name of a source, over the same database; what rig_ask asks stays. */
int rig_place(struct rig *r, const char *name, bool write, struct spawner *spawner, struct seat_told *out,
              struct error *err);
/* One request and its answer; false: the seat was closed, or it took longer than 20 s. */
bool rig_ask(struct rig *r, enum seat_op op, const char *sql, const char *params, unsigned max_rows);
/* A statement whose rows are expected to be this text. */
void rig_rows(struct rig *r, const char *sql, const char *params, const char *expected);
/* A statement that ends with this code, and words that hold this one. */
void rig_code(struct rig *r, const char *sql, const char *params, enum seat_code code, const char *words);
void rig_wait_helpers(struct rig *r, size_t n);

#endif
