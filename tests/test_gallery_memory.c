/* SPDX-License-Identifier: MIT
 * Mechanisms that say they stream hold no memory that grows with the square of the length: the
 * most that the library has allocated during one call at a length of 4096 stays below a quarter
 * of a matrix of floats. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "gallery_run.h"

typedef struct memory_meter {
    pthread_mutex_t lock;
    size_t now, most;
} memory_meter;

static void *memory_alloc(void *user, void *ptr, size_t old_size, size_t new_size, size_t align)
{
    memory_meter *m = user;
    void *p = NULL;
    pthread_mutex_lock(&m->lock);
    if (ptr) free(ptr), m->now -= old_size;
    if (new_size) p = aligned_alloc(align, (new_size + align - 1) / align * align);
    if (p) m->now += new_size;
    if (m->now > m->most) m->most = m->now;
    pthread_mutex_unlock(&m->lock);
    return p;
}

enum { LONG = 4096 };

/* Data of LONG along what grows (along a side of a picture: its root): an n x n matrix of
 * floats would be 64 MiB. Optional outputs may be such a matrix, so only the first one is asked
 * for. */
static void memory_of(const gallery_row *row)
{
    memory_meter meter = {.lock = PTHREAD_MUTEX_INITIALIZER};
    attn_ctx *ctx;
    attn_error error;
    gallery_draw d;
    attn_tensor slots[ATTN_MAX_SLOTS];
    char text[128] = "B=1";
    if (!(row->mech->traits & ATTN_STREAMS)) return;
    const size_t sides = strlen(row->mech->grows);
    const bool picture = strncmp(row->mech->grows, "YX", 2) == 0;
    for (size_t i = 0; i < sides; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), ",%c=%d", row->mech->grows[i],
                 picture ? 64 : LONG);
    assert_int_equal(
        attn_ctx_create(&ctx,
                        &ATTN_CONFIG(.threads = 2, .alloc = memory_alloc, .alloc_user = &meter),
                        NULL),
        ATTN_OK);
    test_rng rng = test_rng_make(5);
    gallery_draw_bare(&d, row, text, 17);
    gallery_tensors(&d, ATTN_DTYPE_F32, &rng, slots);
    if (attn_mech_run(ctx, row->mech, slots, d.call.params, &error) != ATTN_OK)
        fail_msg("%s: %s", row->name, error.what);
    if (meter.most > (size_t)LONG * LONG)
        fail_msg("%s: %zu bytes at a length of %d", row->name, meter.most, LONG);
    gallery_free(&d);
    attn_ctx_destroy(ctx);
}

static void test_memory(void **state)
{
    (void)state;
    gallery_each(memory_of);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {cmocka_unit_test(test_memory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
