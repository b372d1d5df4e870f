/* SPDX-License-Identifier: MIT
 * Writes safetensors: the widest elements first and then by name, so that with a header padded
 * to a multiple of 8 every tensor is aligned in the file, and the same tensors give the same
 * bytes in whatever order they came. */
#include "io/io.h"

#include <string.h>

static const char *const dtype_names[] = {
#define DTYPE(NAME, name, number, bytes, kind) [number] = #NAME,
#include "attn/dtype.def"
#undef DTYPE
};

static size_t st_bytes(const attn_tensor *t)
{
    return (size_t)attn_tensor_count(*t) * attn_dtype_size(t->dtype);
}

static bool st_order_less(const void *user, int64_t a, int64_t b)
{
    const attn__job *job = user;
    size_t x = attn_dtype_size(job->tensors[a].dtype),
           y = attn_dtype_size(job->tensors[b].dtype);
    return x != y ? x > y : strcmp(job->names[a], job->names[b]) < 0;
}

static void st_put_name(attn__sink *sink, const char *name)
{
    attn__sink_text(sink, "\"");
    for (; *name; name++) {
        if (*name == '"' || *name == '\\') attn__sink_text(sink, "\\");
        attn__sink_put(sink, name, 1);
    }
    attn__sink_text(sink, "\"");
}

static void st_put_info(attn__sink *sink, const char *name, const attn_tensor *t, uint64_t *at)
{
    st_put_name(sink, name);
    attn__sink_text(sink, ":{\"dtype\":\"");
    attn__sink_text(sink, dtype_names[t->dtype]);
    attn__sink_text(sink, "\",\"shape\":[");
    for (int d = 0; d < t->rank; d++) {
        attn__sink_text(sink, d ? "," : "");
        attn__sink_number(sink, (uint64_t)t->shape[d]);
    }
    attn__sink_text(sink, "],\"data_offsets\":[");
    attn__sink_number(sink, *at);
    *at += st_bytes(t);
    attn__sink_text(sink, ",");
    attn__sink_number(sink, *at);
    attn__sink_text(sink, "]}");
}

static void st_put_header(attn__sink *sink, const attn__job *job, const int64_t *order)
{
    uint64_t start = sink->n, at = 0;
    attn__sink_text(sink, "{");
    for (int64_t i = 0; i < job->n; i++) {
        attn__sink_text(sink, i ? "," : "");
        st_put_info(sink, job->names[order[i]], &job->tensors[order[i]], &at);
    }
    attn__sink_text(sink, "}");
    attn__sink_fill(sink, ' ', (size_t)(7 - (sink->n - start + 7) % 8));
}

/* The sum of all bytes fits, or offsets would wrap: strided views may stand for more elements
 * than there is memory. */
static attn_status st_check_sum(const attn__job *job, attn_error *error)
{
    int64_t sum = 0;
    for (int64_t i = 0; i < job->n; i++)
        if (!attn__add(sum, (int64_t)st_bytes(&job->tensors[i]), &sum))
            return attn__fail(error, ATTN_E_OVERFLOW, "safetensors",
                              "the sizes of all tensors do not fit in 64 bits");
    return ATTN_OK;
}

static attn_status st_write(attn__sink *sink, const attn__job *job, int64_t *order,
                            attn_error *error)
{
    attn__sink nowhere;
    uint8_t length[8];
    for (int64_t i = 0; i < job->n; i++) order[i] = i;
    attn__sort(order, job->n, st_order_less, job);
    attn__sink_init(&nowhere, -1);
    st_put_header(&nowhere, job, order);
    if (nowhere.n > ATTN__MAX_HEADER)
        return attn__fail_count(error, ATTN_E_LIMIT, "safetensors", "the header is too long",
                                ATTN__MAX_HEADER, (int64_t)nowhere.n);
    attn__store64(length, nowhere.n);
    attn__sink_put(sink, length, sizeof length);
    st_put_header(sink, job, order);
    for (int64_t i = 0; i < job->n && !sink->error_number; i++)
        attn__sink_tensor(sink, &job->tensors[order[i]]);
    return ATTN_OK;
}

attn_status attn__safetensors_write(attn__sink *sink, const attn__job *job, attn_error *error)
{
    for (int64_t i = 0; i < job->n; i++)
        if (strcmp(job->names[i], "__metadata__") == 0)
            return attn__fail_name(error, ATTN_E_NAME, "safetensors", "this name is reserved",
                                   job->names[i]);
    ATTN_TRY(st_check_sum(job, error));
    size_t size = (size_t)job->n * sizeof(int64_t);
    int64_t *order = attn__new(job->ctx, size);
    if (!order) return attn__fail(error, ATTN_E_MEMORY, "safetensors", "order of tensors");
    attn_status status = st_write(sink, job, order, error);
    attn__delete(job->ctx, order, size);
    return status;
}
