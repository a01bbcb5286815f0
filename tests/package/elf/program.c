#include <moat/plugin.h>

MOAT_PLUGIN(.initialize = NULL);

int main(void)
{
    return 0;
}
