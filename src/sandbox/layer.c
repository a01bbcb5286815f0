#include "sandbox/layer.h"

#include <string.h>

static const struct {
    const char *name, *lost;
} layers[WALL_LAYER_COUNT] = {
#define X(id, name, lost) {name, lost},
    WALL_LAYERS(X)
#undef X
};

const char *wall_layer_name(enum wall_layer layer)
{
    return (unsigned)layer < WALL_LAYER_COUNT ? layers[layer].name : "unknown";
}

const char *wall_layer_lost(enum wall_layer layer)
{
    return (unsigned)layer < WALL_LAYER_COUNT ? layers[layer].lost : "";
}

int wall_layer_parse(const char *name)
{
    for (int i = 0; i < WALL_LAYER_COUNT; i++)
        if (strcmp(layers[i].name, name) == 0)
            return i;
    return -1;
}
