/* A text placed so that its padding ends exactly at a page that cannot be touched, and starts right behind one that
 * cannot either when it fills its pages: any read or write beyond the contract's bytes kills the test. */
#ifndef TESTS_JSON_PLACE_H
#define TESTS_JSON_PLACE_H

#include <stddef.h>
#include <stdint.h>

struct place {
    uint8_t *map;
    size_t size; /* usable bytes before the guard */
};

void place_init(struct place *place, size_t most);
void place_clear(struct place *place);

/* Room for len bytes and JSON_PAD; the padding is filled with `pad`, to show that its content does not matter. */
uint8_t *place_room(struct place *place, size_t len, uint8_t pad);
uint8_t *place_text(struct place *place, const void *text, size_t len, uint8_t pad);

#endif
