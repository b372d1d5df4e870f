/* SPDX-License-Identifier: MIT
 * One data set of an ONNX operator test: input_0.pb, input_1.pb ... are the inputs of the node
 * that are not left out, in order; so are the outputs. */
#include "conformance.h"

#include <math.h>
#include <string.h>

attn_status onnx_fail(onnx_case *c, attn_status status, const char *where, const char *what)
{
    c->error = (attn_error){.status = status, .where = where, .what = what};
    return status;
}

attn_status onnx_new(onnx_case *c, attn_dtype dtype, int rank, const int64_t *shape,
                     attn_tensor *t)
{
    if (c->n_arrays < ONNX_ARRAYS) {
        *t = cli_array_new(dtype, rank, shape);
        if (t->data) {
            c->arrays[c->n_arrays++] = *t;
            return ATTN_OK;
        }
    }
    return onnx_fail(c, ATTN_E_MEMORY, "", "not enough memory for a tensor of the test");
}

/* ---- loading ---------------------------------------------------------------------------- */

static attn_status onnx_load_tensor(onnx_case *c, const char *path, attn_tensor *t)
{
    attn_archive *a = NULL;
    attn_status status = attn_archive_load(&a, c->ctx, path, ATTN_FORMAT_PB, &c->error);
    if (status != ATTN_OK) return status;
    c->archives[c->n_archives++] = a;
    if (attn_archive_count(a) != 1)
        return onnx_fail(c, ATTN_E_FORMAT, "", "the file does not hold one tensor");
    *t = attn_archive_tensor(a, 0);
    return ATTN_OK;
}

typedef const char *(*onnx_name_fn)(const attn_onnx_node *node, int i);

static attn_status onnx_load_list(onnx_case *c, const char *directory, const char *stem,
                                  onnx_name_fn name, attn_tensor *list, int most)
{
    int file = 0;
    for (int i = 0; name(c->node, i); i++) {
        if (name(c->node, i)[0] == '\0') continue;
        char path[4096];
        int n = snprintf(path, sizeof path, "%s/%s_%d.pb", directory, stem, file++);
        if (n < 0 || (size_t)n >= sizeof path || i >= most)
            return onnx_fail(c, ATTN_E_LIMIT, stem, "too many tensors, or too long a path");
        attn_status status = onnx_load_tensor(c, path, &list[i]);
        if (status != ATTN_OK) return status;
    }
    return ATTN_OK;
}

attn_status onnx_case_load(onnx_case *c, const char *directory)
{
    attn_status status =
        onnx_load_list(c, directory, "input", attn_onnx_input, c->in, ONNX_INPUTS);
    if (status != ATTN_OK) return status;
    status = onnx_load_list(c, directory, "output", attn_onnx_output, c->want, ONNX_OUTPUTS);
    if (status != ATTN_OK) return status;
    for (int i = 0; i < ONNX_OUTPUTS; i++)
        if (onnx_present(c->want[i])) return ATTN_OK;
    return onnx_fail(c, ATTN_E_NULL, "output", "there is nothing to compare with");
}

void onnx_case_destroy(onnx_case *c)
{
    for (int i = 0; i < c->n_archives; i++) attn_archive_destroy(c->archives[i]);
    for (int i = 0; i < c->n_arrays; i++) cli_array_free(&c->arrays[i]);
    *c = (onnx_case){0};
}

/* ---- layout ----------------------------------------------------------------------------- */

attn_status onnx_heads(onnx_case *c, const char *where, attn_tensor t, int64_t heads,
                       attn_tensor *view)
{
    *view = t;
    if (t.rank == 4) return ATTN_OK;
    if (t.rank != 3) return onnx_fail(c, ATTN_E_RANK, where, "the rank must be 3 or 4");
    if (heads <= 0 || t.shape[2] % heads != 0)
        return onnx_fail(c, ATTN_E_HEADS, where,
                         "rank 3 needs a number of heads that divides the last dimension");
    int64_t width = t.shape[2] / heads;
    view->rank = 4;
    const int64_t shape[] = {t.shape[0], heads, t.shape[1], width};
    const int64_t stride[] = {t.stride[0], width * t.stride[2], t.stride[1], t.stride[2]};
    memcpy(view->shape, shape, sizeof shape);
    memcpy(view->stride, stride, sizeof stride);
    return ATTN_OK;
}

/* ---- comparing -------------------------------------------------------------------------- */

static bool onnx_same_form(attn_tensor a, attn_tensor b)
{
    return a.dtype == b.dtype && a.rank == b.rank &&
           memcmp(a.shape, b.shape, (size_t)a.rank * sizeof a.shape[0]) == 0;
}

static void onnx_compare_element(double got, double want, double rtol, double atol,
                                 onnx_worst *worst)
{
    if (got == want || (isnan(got) && isnan(want))) return;
    double distance = fabs(got - want);
    double ratio = distance / (atol + rtol * fabs(want));
    if (!isfinite(distance) || isnan(ratio)) ratio = distance = HUGE_VAL;
    if (ratio > worst->error) worst->error = ratio;
    if (distance > worst->absolute) worst->absolute = distance;
}

void onnx_compare(const onnx_case *c, double rtol, double atol, onnx_worst *worst)
{
    for (int i = 0; i < ONNX_OUTPUTS; i++) {
        if (!onnx_present(c->want[i])) continue;
        double before = worst->error;
        if (!onnx_same_form(c->got[i], c->want[i])) {
            worst->error = worst->absolute = HUGE_VAL;
        } else {
            int64_t count = attn_tensor_count(c->want[i]);
            for (int64_t j = 0; j < count; j++)
                onnx_compare_element(cli_array_get(c->got[i], j), cli_array_get(c->want[i], j),
                                     rtol, atol, worst);
        }
        if (worst->error > before) worst->name = attn_onnx_output(c->node, i);
    }
    worst->pass = worst->error <= 1;
}
