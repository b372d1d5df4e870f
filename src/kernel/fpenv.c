/* SPDX-License-Identifier: MIT
 * The floating-point environment of a task. A host may run with flush-to-zero, another rounding
 * mode or traps; our bits must not notice, and the host must find its own setting again. */
#include "kernel/kernel.h"

#if defined(__x86_64__)
#    include <immintrin.h>

enum { FPENV_DEFAULT = 0x1F80 }; /* all traps masked, nearest, denormals kept */

attn__fpenv attn__fpenv_enter(void)
{
    attn__fpenv saved = {_mm_getcsr()};
    if (saved.word != FPENV_DEFAULT) _mm_setcsr(FPENV_DEFAULT);
    return saved;
}

/* Also takes back the exception flags that our arithmetic has raised. */
void attn__fpenv_leave(attn__fpenv saved)
{
    _mm_setcsr((unsigned)saved.word);
}
#elif defined(__aarch64__)
attn__fpenv attn__fpenv_enter(void)
{
    attn__fpenv saved;
    __asm__ volatile("mrs %0, fpcr" : "=r"(saved.word));
    if (saved.word != 0) __asm__ volatile("msr fpcr, %0" : : "r"((uint64_t)0));
    return saved;
}

void attn__fpenv_leave(attn__fpenv saved)
{
    if (saved.word != 0) __asm__ volatile("msr fpcr, %0" : : "r"(saved.word));
}
#else
#    include <fenv.h>

attn__fpenv attn__fpenv_enter(void)
{
    attn__fpenv saved = {(uint64_t)fegetround()};
    fesetround(FE_TONEAREST);
    return saved;
}

void attn__fpenv_leave(attn__fpenv saved)
{
    fesetround((int)saved.word);
}
#endif
