/* The first library of shelf.c: it notes in which order constructors ran. */
char alpha_loaded[32];
void alpha_note(char letter);

void alpha_note(char letter)
{
    for (int i = 0; i < 31; i++)
        if (!alpha_loaded[i]) {
            alpha_loaded[i] = letter;
            return;
        }
}

__attribute__((constructor)) static void load(void)
{
    alpha_note('a');
}
