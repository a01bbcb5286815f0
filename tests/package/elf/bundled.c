__attribute__((visibility("default"))) int bundled(void);
int bundled(void)
{
    return 42;
}
