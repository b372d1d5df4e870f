/* SPDX-License-Identifier: MIT
 * attn_archive_save: checks everything that can be wrong before the first byte, then lets the
 * format's writer put into a file that appears only when it is complete. */
#include "io/io.h"

#include <string.h>

static const attn_save_options default_options = {.size = sizeof default_options};

static attn_status save_check_name(const char *name, attn_error *error)
{
    if (!name) return attn__fail(error, ATTN_E_NULL, "names", "holds a NULL");
    return attn__named(
        error, attn__name_check("names", (const uint8_t *)name, strlen(name), error), name);
}

static bool save_less(const void *user, int64_t a, int64_t b)
{
    const char *const *names = user;
    return strcmp(names[a], names[b]) < 0;
}

static attn_status save_check_unique(const attn__job *job, int64_t *order, attn_error *error)
{
    for (int64_t i = 0; i < job->n; i++) order[i] = i;
    attn__sort(order, job->n, save_less, job->names);
    for (int64_t i = 1; i < job->n; i++) {
        const char *name = job->names[order[i]];
        if (strcmp(job->names[order[i - 1]], name) == 0)
            return attn__fail_name(error, ATTN_E_DUP, "names", "a name stands twice", name);
    }
    return ATTN_OK;
}

static attn_status save_check_names(const attn__job *job, attn_error *error)
{
    size_t size = (size_t)job->n * sizeof(int64_t);
    for (int64_t i = 0; i < job->n; i++) ATTN_TRY(save_check_name(job->names[i], error));
    int64_t *order = attn__new(job->ctx, size);
    if (!order) return attn__fail(error, ATTN_E_MEMORY, "names", "order");
    attn_status status = save_check_unique(job, order, error);
    attn__delete(job->ctx, order, size);
    return status;
}

static attn_status save_check_tensor(const attn_tensor *t, attn_error *error)
{
    if (!attn__present(t))
        return attn__fail(error, ATTN_E_NULL, "tensors", "a tensor is absent");
    ATTN_TRY(attn__tensor_check(t, "tensors", error));
    if (!t->data && attn_tensor_count(*t) > 0)
        return attn__fail(error, ATTN_E_NULL, "tensors", "a tensor has no data");
    return ATTN_OK;
}

static attn_status save_check(const attn__job *job, const attn__format *format,
                              attn_error *error)
{
    if (job->n < 0 || job->n > ATTN__MAX_TENSORS)
        return attn__fail_count(error, ATTN_E_LIMIT, "n",
                                "too many tensors, or fewer than none", ATTN__MAX_TENSORS,
                                job->n);
    if (!format->many && job->n != 1)
        return attn__fail_count(error, ATTN_E_UNSUPPORTED, "n", "this format holds one tensor",
                                1, job->n);
    if (job->n && !job->tensors) return attn__fail(error, ATTN_E_NULL, "tensors", "is NULL");
    if (job->n && !job->names && format->many)
        return attn__fail(error, ATTN_E_NULL, "names", "is NULL");
    for (int64_t i = 0; i < job->n; i++)
        ATTN_TRY(attn__named(error, save_check_tensor(&job->tensors[i], error),
                             job->names && job->names[i] ? job->names[i] : ""));
    return job->names ? save_check_names(job, error) : ATTN_OK;
}

static attn_status save_write(const attn__job *job, const attn__format *format,
                              const char *path, attn_error *error)
{
    attn__file file;
    attn__sink sink;
    ATTN_TRY(attn__file_create(&file, path, error));
    attn__sink_init(&sink, file.fd);
    attn_status status = format->write(&sink, job, error);
    if (status == ATTN_OK && !attn__sink_flush(&sink))
        status = attn__fail_file(error, attn__errno_text(sink.error_number), path);
    if (status == ATTN_OK) return attn__file_commit(&file, error);
    attn__file_abandon(&file);
    return status;
}

attn_status attn_archive_save(attn_ctx *ctx, const char *path, int64_t n,
                              const char *const *names, const attn_tensor *tensors,
                              const attn_save_options *options, attn_error *error)
{
    const attn__format *format;
    if (!path) return attn__fail(error, ATTN_E_NULL, "path", "is NULL");
    if (!options) options = &default_options;
    if (options->size != sizeof *options)
        return attn__fail(error, ATTN_E_VERSION, "options", "has an unknown size");
    ATTN_TRY(attn__ctx_check(ctx, error));
    ATTN_TRY(attn__format_find(&format, options->format, path, error));
    attn__job job = {ctx, n, names, tensors, options};
    ATTN_TRY(save_check(&job, format, error));
    return save_write(&job, format, path, error);
}
