/* raw: system calls without the C library, so that a plugin's import table shows nothing of what it does.
 * An import check warns; it is no wall, and this file is the reason. */
#ifndef HOSTILE_RAW_H
#define HOSTILE_RAW_H

#include <stdint.h>
#include <sys/syscall.h>

static inline long raw6(long number, long a, long b, long c, long d, long e, long f)
{
#if defined(__x86_64__)
    long result;
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
#elif defined(__aarch64__)
    register long x8 __asm__("x8") = number;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d;
    register long x4 __asm__("x4") = e;
    register long x5 __asm__("x5") = f;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory");
    return x0;
#else
#error "raw system calls: x86-64 and AArch64 are known"
#endif
}

/* The result, or a negative errno. Pointers and integers go in alike. */
#define RAW_AT(a, b, c, d, e, f, g, ...) \
    raw6((long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f), (long)(g))
#define raw(...) RAW_AT(__VA_ARGS__, 0, 0, 0, 0, 0, 0, 0)

#endif
