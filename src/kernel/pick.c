/* SPDX-License-Identifier: MIT
 * Which table a call uses: the strongest that is built and allowed. Tables stand in the order
 * of isa.def, so the last one that fits is the best. */
#include "kernel/kernel.h"

#if defined(__x86_64__)
#    define HAVE_X86 1
#    define HAVE_ARM 0
#elif defined(__aarch64__)
#    define HAVE_X86 0
#    define HAVE_ARM 1
#else
#    define HAVE_X86 0
#    define HAVE_ARM 0
#endif
#define HAVE_scalar 1
#define HAVE_avx2   HAVE_X86
#define HAVE_avx512 HAVE_X86
#define HAVE_neon   HAVE_ARM
#define HAVE_sve128 HAVE_ARM
#define HAVE_sve256 HAVE_ARM
#define HAVE_sve512 HAVE_ARM

#define ISA(name, bit, needs)                                                                  \
    extern const attn__kernels attn__kernels_f32_##name, attn__kernels_f64_##name;
#include "attn/isa.def"
#undef ISA

typedef struct pick_row {
    const attn__kernels *f32, *f64;
} pick_row;

#define PICK_0(name)      {NULL, NULL},
#define PICK_1(name)      {&attn__kernels_f32_##name, &attn__kernels_f64_##name},
#define PICK2(have, name) PICK_##have(name)
#define PICK(have, name)  PICK2(have, name)
static const pick_row pick_rows[] = {
#define ISA(name, bit, needs) PICK(HAVE_##name, name)
#include "attn/isa.def"
#undef ISA
};

enum { PICK_ROWS = sizeof pick_rows / sizeof pick_rows[0] };

const attn__kernels *attn__kernels_pick(attn_dtype arithmetic, uint32_t allowed)
{
    const attn__kernels *best = NULL;
    for (int i = 0; i < PICK_ROWS; i++) {
        const pick_row *row = &pick_rows[i];
        const attn__kernels *table = arithmetic == ATTN_DTYPE_F64 ? row->f64 : row->f32;
        if (table && (table->isa & allowed)) best = table;
    }
    return best;
}

#if HAVE_X86
extern const attn__half attn__half_f32_avx512vnni;
#endif

const attn__half *attn__half_pick(const attn__kernels *table)
{
#if HAVE_X86
    const uint32_t here = table->dtype == ATTN_DTYPE_F32 ? ATTN_ISA_avx512 : 0;
    if ((table->isa & here) && attn__cpu_adds_pairs()) return &attn__half_f32_avx512vnni;
#endif
    (void)table;
    return NULL;
}

uint32_t attn__kernels_built(void)
{
    uint32_t built = 0;
    for (int i = 0; i < PICK_ROWS; i++)
        if (pick_rows[i].f32) built |= pick_rows[i].f32->isa;
    return built;
}
