/* SPDX-License-Identifier: MIT
 * Keys and values of a bench row in a cache of attn's own: one part for each type of element,
 * with a scale for each token and head where it is coded, or pages of one pool. Cold rows fill
 * more sequences than a call takes; calls take them in turn. Bytes of a call are those of the keys
 * and values of its sequences, scales included. */
#include "bench.h"

#include <math.h>
#include <string.h>

static const struct cache_type {
    const char *name;
    attn_cache_type type;
    bool coded; /* queries and outputs are f32 */
} cache_types[] = {
    {"f64", ATTN_CACHE_F64, false},   {"f32", ATTN_CACHE_F32, false},
    {"bf16", ATTN_CACHE_BF16, false}, {"f16", ATTN_CACHE_F16, false},
    {"int8", ATTN_CACHE_I8, true},    {"int4", ATTN_CACHE_I4, true},
};

static const struct {
    unsigned option;
    int64_t keys; /* of a page; 0: none */
} cache_pages[] = {{BENCH_CACHE, 0}, {BENCH_PAGE16, 16}, {BENCH_PAGE256, 256}};

static const struct cache_type *cache_type_find(const char *name)
{
    for (size_t i = 0; i < sizeof cache_types / sizeof cache_types[0]; i++)
        if (strcmp(cache_types[i].name, name) == 0) return &cache_types[i];
    return NULL;
}

bool bench_coded(const char *type)
{
    const struct cache_type *known = cache_type_find(type);
    return known && known->coded;
}

static int64_t cache_page(unsigned options)
{
    int64_t keys = 0;
    for (size_t i = 0; i < sizeof cache_pages / sizeof cache_pages[0]; i++)
        if (options & cache_pages[i].option) keys = cache_pages[i].keys;
    return keys;
}

static attn_cache_spec cache_spec(const bench_row *row, attn_dtype dtype, int64_t sequences)
{
    const int64_t *s = row->sizes, page = cache_page(row->options);
    const char *type = row->dtype ? row->dtype : attn_dtype_name(dtype);
    const attn_cache_format format = {.type = cache_type_find(type)->type};
    attn_cache_spec spec =
        ATTN_CACHE(.kind = page ? ATTN_CACHE_PAGED : ATTN_CACHE_CONTIGUOUS,
                   .sequences = sequences, .heads = s[2], .key_width = s[5],
                   .value_width = s[5], .longest = s[4], .key = format, .value = format);
    if (page == 0) {
        spec.capacity = s[4];
        return spec;
    }
    spec.page = page;
    spec.pages = (s[4] + page - 1) / page * sequences;
    return spec;
}

/* S keys for every sequence, a piece of them for all sequences at a time, as they would come. */
static int cache_fill(bench_job *job, const bench_row *row, attn_dtype dtype, int64_t sequences)
{
    enum { PIECE = 256, AT_ONCE = 8 };
    const int64_t *s = row->sizes, shape[] = {AT_ONCE, s[2], PIECE, s[5]};
    attn_error error;
    attn_tensor k = bench_tensor(job, dtype, 4, shape, 2);
    attn_tensor v = bench_tensor(job, dtype, 4, shape, 3);
    int code = bench_memory(job);
    for (int64_t first = 0; !code && first < sequences; first += AT_ONCE)
        for (int64_t at = 0; !code && at < s[4]; at += PIECE) {
            int64_t which[AT_ONCE],
                n = sequences - first < AT_ONCE ? sequences - first : AT_ONCE;
            for (int64_t i = 0; i < n; i++) which[i] = first + i;
            k.shape[0] = v.shape[0] = n;
            k.shape[2] = v.shape[2] = s[4] - at < PIECE ? s[4] - at : PIECE;
            const attn_cache_new rows =
                ATTN_CACHE_NEW(.k = k, .v = v,
                               .seq = attn_tensor_make(which, ATTN_DTYPE_I64, 1, &n));
            if (attn_cache_append(job->cache, &rows, &error) != ATTN_OK)
                code = cli_fail_error(NULL, &error);
        }
    return code;
}

/* As many sequences as fill a gibibyte, which no cache of the processor holds, or as many as
 * there is memory for. */
static int cache_create(bench_job *job, const bench_row *row, attn_dtype dtype, int64_t *n)
{
    attn_error error;
    attn_status status;
    for (;;) {
        const attn_cache_spec spec = cache_spec(row, dtype, *n * row->sizes[0]);
        status = attn_cache_create(&job->cache, job->ctx, &spec, &error);
        if (status != ATTN_E_MEMORY || *n == 1) break;
        *n /= 2;
    }
    return status == ATTN_OK ? 0 : cli_fail_error(NULL, &error);
}

static double cache_bytes(const bench_job *job, const bench_row *row)
{
    attn_cache_info info;
    attn_cache_describe(job->cache, &info);
    return (double)(info.key_bytes + info.value_bytes) * (double)row->sizes[0] *
           (double)row->sizes[2] * (double)row->sizes[4];
}

/* One copy tells how many there are to be. */
static int cache_cold(bench_job *job, const bench_row *row, attn_dtype dtype, int64_t *n)
{
    const double wanted = 0x1p30;
    *n = 1;
    int code = cache_create(job, row, dtype, n);
    if (code) return code;
    job->bytes = cache_bytes(job, row);
    if (!(row->options & BENCH_COLD)) return 0;
    attn_cache_destroy(job->cache);
    job->cache = NULL;
    *n = (int64_t)ceil(wanted / job->bytes);
    job->turn_bytes = (size_t)(job->bytes / 2);
    code = cache_create(job, row, dtype, n);
    job->n_copies = *n;
    return code;
}

int bench_cache(bench_job *job, const bench_row *row, attn_dtype dtype)
{
    int64_t n;
    int code = cache_cold(job, row, dtype, &n);
    if (!code) code = cache_fill(job, row, dtype, n * row->sizes[0]);
    if (code) return code;
    const int64_t all = n * row->sizes[0];
    job->k_all = cli_array_new(ATTN_DTYPE_I64, 1, &all);
    job->out_of_memory |= !job->k_all.data;
    for (int64_t i = 0; i < all && job->k_all.data; i++) ((int64_t *)job->k_all.data)[i] = i;
    job->args.cache = job->cache;
    job->args.cache_seq = attn_tensor_make(job->k_all.data, ATTN_DTYPE_I64, 1, row->sizes);
    return bench_memory(job);
}

void bench_cache_turn(bench_job *job)
{
    const int64_t at = job->turn * job->args.cache_seq.shape[0];
    job->args.cache_seq.data = (int64_t *)job->k_all.data + at;
}
