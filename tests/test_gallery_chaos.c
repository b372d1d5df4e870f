/* SPDX-License-Identifier: MIT
 * Calls that nobody would make, forward and back: sizes of 0 to 6 for every letter, now and then one that
 * disagrees, parameters from -1 to 2^62 and NaN, slots left out, every type of element, memory
 * that ends at 64 MiB; and the same for gradients. The answer is a result that was written in
 * full, or a status with a sentence and outputs as they were; and whatever was taken is given
 * back.
 *
 *     ATTN_MECH=name ATTN_SEED=7 ATTN_CASES=1 build/test/tests/test_gallery_chaos    one call
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "gallery_run.h"

/* ---- memory that ends -------------------------------------------------------------------- */

enum { CHAOS_MEMORY = 64 << 20 };

typedef struct chaos_memory {
    pthread_mutex_t lock;
    size_t now;
    int64_t live;
} chaos_memory;

static void *chaos_alloc(void *user, void *ptr, size_t old_size, size_t new_size, size_t align)
{
    chaos_memory *m = user;
    void *p = NULL;
    pthread_mutex_lock(&m->lock);
    if (ptr) free(ptr), m->now -= old_size, m->live--;
    if (new_size && new_size <= CHAOS_MEMORY - m->now)
        p = aligned_alloc(align, (new_size + align - 1) / align * align);
    if (p) m->now += new_size, m->live++;
    pthread_mutex_unlock(&m->lock);
    return p;
}

/* ---- a call ------------------------------------------------------------------------------ */

typedef struct chaos_call {
    gallery_draw draw;
    attn_tensor slots[ATTN_MAX_SLOTS], d_slots[ATTN_MAX_SLOTS];
    attn_value params[ATTN_MAX_PARAMS];
} chaos_call;

static void chaos_sizes(const attn_mech *mech, test_rng *rng, char *text, size_t n)
{
    char letters[27] = "";
    for (int i = 0; mech->slots[i].name; i++)
        for (const char *p = mech->slots[i].shape; *p; p++)
            if (*p >= 'A' && *p <= 'Z' && !strchr(letters, *p) && strlen(letters) < 26)
                letters[strlen(letters)] = *p;
    text[0] = 0;
    for (const char *l = letters; *l; l++)
        if (test_rng_chance(rng, 60))
            snprintf(text + strlen(text), n - strlen(text), ",%c=%d", *l,
                     (int)test_rng_range(rng, 0, 6));
}

static void chaos_params(const attn_mech *mech, test_rng *rng, attn_value *params)
{
    static const int64_t odd[] = {
        -1, 0, 1, 2, 3, 4, 9, INT64_C(1) << 40, INT64_C(1) << 62, INT64_MIN};
    static const double real[] = {-1,         0, 0.5, 1, 2, 1e-300, 1e300, (double)INFINITY,
                                  (double)NAN};
    for (int i = 0; mech->params[i].name; i++) {
        if (test_rng_chance(rng, 60)) continue;
        params[i].i = test_rng_pick(rng, odd, sizeof odd / sizeof odd[0]);
        params[i].f = real[test_rng_range(rng, 0, (int64_t)(sizeof real / sizeof real[0]) - 1)];
    }
}

static void chaos_spoil(chaos_call *c, test_rng *rng)
{
    static const attn_dtype types[] = {ATTN_DTYPE_F32,  ATTN_DTYPE_F64, ATTN_DTYPE_BF16,
                                       ATTN_DTYPE_F16,  ATTN_DTYPE_I32, ATTN_DTYPE_I64,
                                       ATTN_DTYPE_BOOL, ATTN_DTYPE_U8};
    for (int i = 0; c->draw.call.mech->slots[i].name; i++) {
        attn_tensor *t = &c->slots[i];
        if (test_rng_chance(rng, 8)) *t = (attn_tensor){0};
        if (!t->dtype || !test_rng_chance(rng, 4)) continue;
        int64_t shape[ATTN_MAX_RANK];
        memcpy(shape, t->shape, sizeof shape);
        if (t->rank > 0 && test_rng_chance(rng, 50))
            shape[test_rng_range(rng, 0, t->rank - 1)] = test_rng_range(rng, 0, 7);
        *t = test_tensor(&c->draw.arena, types[test_rng_range(rng, 0, 7)], t->rank, shape);
        if (c->draw.call.mech->slots[i].kind & ATTN_OUT)
            memset(t->data, 0xFF, (size_t)attn_tensor_count(*t) * attn_dtype_size(t->dtype));
    }
}

static void chaos_draw(chaos_call *c, const gallery_row *row, uint64_t seed)
{
    test_rng rng = test_rng_make(seed);
    char text[256];
    chaos_sizes(row->mech, &rng, text, sizeof text);
    gallery_draw_bare(&c->draw, row, text, seed);
    for (int i = 0; row->mech->slots[i].name; i++)
        if ((row->mech->slots[i].kind & ATTN_OPTIONAL) && test_rng_chance(&rng, 50))
            gallery_draw_optional(&c->draw, i, &rng);
    gallery_tensors(&c->draw, test_rng_chance(&rng, 50) ? ATTN_DTYPE_F32 : ATTN_DTYPE_F64, &rng,
                    c->slots);
    gallery_gradients(&c->draw, ATTN_DTYPE_F32, &rng, c->slots, c->d_slots);
    memcpy(c->params, c->draw.call.params, sizeof c->params);
    chaos_params(row->mech, &rng, c->params);
    chaos_spoil(c, &rng);
}

/* ---- the answer -------------------------------------------------------------------------- */

static void chaos_judge(const chaos_call *c, attn_status status, const attn_error *error,
                        uint64_t seed)
{
    const attn_mech *mech = c->draw.call.mech;
    for (int i = 0; mech->slots[i].name; i++) {
        const attn_tensor *t = &c->slots[i];
        if (!(mech->slots[i].kind & ATTN_OUT) || !t->dtype || test_tensor_empty(t)) continue;
        if (status != ATTN_OK && !gallery_untouched(t))
            fail_msg("%s, seed %llu: refused, and %s was written", mech->name,
                     (unsigned long long)seed, mech->slots[i].name);
        if (status == ATTN_OK && gallery_untouched(t))
            fail_msg("%s, seed %llu: %s was not written", mech->name, (unsigned long long)seed,
                     mech->slots[i].name);
    }
    if (status != ATTN_OK && (error->status != status || !error->what || !error->where))
        fail_msg("%s, seed %llu: no sentence", mech->name, (unsigned long long)seed);
}

static void chaos_forward(attn_ctx *ctx, const gallery_row *row, uint64_t seed)
{
    chaos_call c;
    attn_error error = {0};
    chaos_draw(&c, row, seed);
    const attn_status status = attn_mech_run(ctx, row->mech, c.slots, c.params, &error);
    chaos_judge(&c, status, &error, seed);
    gallery_free(&c.draw);
}

/* ---- the way back ------------------------------------------------------------------------ */

static void chaos_back_draw(chaos_call *c, attn_tensor *d_slots, test_rng *rng)
{
    static const attn_dtype types[] = {ATTN_DTYPE_F32, ATTN_DTYPE_F64,  ATTN_DTYPE_BF16,
                                       ATTN_DTYPE_F16, ATTN_DTYPE_BOOL, ATTN_DTYPE_I64};
    gallery_gradients(&c->draw, ATTN_DTYPE_F32, rng, c->slots, d_slots);
    for (int i = 0; c->draw.call.mech->slots[i].name; i++) {
        attn_tensor *d = &d_slots[i];
        if (test_rng_chance(rng, 20)) *d = (attn_tensor){0};
        if (!d->dtype || !test_rng_chance(rng, 10)) continue;
        int64_t shape[ATTN_MAX_RANK];
        memcpy(shape, d->shape, sizeof shape);
        if (d->rank > 0 && test_rng_chance(rng, 20))
            shape[test_rng_range(rng, 0, d->rank - 1)] = test_rng_range(rng, 0, 7);
        *d = test_tensor(&c->draw.arena, types[test_rng_range(rng, 0, 5)], d->rank, shape);
        if (!(c->draw.call.mech->slots[i].kind & ATTN_OUT))
            memset(d->data, 0xFF, (size_t)attn_tensor_count(*d) * attn_dtype_size(d->dtype));
    }
}

static void chaos_back_judge(const chaos_call *c, const attn_tensor *d_slots,
                             attn_status status, uint64_t seed)
{
    const attn_mech *mech = c->draw.call.mech;
    for (int i = 0; mech->slots[i].name; i++) {
        const attn_tensor *d = &d_slots[i];
        if ((mech->slots[i].kind & ATTN_OUT) || !d->dtype || test_tensor_empty(d)) continue;
        if ((status == ATTN_OK) == gallery_untouched(d))
            fail_msg("%s, seed %llu: d_%s %s written", mech->name, (unsigned long long)seed,
                     mech->slots[i].name, status == ATTN_OK ? "was not" : "was");
    }
}

static void chaos_backward(attn_ctx *ctx, const gallery_row *row, uint64_t seed)
{
    chaos_call c;
    attn_error error = {0};
    attn_tensor d_slots[ATTN_MAX_SLOTS];
    test_rng rng = test_rng_make(~seed);
    chaos_draw(&c, row, seed);
    chaos_back_draw(&c, d_slots, &rng);
    const attn_status status =
        attn_mech_run_grad(ctx, row->mech, c.slots, d_slots, c.params, &error);
    chaos_judge(&c, status, &error, seed);
    chaos_back_judge(&c, d_slots, status, seed);
    gallery_free(&c.draw);
}

/* ---- many calls -------------------------------------------------------------------------- */

static void chaos_walk(const gallery_row *row,
                       void (*one)(attn_ctx *ctx, const gallery_row *row, uint64_t seed))
{
    chaos_memory m = {.lock = PTHREAD_MUTEX_INITIALIZER};
    attn_ctx *ctx;
    const uint64_t first = (uint64_t)test_env_int("ATTN_SEED", 1);
    const int64_t n = test_env_int("ATTN_CASES", test_env_share(300));
    assert_int_equal(
        attn_ctx_create(
            &ctx, &ATTN_CONFIG(.threads = 1, .alloc = chaos_alloc, .alloc_user = &m), NULL),
        ATTN_OK);
    const int64_t live = m.live;
    for (uint64_t seed = first; seed < first + (uint64_t)n; seed++) {
        one(ctx, row, seed);
        if (m.live != live)
            fail_msg("%s, seed %llu: memory is lost", row->name, (unsigned long long)seed);
    }
    attn_ctx_destroy(ctx);
}

static void chaos_of(const gallery_row *row)
{
    chaos_walk(row, chaos_forward);
}

static void chaos_back_of(const gallery_row *row)
{
    chaos_walk(row, chaos_backward);
}

static void test_chaos(void **state)
{
    (void)state;
    gallery_each(chaos_of);
}

static void test_chaos_back(void **state)
{
    (void)state;
    gallery_each(chaos_back_of);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {cmocka_unit_test(test_chaos),
                                              cmocka_unit_test(test_chaos_back)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
