/* SPDX-License-Identifier: MIT
 * What this machine offers: instruction sets and CPUs. Everything here asks the compiler's
 * runtime or the system and remembers nothing. It executes no cpuid, which traps in virtual
 * machines and would cost more than a small attention call; a glibc before 2.33 does when a plan
 * asks for the first cache. */
#define _GNU_SOURCE

#include "base/base.h"

#include <sched.h>
#include <stdio.h>
#include <unistd.h>

#if defined(__aarch64__)
#    include <sys/auxv.h>
#    include <sys/prctl.h>
#endif

typedef struct cpu_feature {
    const char *name;
    bool there;
} cpu_feature;

enum { CPU_MAX_FEATURES = 16 };

/* The runtime of older clangs does not know f16c by name. Every CPU with AVX2 has it. */
#if defined(__x86_64__) && defined(__clang__) && __clang_major__ < 19
#    define CPU_F16C_NAME "avx2"
#else
#    define CPU_F16C_NAME "f16c"
#endif

#if defined(__aarch64__)
/* Bits in a vector of SVE, 0 without it. The system tells the length, so no instruction of SVE
 * is needed to ask; it belongs to the thread, and the threads it starts inherit it. */
static int cpu_sve_bits(void)
{
    if (!(getauxval(AT_HWCAP) & HWCAP_SVE)) return 0;
    const int length = prctl(PR_SVE_GET_VL);
    return length < 0 ? 0 : 8 * (length & PR_SVE_VL_LEN_MASK);
}
#endif

/* Strongest last; an entry without a name ends the list. */
static void cpu_list(cpu_feature list[CPU_MAX_FEATURES])
{
    const cpu_feature here[CPU_MAX_FEATURES] = {
#if defined(__x86_64__)
        {"sse2", true},
        {"avx", __builtin_cpu_supports("avx")},
        {"avx2", __builtin_cpu_supports("avx2")},
        {"fma", __builtin_cpu_supports("fma")},
        {"f16c", __builtin_cpu_supports(CPU_F16C_NAME)},
        {"avx512f", __builtin_cpu_supports("avx512f")},
        {"avx512bw", __builtin_cpu_supports("avx512bw")},
        {"avx512dq", __builtin_cpu_supports("avx512dq")},
        {"avx512vl", __builtin_cpu_supports("avx512vl")},
        {"avx512vnni", __builtin_cpu_supports("avx512vnni")},
        {"avx512bf16", __builtin_cpu_supports("avx512bf16")},
#elif defined(__aarch64__)
        {"neon", true},
        {"sve128", cpu_sve_bits() == 128},
        {"sve256", cpu_sve_bits() == 256},
        {"sve512", cpu_sve_bits() == 512},
#endif
    };
    for (int i = 0; i < CPU_MAX_FEATURES; i++) list[i] = here[i];
}

/* ---- instruction sets -------------------------------------------------------------------- */

#if defined(__x86_64__)
static bool cpu_has_avx2(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
           __builtin_cpu_supports(CPU_F16C_NAME);
}

static bool cpu_has_avx512(void)
{
    return cpu_has_avx2() && __builtin_cpu_supports("avx512f") &&
           __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vl");
}
#endif

#if defined(__aarch64__)
/* The one table whose vectors are as long as this thread's. */
static uint32_t cpu_sve_isa(void)
{
    switch (cpu_sve_bits()) {
    case 128:
        return ATTN_ISA_sve128;
    case 256:
        return ATTN_ISA_sve256;
    case 512:
        return ATTN_ISA_sve512;
    default:
        return 0;
    }
}
#endif

uint32_t attn__cpu_isas(void)
{
    uint32_t isas = ATTN_ISA_scalar;
#if defined(__x86_64__)
    if (cpu_has_avx2()) isas |= ATTN_ISA_avx2;
    if (cpu_has_avx512()) isas |= ATTN_ISA_avx512;
#elif defined(__aarch64__)
    isas |= ATTN_ISA_neon | cpu_sve_isa();
#endif
    return isas;
}

int64_t attn__cpu_first_cache(void)
{
#ifdef _SC_LEVEL1_DCACHE_SIZE
    return attn__max(0, sysconf(_SC_LEVEL1_DCACHE_SIZE));
#else
    return 0;
#endif
}

bool attn__cpu_adds_pairs(void)
{
#if defined(__x86_64__)
    return cpu_has_avx512() && __builtin_cpu_supports("avx512vnni");
#else
    return false;
#endif
}

size_t attn_cpu_text(char *text, size_t n)
{
    cpu_feature list[CPU_MAX_FEATURES];
    size_t used = 0;
    if (!text) n = 0;
    if (n) text[0] = 0;
    cpu_list(list);
    for (int i = 0; i < CPU_MAX_FEATURES && list[i].name; i++) {
        if (!list[i].there) continue;
        size_t at = used < n ? used : n;
        int length = snprintf(n ? text + at : NULL, n - at, used ? " %s" : "%s", list[i].name);
        if (length > 0) used += (size_t)length;
    }
    return used;
}

/* ---- CPUs -------------------------------------------------------------------------------- */

enum { CPU_SET_WORDS = 256 }; /* 16384 CPUs, beyond what Linux can be built for */

static int cpu_affinity(void)
{
    union {
        cpu_set_t set;
        unsigned long words[CPU_SET_WORDS];
    } mask = {.words = {0}};
    if (sched_getaffinity(0, sizeof mask, &mask.set) != 0) return 0;
    return CPU_COUNT_S(sizeof mask, &mask.set);
}

int attn_cpu_count(void)
{
    int count = cpu_affinity();
    if (count < 1) count = (int)attn__min(sysconf(_SC_NPROCESSORS_ONLN), INT32_MAX);
    int quota = attn__cpu_quota("/proc/self/cgroup", "/sys/fs/cgroup");
    return (int)attn__max(1, attn__min(count, quota));
}
