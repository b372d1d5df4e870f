/* SPDX-License-Identifier: MIT
 * Dense tensors the command owns, and numbers to fill them with: a hash of seed and index, so
 * that the same seed gives the same data in any order and on any machine. */
#define _DEFAULT_SOURCE
#include "cli.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Bytes that can be had without swapping, as Linux tells it; 0 when nobody tells. */
static double array_available(void)
{
    FILE *file = fopen("/proc/meminfo", "r");
    if (!file) return 0;
    char line[128];
    unsigned long long kilobytes = 0;
    while (kilobytes == 0 && fgets(line, sizeof line, file))
        if (sscanf(line, "MemAvailable: %llu", &kilobytes) != 1) kilobytes = 0;
    fclose(file);
    return (double)kilobytes * 1024;
}

/* Systems promise more memory than there is and end the program when it is used: ask first. */
static bool array_fits(double bytes)
{
    double available = array_available();
    if (available > 0) return bytes < available;
    long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    return pages <= 0 || page <= 0 || bytes < (double)pages * (double)page;
}

/* Zeros, in huge pages when they are many, as numpy asks for them. The pages are taken now, so
 * that the next question counts them. */
static void *array_zeros(size_t size)
{
    enum { PAGE = 4096, HUGE = 1 << 21 };
    void *data = NULL;
    const bool large = size >= 2 * HUGE;
    if (posix_memalign(&data, large ? HUGE : PAGE, size) != 0) return NULL;
#ifdef MADV_HUGEPAGE
    if (large) madvise(data, size / HUGE * HUGE, MADV_HUGEPAGE);
#endif
    return memset(data, 0, size);
}

attn_tensor cli_array_new(attn_dtype dtype, int rank, const int64_t *shape)
{
    attn_tensor t = attn_tensor_make(NULL, dtype, rank, shape);
    int64_t count = attn_tensor_count(t);
    size_t size = attn_dtype_size(dtype);
    if (count < 0 || size == 0 || !array_fits((double)count * (double)size))
        return (attn_tensor){0};
    t.data = array_zeros(((size_t)count + 1) * size);
    return t.data ? t : (attn_tensor){0};
}

void cli_array_free(attn_tensor *t)
{
    free(t->data);
    *t = (attn_tensor){0};
}

/* One element as a tensor of rank 0, so that the library's own copy converts it. */
static attn_tensor array_element(attn_tensor t, int64_t i)
{
    int64_t at = 0;
    for (int d = t.rank - 1; d >= 0; d--) {
        at += i % t.shape[d] * t.stride[d];
        i /= t.shape[d];
    }
    char *data = (char *)t.data + at * (int64_t)attn_dtype_size(t.dtype);
    return attn_tensor_make(data, t.dtype, 0, NULL);
}

double cli_array_get(attn_tensor t, int64_t i)
{
    double x = 0;
    attn_tensor_copy(attn_tensor_make(&x, ATTN_DTYPE_F64, 0, NULL), array_element(t, i), NULL);
    return x;
}

/* The finaliser of SplitMix64 on a counter. */
static uint64_t array_hash(uint64_t seed, uint64_t i)
{
    uint64_t x = (seed + 1) * UINT64_C(0x9e3779b97f4a7c15) + i * UINT64_C(0xd1342543de82ef95);
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

double cli_uniform(uint64_t seed, uint64_t i)
{
    return ((double)(array_hash(seed, i) >> 11) + 0.5) * 0x1p-53;
}

void cli_array_normal(attn_tensor t, uint64_t seed)
{
    enum { BLOCK = 256 };
    double x[BLOCK];
    int64_t count = attn_tensor_count(t);
    for (int64_t from = 0; from < count; from += BLOCK) {
        int64_t n = count - from < BLOCK ? count - from : BLOCK;
        for (int64_t i = 0; i < n; i++) {
            uint64_t pair = 2 * (uint64_t)(from + i);
            x[i] = sqrt(-2 * log(cli_uniform(seed, pair))) *
                   cos(2 * 3.14159265358979323846 * cli_uniform(seed, pair + 1));
        }
        char *to = (char *)t.data + from * (int64_t)attn_dtype_size(t.dtype);
        attn_tensor_copy(attn_tensor_make(to, t.dtype, 1, &n),
                         attn_tensor_make(x, ATTN_DTYPE_F64, 1, &n), NULL);
    }
}
