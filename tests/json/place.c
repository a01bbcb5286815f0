#include "place.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "json/json.h"

#if defined(__SANITIZE_ADDRESS__)
#define POISONING 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define POISONING 1
#endif
#endif
#ifdef POISONING
#include <sanitizer/asan_interface.h>
#endif

#define PAGE 4096u

void place_init(struct place *place, size_t most)
{
    place->size = (most + JSON_PAD + PAGE - 1) / PAGE * PAGE;
    place->map = mmap(NULL, place->size + PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (place->map == MAP_FAILED || mprotect(place->map + place->size, PAGE, PROT_NONE) != 0)
        abort();
}

void place_clear(struct place *place)
{
    munmap(place->map, place->size + PAGE);
}

uint8_t *place_room(struct place *place, size_t len, uint8_t pad)
{
    if (len + JSON_PAD > place->size)
        abort();
    uint8_t *text = place->map + place->size - len - JSON_PAD;
#ifdef POISONING
    /* The guard page sees what lies behind; this sees what lies before. */
    ASAN_POISON_MEMORY_REGION(place->map, place->size);
    ASAN_UNPOISON_MEMORY_REGION(text, len + JSON_PAD);
#endif
    memset(text + len, pad, JSON_PAD);
    return text;
}

uint8_t *place_text(struct place *place, const void *text, size_t len, uint8_t pad)
{
    uint8_t *copy = place_room(place, len, pad);
    if (len)
        memcpy(copy, text, len);
    return copy;
}
