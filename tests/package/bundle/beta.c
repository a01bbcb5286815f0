/* The second: it needs the first. */
extern char alpha_loaded[32];
void alpha_note(char letter);
const char *beta_order(void);

__attribute__((constructor)) static void load(void)
{
    alpha_note('b');
}

const char *beta_order(void)
{
    return alpha_loaded;
}
