/* SPDX-License-Identifier: MIT
 * Shape strings: "B H T D" says what the dimensions of a tensor are called, and equal letters
 * are equal sizes. Binding the tensors of a call one after another finds the first that
 * disagrees.
 *
 * A dimension is a number, or factor letter+number with both numbers optional: "B", "B+1",
 * "4D", "2R+1". A leading '*' allows the tensor to be smaller: right-aligned, each dimension
 * full, 1 or missing. */
#include "base/base.h"

#include <stdio.h>

typedef struct shape_dim {
    int letter; /* 0..25, or -1 for a plain number */
    int64_t factor, add;
} shape_dim;

typedef struct shape_list {
    bool broadcast;
    int rank; /* -1: malformed */
    shape_dim dims[ATTN_MAX_RANK];
} shape_list;

static bool shape_is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Far above every shape in use; keeps the number from growing without end. */
static const char *shape_read_number(const char *p, int64_t *number)
{
    if (!shape_is_digit(*p)) return NULL;
    for (*number = 0; shape_is_digit(*p); p++) {
        *number = *number * 10 + (*p - '0');
        if (*number > ATTN__FAR) return NULL;
    }
    return p;
}

/* Reads one dimension at p; the place behind it, or NULL when it is malformed. */
static const char *shape_read_dim(const char *p, shape_dim *dim)
{
    *dim = (shape_dim){.letter = -1, .factor = 1};
    const char *behind = shape_read_number(p, &dim->add);
    if (behind && *behind >= 'A' && *behind <= 'Z') {
        dim->factor = dim->add, dim->add = 0;
        p = behind;
    }
    if (*p >= 'A' && *p <= 'Z') {
        dim->letter = *p++ - 'A';
        if (*p == '+') p = shape_read_number(p + 1, &dim->add);
    } else {
        p = behind;
    }
    return p && dim->factor > 0 && (*p == 0 || *p == ' ') ? p : NULL;
}

/* The size of the dimension when its letter is bound to this. */
static bool shape_dim_size(const shape_dim *dim, int64_t bound, int64_t *size)
{
    return attn__mul(bound, dim->factor, size) && attn__add(*size, dim->add, size);
}

static shape_list shape_parse(const char *shape)
{
    shape_list list = {.rank = 0};
    const char *p = shape ? shape : "?";
    if (*p == '*') list.broadcast = true, p++;
    for (;;) {
        while (*p == ' ') p++;
        if (!*p) return list;
        shape_dim *dim = &list.dims[list.rank];
        p = list.rank < ATTN_MAX_RANK ? shape_read_dim(p, dim) : NULL;
        if (!p) break;
        list.rank++;
    }
    list.rank = -1;
    return list;
}

static attn_status shape_malformed(const char *slot, const char *shape, attn_error *error)
{
    return attn__fail_name(error, ATTN_E_PARAM, slot, "malformed shape string", shape);
}

void attn__sizes_init(attn__sizes *sizes)
{
    *sizes = (attn__sizes){0};
    for (int i = 0; i < ATTN__LETTERS; i++) sizes->size[i] = -1;
}

int attn__shape_rank(const char *shape)
{
    return shape_parse(shape).rank;
}

/* ---- binding ----------------------------------------------------------------------------- */

typedef struct shape_place {
    attn__sizes *sizes;
    const char *slot;
    bool broadcast;
    int index; /* of the dimension in the tensor */
} shape_place;

/* "D of k and q" for a letter, "dimension 1 of k" for a number. */
static attn_status shape_clash(const shape_place *place, const shape_dim *dim, int64_t want,
                               int64_t got, attn_error *error)
{
    char name[64];
    const char *what = "size differs from the fixed one";
    if (dim->letter < 0) {
        snprintf(name, sizeof name, "dimension %d of %s", place->index, place->slot);
    } else {
        what = "size differs from the one another slot gave this letter";
        snprintf(name, sizeof name, "%c of %s and %s", 'A' + dim->letter, place->slot,
                 place->sizes->from[dim->letter]);
    }
    attn__fail_name(error, ATTN_E_SHAPE, place->slot, what, name);
    if (error) error->counted = true, error->want = want, error->got = got;
    return ATTN_E_SHAPE;
}

/* A letter that no slot has given yet takes its size from here, unless the 1 of a broadcast
 * leaves it open. */
static attn_status shape_bind_letter(const shape_place *place, const shape_dim *dim,
                                     int64_t got, attn_error *error)
{
    if (got < dim->add)
        return attn__fail_count(error, ATTN_E_SHAPE, place->slot, "size is too small", dim->add,
                                got);
    if (place->broadcast && got == 1) return ATTN_OK;
    if ((got - dim->add) % dim->factor != 0)
        return attn__fail_count(error, ATTN_E_SHAPE, place->slot,
                                dim->add ? "size must be one more than a multiple"
                                         : "size must be a multiple",
                                dim->factor, got);
    place->sizes->size[dim->letter] = (got - dim->add) / dim->factor;
    place->sizes->from[dim->letter] = place->slot;
    return ATTN_OK;
}

static attn_status shape_bind_dim(const shape_place *place, const shape_dim *dim, int64_t got,
                                  attn_error *error)
{
    int64_t bound = dim->letter < 0 ? 0 : place->sizes->size[dim->letter];
    if (bound < 0) return shape_bind_letter(place, dim, got, error);
    int64_t want;
    if (!shape_dim_size(dim, bound, &want))
        return attn__fail(error, ATTN_E_OVERFLOW, place->slot, "a dimension does not fit");
    if (got == want || (place->broadcast && got == 1)) return ATTN_OK;
    return shape_clash(place, dim, want, got, error);
}

attn_status attn__shape_bind(attn__sizes *sizes, const char *slot, const char *shape,
                             const attn_tensor *t, attn_error *error)
{
    shape_list list = shape_parse(shape);
    if (list.rank < 0) return shape_malformed(slot, shape, error);
    bool fits = list.broadcast ? t->rank <= list.rank : t->rank == list.rank;
    if (!fits || t->rank < 0) {
        attn__fail_name(error, ATTN_E_RANK, slot, "wrong number of dimensions", shape);
        if (error) error->counted = true, error->want = list.rank, error->got = t->rank;
        return ATTN_E_RANK;
    }
    for (int i = 0; i < t->rank; i++) {
        shape_place place = {sizes, slot, list.broadcast, i};
        const shape_dim *dim = &list.dims[list.rank - t->rank + i];
        ATTN_TRY(shape_bind_dim(&place, dim, t->shape[i], error));
    }
    return ATTN_OK;
}

attn_status attn__shape_resolve(const attn__sizes *sizes, const char *slot, const char *shape,
                                int *rank, int64_t *dims, attn_error *error)
{
    shape_list list = shape_parse(shape);
    if (list.rank < 0) return shape_malformed(slot, shape, error);
    for (int i = 0; i < list.rank; i++) {
        shape_dim dim = list.dims[i];
        int64_t bound = dim.letter < 0 ? 0 : sizes->size[dim.letter];
        char letter[2] = {(char)('A' + dim.letter), 0};
        if (bound < 0)
            return attn__fail_name(error, ATTN_E_SHAPE, slot,
                                   "no slot gives this letter a size", letter);
        if (!shape_dim_size(&dim, bound, &dims[i]))
            return attn__fail(error, ATTN_E_OVERFLOW, slot, "a dimension does not fit");
    }
    *rank = list.rank;
    return ATTN_OK;
}
