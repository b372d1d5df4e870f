/* SPDX-License-Identifier: MIT
 * Bytes as operations on a cache, compared with plain arrays (tests/cache_model.h), attention
 * over them included; what is left of the bytes then damages the entries of the cache, which are
 * refused or make one that can be read and attended to. */
#include <stdio.h>
#include <stdlib.h>

#define MODEL_REQUIRE(kept, promise)                                                           \
    do {                                                                                       \
        if (!(kept)) {                                                                         \
            fprintf(stderr, "broken: %s\n", promise);                                          \
            abort();                                                                           \
        }                                                                                      \
    } while (0)

#include "cache_model_attend.h"
#include "cache_model_steps.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);
const char *__asan_default_options(void);

/* What was freed waits for a late use: all of a run, but not all of the last hundred, whose pages
 * would have to come anew from the system each time. */
const char *__asan_default_options(void)
{
    return "quarantine_size_mb=16";
}

enum { FUZZ_STEPS = 24, FUZZ_ENTRIES = 16, FUZZ_LIMIT = 1 << 26 };

typedef struct fuzz_bytes {
    const uint8_t *next, *end;
    uint64_t state; /* numbers without a byte of their own */
} fuzz_bytes;

/* Small choices cost a byte; when there are none left, or the numbers of a long append would eat
 * them all, a generator goes on from what was read. */
static int64_t fuzz_pick(void *user, int64_t low, int64_t high)
{
    fuzz_bytes *b = user;
    const uint64_t span = (uint64_t)(high - low) + 1;
    if (span < 300 && b->next < b->end) b->state = (b->state << 8 | *b->next++) + 1;
    b->state = b->state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    if (span < 300 && b->next < b->end) return low + (int64_t)(b->next[-1] % span);
    return low + (int64_t)((b->state >> 33) % span);
}

enum { FUZZ_HEADS = 8, FUZZ_WIDTH = 64, FUZZ_SEQUENCES = 64, FUZZ_LONGEST = 1 << 16 };

static void fuzz_read_all(const attn_cache *c, const attn_cache_spec *s)
{
    static double k[FUZZ_HEADS * FUZZ_WIDTH], v[FUZZ_HEADS * FUZZ_WIDTH];
    for (int64_t b = 0; b < s->sequences; b++)
        for (int64_t i = 0; i < attn_cache_length(c, b) && i < 4096; i++)
            (void)attn_cache_read(c, b, i, 1, ATTN_TENSOR(k, F64, s->heads, 1, s->key_width),
                                  ATTN_TENSOR(v, F64, s->heads, 1, s->value_width), NULL);
}

/* Two queries of every head, by a normaliser that holds all scores of a row or one that does not;
 * any status will do. */
static void fuzz_attend(const attn_cache *c, const attn_cache_spec *s, fuzz_bytes *b)
{
    static float q[FUZZ_SEQUENCES * FUZZ_HEADS * 2 * FUZZ_WIDTH];
    static float out[FUZZ_SEQUENCES * FUZZ_HEADS * 2 * FUZZ_WIDTH];
    const attn_norm_kind kinds[] = {ATTN_NORM_SOFTMAX, ATTN_NORM_ENTMAX, ATTN_NORM_TOP_K};
    const attn_norm_kind kind = kinds[fuzz_pick(b, 0, 2)];
    const attn_spec spec =
        ATTN_SPEC(.normaliser = kind, .top_k = kind == ATTN_NORM_TOP_K ? 3 : 0);
    for (size_t i = 0; i < sizeof q / sizeof q[0]; i++) q[i] = (float)(i % 7) - 3;
    const attn_args args =
        ATTN_ARGS(.q = ATTN_TENSOR(q, F32, s->sequences, s->heads, 2, s->key_width), .cache = c,
                  .out = ATTN_TENSOR(out, F32, s->sequences, s->heads, 2, s->value_width));
    (void)attn_forward(NULL, &spec, &args, NULL);
}

static void fuzz_use(const attn_cache *c, fuzz_bytes *b)
{
    attn_cache_info info;
    attn_cache_describe(c, &info);
    const attn_cache_spec *s = &info.spec;
    if (s->heads > FUZZ_HEADS || s->key_width > FUZZ_WIDTH || s->value_width > FUZZ_WIDTH ||
        s->sequences > FUZZ_SEQUENCES || s->longest > FUZZ_LONGEST)
        return;
    fuzz_read_all(c, s);
    fuzz_attend(c, s, b);
}

/* One number of one list of the entries becomes another. */
static void fuzz_damage(attn_cache *c, fuzz_bytes *b)
{
    const char *names[FUZZ_ENTRIES];
    attn_tensor tensors[FUZZ_ENTRIES];
    attn_cache *other = NULL;
    int64_t n = 0, old;
    while (n < FUZZ_ENTRIES && (names[n] = attn_cache_entry(c, n, &tensors[n])) != NULL) n++;
    const int64_t which = fuzz_pick(b, 0, n < 5 ? n - 1 : 4),
                  count = attn_tensor_count(tensors[which]);
    const attn_tensor *t = &tensors[which];
    if (count == 0 || attn_dtype_size(t->dtype) != sizeof old) return;
    /* the lists are dense in their first dimension */
    char *at = (char *)t->data + fuzz_pick(b, 0, t->shape[0] - 1) * t->stride[0] * 8;
    memcpy(&old, at, sizeof old);
    int64_t new = fuzz_pick(b, -3, 80);
    if (fuzz_pick(b, 0, 3) == 0) new = (int64_t)((uint64_t) new << fuzz_pick(b, 0, 63));
    memcpy(at, &new, sizeof new);
    const attn_status status =
        attn_cache_restore(&other, NULL, FUZZ_LIMIT, n, names, tensors, NULL);
    MODEL_REQUIRE((status == ATTN_OK) == (other != NULL), "one answer");
    memcpy(at, &old, sizeof old);
    if (other) fuzz_use(other, b);
    attn_cache_destroy(other);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    fuzz_bytes from = {bytes, bytes + n, n};
    cache_model *m = model_begin((model_choices){fuzz_pick, &from});
    for (int i = 0; i < FUZZ_STEPS && from.next < from.end; i++) {
        model_step(m);
        if (i % 4 == 3) model_attend(m);
    }
    model_check_all(m);
    model_attend(m);
    for (int i = 0; i < 4; i++) fuzz_damage(m->cache, &from);
    model_end(m);
    return 0;
}
