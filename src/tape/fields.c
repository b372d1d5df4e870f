/* SPDX-License-Identifier: MIT
 * An engine as a node: its call is a struct of tensors, and a table of fields says which operand
 * of the node is which of them, and where the gradient goes. What the caller asked (spec and
 * args, one struct) is kept for the backward. For op_attention.c and op_recurrence.c. */
#include "tape/tape.h"

#include <string.h>

attn_tensor *attn__field_at(void *args, size_t offset)
{
    return (attn_tensor *)(void *)((char *)args + offset);
}

void attn__fields_place(const attn__call *c, const attn__field *fields, int n, void *args)
{
    for (int i = 0; i < n; i++)
        if (attn__present(&c->in[i])) *attn__field_at(args, fields[i].arg) = c->in[i];
}

void attn__fields_clear(const attn__field *fields, int n, void *args)
{
    for (int i = 0; i < n; i++) *attn__field_at(args, fields[i].grad) = (attn_tensor){0};
}

void attn__fields_vars(const attn__field *fields, int n, const void *vars, attn_var *in)
{
    for (int i = 0; vars && i < n; i++)
        memcpy(&in[i], (const char *)vars + fields[i].var, sizeof in[i]);
}

attn_status attn__fields_keep(attn__call *c, size_t size)
{
    const void *ask = c->attr.object;
    c->attr.object = NULL; /* is the caller's, and gone by the time of the backward */
    if (!c->recording) return ATTN_OK;
    void *saved = attn__call_save(c, 1, size);
    if (!saved) return ATTN_E_MEMORY;
    memcpy(saved, ask, size);
    return ATTN_OK;
}

attn_status attn__fields_targets(attn__call *c, const attn__field *fields, int n, void *args)
{
    for (int i = 0; i < n; i++) {
        attn_tensor *target = attn__field_at(args, fields[i].grad);
        *target = c->d_in[i];
        if (!attn__present(target) || c->fresh[i]) continue;
        target->data =
            attn__call_temp(c, attn_tensor_count(*target), attn_dtype_size(target->dtype));
        if (!target->data) return ATTN_E_MEMORY;
    }
    return ATTN_OK;
}

attn_status attn__fields_add(attn__call *c, const attn__field *fields, int n, void *args)
{
    for (int i = 0; i < n; i++) {
        const attn_tensor *d = attn__field_at(args, fields[i].grad);
        if (attn__present(d) && !c->fresh[i])
            ATTN_TRY(attn__call_reduce(c, d->data, d, &c->d_in[i]));
    }
    return ATTN_OK;
}
