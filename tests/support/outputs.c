/* SPDX-License-Identifier: MIT
 * The same call with other memory: outputs of its own, dense inputs, widened inputs. */
#include "support/support.h"

#include <stddef.h>

typedef struct outputs_field {
    const char *name;
    size_t at;
    char kind;
} outputs_field;

static const outputs_field fields[] = {
#define TENSOR(name, kind) {#name, offsetof(attn_args, name), kind},
#include "support/tensors.def"
#undef TENSOR
};

enum { OUTPUTS_N_FIELDS = sizeof fields / sizeof fields[0] };

static attn_tensor *outputs_of(attn_args *args, const outputs_field *field)
{
    return (attn_tensor *)(void *)((char *)args + field->at);
}

static const attn_tensor *outputs_in(const attn_args *args, const outputs_field *field)
{
    return (const attn_tensor *)(const void *)((const char *)args + field->at);
}

attn_args test_fresh(test_arena *arena, const attn_args *args, char kind)
{
    attn_args fresh = *args;
    for (int i = 0; i < OUTPUTS_N_FIELDS; i++) {
        attn_tensor *t = outputs_of(&fresh, &fields[i]);
        if (fields[i].kind == kind && t->dtype != ATTN_DTYPE_NONE)
            *t = test_tensor(arena, t->dtype, t->rank, t->shape);
    }
    return fresh;
}

attn_args test_outputs_fresh(test_arena *arena, const attn_args *args)
{
    return test_fresh(arena, args, 'o');
}

bool test_same(const attn_args *a, const attn_args *b, char kind, const char **what)
{
    for (int i = 0; i < OUTPUTS_N_FIELDS; i++) {
        const attn_tensor *x = outputs_in(a, &fields[i]), *y = outputs_in(b, &fields[i]);
        if (fields[i].kind != kind || x->dtype == ATTN_DTYPE_NONE || test_same_bits(*x, *y))
            continue;
        *what = fields[i].name;
        return false;
    }
    return true;
}

bool test_outputs_same(const attn_args *a, const attn_args *b, const char **what)
{
    return test_same(a, b, 'o', what);
}

attn_args test_args_dense(test_arena *arena, const attn_args *args, bool widen)
{
    attn_args dense = *args;
    for (int i = 0; i < OUTPUTS_N_FIELDS; i++) {
        attn_tensor *t = outputs_of(&dense, &fields[i]);
        bool half = t->dtype == ATTN_DTYPE_BF16 || t->dtype == ATTN_DTYPE_F16;
        bool input = fields[i].kind == 'm' || fields[i].kind == 'f';
        attn_dtype dtype = widen && half && input ? ATTN_DTYPE_F32 : t->dtype;
        if (t->dtype != ATTN_DTYPE_NONE) *t = test_tensor_dense(arena, *t, dtype);
    }
    return dense;
}
