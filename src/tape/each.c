/* SPDX-License-Identifier: MIT
 * One element at a time: a row function over blocks of its operands. Which blocks those are
 * shows in no result, because an element is a function of its own operands alone. */
#include "tape/walk.h"

#include <string.h>

attn__each attn__each_of(attn__call *c, attn__each_row row, const attn_tensor *shape)
{
    return (attn__each){.c = c, .row = row, .shape = shape};
}

/* t with its elements as reals or int64_t: itself if they are that, else a dense copy. */
static attn_status each_read(attn__call *c, const attn_tensor *t, attn_tensor *read)
{
    const bool real = attn__dtype_is_float(t->dtype);
    const attn_dtype dtype = real ? c->real : ATTN_DTYPE_I64;
    *read = *t;
    if (t->dtype == dtype) return ATTN_OK;
    const void *data = real ? attn__call_reals(c, t) : (const void *)attn__call_ints(c, t);
    if (!data) return ATTN_E_MEMORY;
    *read = attn_tensor_make((void *)(uintptr_t)data, dtype, t->rank, t->shape);
    return ATTN_OK;
}

attn_status attn__each_bools(attn__each *e, const attn_tensor *t)
{
    e->x[e->n++] = attn__walk_of(t, e->shape);
    return ATTN_OK;
}

attn_status attn__each_operand(attn__each *e, const attn_tensor *t)
{
    attn_tensor read;
    if (t->dtype == ATTN_DTYPE_BOOL) return attn__each_bools(e, t);
    ATTN_TRY(each_read(e->c, t, &read));
    e->x[e->n++] = attn__walk_of(&read, e->shape);
    return ATTN_OK;
}

const void *attn__each_block(const attn__each *e, int64_t from, int64_t n, void *room)
{
    double space[3][ATTN__WALK_BLOCK];
    const void *x[3] = {NULL};
    if (!e->row) return attn__walk_block(&e->x[0], from, n, room);
    for (int i = 0; i < e->n; i++) x[i] = attn__walk_block(&e->x[i], from, n, space[i]);
    e->row(e->c, n, x, room);
    return room;
}

static void each_fill_piece(void *arg, int64_t from, int64_t to)
{
    const attn__each *e = arg;
    const int64_t width = (int64_t)attn_dtype_size(e->y->dtype);
    for (int64_t i = from; i < to; i += ATTN__WALK_BLOCK) {
        const int64_t n = attn__min(ATTN__WALK_BLOCK, to - i);
        char *y = (char *)e->y->data + i * width;
        const void *made = attn__each_block(e, i, n, y);
        if (made != y) memcpy(y, made, (size_t)(n * width));
    }
}

void attn__each_fill(attn__each *e, const attn_tensor *y)
{
    e->y = y;
    attn__call_share(e->c, attn_tensor_count(*y), ATTN__EACH_GRAIN, each_fill_piece, e);
}
