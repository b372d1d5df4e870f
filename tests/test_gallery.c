/* SPDX-License-Identifier: MIT
 * Every mechanism of the table against its oracle: values in f64 and f32 over the sizes of its
 * cases and over 0, 1 and primes, gradients of everything that has one against four-point
 * derivatives of the oracle, and the recorded values of the literature.
 *
 *     ATTN_MECH=name build/tests/test_gallery        one mechanism, or one family */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <string.h>
#include <cmocka.h>

#include "gallery_run.h"

static double gallery_or(double x, double fallback)
{
    return x > 0 ? x : fallback;
}

/* ---- values ------------------------------------------------------------------------------ */

static void values_compare(gallery_draw *d, const attn_tensor *slots, double allowed,
                           const char *text)
{
    for (int i = 0; d->call.mech->slots[i].name; i++) {
        if (!(d->call.mech->slots[i].kind & ATTN_OUT) || !slots[i].dtype) continue;
        const double error = gallery_error(&slots[i], d->call.at[i]);
        if (!(error <= allowed))
            fail_msg("%s '%s': %s (%s) is off by %.3g, allowed %.3g", d->row->name, text,
                     d->call.mech->slots[i].name, attn_dtype_name(slots[i].dtype), error,
                     allowed);
    }
}

/* Whoever runs it must be able to ask how large each output will be; but for those that come
 * of an input that is left out, as the case leaves out both. */
static void values_shapes(gallery_draw *d, const attn_tensor *slots, const char *text)
{
    const attn_slot *slot = d->call.mech->slots;
    attn_tensor in[ATTN_MAX_SLOTS];
    int64_t shape[ATTN_MAX_RANK];
    attn_error error;
    int rank;
    memcpy(in, slots, sizeof in);
    for (int i = 0; slot[i].name; i++)
        if (slot[i].kind & ATTN_OUT) in[i] = (attn_tensor){0};
    for (int i = 0; slot[i].name; i++) {
        if (!(slot[i].kind & ATTN_OUT) || d->absent[i]) continue;
        if (attn_mech_shape(d->call.mech, in, d->call.params, i, &rank, shape, &error) !=
            ATTN_OK)
            fail_msg("%s '%s': the size of %s does not follow from the inputs: %s",
                     d->row->name, text, slot[i].name, error.what);
        if (rank != d->call.rank[i] ||
            memcmp(shape, d->call.shape[i], (size_t)rank * sizeof *shape) != 0)
            fail_msg("%s '%s': %s would have another shape", d->row->name, text, slot[i].name);
    }
}

/* may_refuse: sizes of 0 and 1 need not make sense; then it must say so and touch nothing. */
static void values_run(gallery_draw *d, attn_dtype real, const char *text, bool may_refuse)
{
    attn_tensor slots[ATTN_MAX_SLOTS];
    test_rng rng = test_rng_make(7);
    attn_error error = {0};
    gallery_tensors(d, real, &rng, slots);
    if (!may_refuse) values_shapes(d, slots, text);
    const attn_status status = attn_mech_run(NULL, d->call.mech, slots, d->call.params, &error);
    const gallery_oracle *o = d->row->oracle;
    if (status == ATTN_OK) {
        values_compare(d, slots,
                       real == ATTN_DTYPE_F64 ? gallery_or(o->f64, 1e-12)
                                              : gallery_or(o->f32, 1e-5),
                       text);
        return;
    }
    char said[256];
    attn_error_text(&error, said, sizeof said);
    if (!may_refuse || error.status != status || !error.what)
        fail_msg("%s '%s': %s", d->row->name, text, said);
    for (int i = 0; d->call.mech->slots[i].name; i++)
        if ((d->call.mech->slots[i].kind & ATTN_OUT) && !gallery_untouched(&slots[i]))
            fail_msg("%s '%s' failed and touched %s", d->row->name, text,
                     d->call.mech->slots[i].name);
}

static void values_case(const gallery_row *row, const char *text, uint64_t seed, bool narrow,
                        bool may_refuse)
{
    gallery_draw d;
    gallery_draw_case(&d, row, text, seed, narrow);
    row->oracle->run(&d.call);
    values_run(&d, ATTN_DTYPE_F64, text, may_refuse);
    values_run(&d, ATTN_DTYPE_F32, text, may_refuse);
    gallery_free(&d);
}

static void values_of(const gallery_row *row)
{
    assert_string_equal(row->name, row->mech->name);
    assert_string_equal(row->family, row->mech->family);
    for (int i = 0; row->oracle->cases[i]; i++)
        for (uint64_t seed = 0; seed < 3; seed++)
            values_case(row, row->oracle->cases[i], 100 * seed + (uint64_t)i, seed > 0, false);
}

/* Every case again, one letter at a time of another size. */
static void sizes_of(const gallery_row *row)
{
    static const char *const sizes[] = {"0", "1", "2", "13"};
    char letters[32] = "B", text[512];
    if (row->oracle->vary)
        snprintf(letters, sizeof letters, "%s", row->oracle->vary);
    else
        snprintf(letters, sizeof letters, "B%s", row->mech->grows);
    for (int i = 0; row->oracle->cases[i]; i++) {
        const char *rest = strchr(row->oracle->cases[i], ';');
        const int head =
            rest ? (int)(rest - row->oracle->cases[i]) : (int)strlen(row->oracle->cases[i]);
        for (const char *l = letters; *l; l++)
            for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
                snprintf(text, sizeof text, "%.*s,%c=%s%s", head, row->oracle->cases[i], *l,
                         sizes[s], rest ? rest : "");
                values_case(row, text, s, false, s < 2);
            }
    }
}

static void test_values(void **state)
{
    (void)state;
    gallery_each(values_of);
}

static void test_sizes(void **state)
{
    (void)state;
    gallery_each(sizes_of);
}

/* ---- gradients --------------------------------------------------------------------------- */

/* The sum of all outputs that have a gradient, weighed by what came in for them. */
static double grad_loss(gallery_draw *d, const attn_tensor *d_slots)
{
    const gallery_oracle *o = d->row->oracle;
    double sum = 0;
    gallery_spread(d);
    (o->soft ? o->soft : o->run)(&d->call);
    for (int i = 0; d->call.mech->slots[i].name; i++) {
        int64_t index[ATTN_MAX_RANK] = {0}, x = 0;
        if (!(d->call.mech->slots[i].kind & ATTN_OUT) || !d_slots[i].dtype) continue;
        if (test_tensor_empty(&d_slots[i])) continue;
        do sum += test_get(&d_slots[i], index) * d->call.at[i][x++];
        while (test_index_next(&d_slots[i], index));
    }
    return sum;
}

/* Four points, error of the order h^4. */
static double grad_slope(gallery_draw *d, const attn_tensor *d_slots, double *x)
{
    const double h = 0x1p-11, at = *x;
    double f[4];
    static const int step[4] = {-2, -1, 1, 2};
    for (int i = 0; i < 4; i++) {
        *x = at + step[i] * h;
        f[i] = grad_loss(d, d_slots);
    }
    *x = at;
    return (f[0] - 8 * f[1] + 8 * f[2] - f[3]) / (12 * h);
}

/* A gradient in floats is near that in doubles, or, where its terms cancel, off by what their
 * roundings leave: 6.5 u of them at most, as for the sums of section 9 of docs/numerics.md. */
static bool grad_near(const gallery_oracle *o, double error, const double *want, int64_t n)
{
    double norm = 0;
    for (int64_t x = 0; x < n; x++) norm += want[x] * want[x];
    return error <= gallery_or(o->grad32, 1e-4) ||
           error * sqrt(fmax(norm / (double)n, 1e-6)) <= 6.5 * 0x1p-24 * o->terms;
}

static void grad_slot(gallery_draw *d, const attn_tensor *d64, const attn_tensor *d32, int i,
                      const char *text)
{
    const gallery_oracle *o = d->row->oracle;
    const int64_t n = attn_tensor_count(d64[i]);
    double *slope = gallery_new(&d->call, n), *from64 = gallery_new(&d->call, n);
    int64_t index[ATTN_MAX_RANK] = {0}, x = 0;
    if (test_tensor_empty(&d64[i])) return;
    do {
        slope[x] = grad_slope(d, d64, (double *)d->given[i].data + x);
        from64[x++] = test_get(&d64[i], index);
    } while (test_index_next(&d64[i], index));
    const double error = gallery_error(&d64[i], slope),
                 error32 = gallery_error(&d32[i], from64);
    if (!(error <= gallery_or(o->grad64, 1e-6)) || !grad_near(o, error32, from64, n))
        fail_msg("%s '%s': the gradient of %s is off by %.3g (f64), %.3g (f32)", d->row->name,
                 text, d->call.mech->slots[i].name, error, error32);
}

static void grad_run(gallery_draw *d, attn_dtype real, attn_tensor *d_slots, const char *text)
{
    attn_tensor slots[ATTN_MAX_SLOTS];
    test_rng rng = test_rng_make(11), layout = test_rng_make(real);
    gallery_tensors(d, real, &layout, slots);
    gallery_gradients(d, ATTN_DTYPE_F32, &rng, slots, d_slots);
    for (int i = 0; d->call.mech->slots[i].name; i++)
        if (d_slots[i].dtype && gallery_differentiable(d->row, i))
            d_slots[i] = test_tensor_layout(&d->arena, &layout, real, slots[i].rank,
                                            slots[i].shape, false);
    attn_error error = {0};
    char said[256];
    if (attn_mech_run_grad(NULL, d->call.mech, slots, d_slots, d->call.params, &error) ==
        ATTN_OK)
        return;
    attn_error_text(&error, said, sizeof said);
    fail_msg("%s '%s' backward: %s", d->row->name, text, said);
}

static void grad_case(const gallery_row *row, const char *text, uint64_t seed, bool narrow)
{
    gallery_draw d;
    attn_tensor d64[ATTN_MAX_SLOTS], d32[ATTN_MAX_SLOTS];
    gallery_draw_case(&d, row, text, seed, narrow);
    grad_run(&d, ATTN_DTYPE_F64, d64, text);
    grad_run(&d, ATTN_DTYPE_F32, d32, text);
    for (int i = 0; row->mech->slots[i].name; i++)
        if (d64[i].dtype && gallery_differentiable(row, i)) grad_slot(&d, d64, d32, i, text);
    gallery_free(&d);
}

static void grads_of(const gallery_row *row)
{
    bool in = false, out = false;
    for (int i = 0; row->mech->slots[i].name; i++) {
        in |= gallery_differentiable(row, i);
        out |= (row->mech->slots[i].kind & (ATTN_OUT | ATTN_GRAD)) == (ATTN_OUT | ATTN_GRAD);
    }
    for (int i = 0; in && out && row->oracle->cases[i]; i++)
        for (uint64_t seed = 0; seed < 2; seed++)
            grad_case(row, row->oracle->cases[i], 50 * seed + (uint64_t)i, seed > 0);
}

static void test_gradients(void **state)
{
    (void)state;
    gallery_each(grads_of);
}

/* ---- recorded values --------------------------------------------------------------------- */

static const double *gold_find(const gallery_values *list, const char *slot)
{
    for (; list->slot; list++)
        if (strcmp(list->slot, slot) == 0) return list->at;
    return NULL;
}

static void gold_near(const gallery_row *row, const char *slot, double got, double want,
                      const char *who)
{
    if (!(fabs(got - want) <= 1.5e-6 * (1 + fabs(want))))
        fail_msg("%s: %s of %s is %.7g, recorded %.7g", row->name, slot, who, got, want);
}

static void gold_compare(gallery_draw *d, const gallery_gold *gold, const attn_tensor *slots)
{
    for (const gallery_values *v = gold->out; v->slot; v++) {
        const int i = attn_mech_slot(d->call.mech, v->slot);
        int64_t index[ATTN_MAX_RANK] = {0}, x = 0;
        do {
            gold_near(d->row, v->slot, test_get(&slots[i], index), v->at[x], "the library");
            gold_near(d->row, v->slot, d->call.at[i][x], v->at[x], "the oracle");
            x++;
        } while (test_index_next(&slots[i], index));
    }
}

static void gold_run(const gallery_row *row, const gallery_gold *gold)
{
    gallery_draw d;
    attn_tensor slots[ATTN_MAX_SLOTS];
    test_rng rng = test_rng_make(3);
    gallery_draw_case(&d, row, gold->call, 1, false);
    for (int i = 0; row->mech->slots[i].name; i++) {
        const attn_slot *slot = &row->mech->slots[i];
        const double *at = gold_find(gold->in, slot->name);
        if (slot->kind & ATTN_OUT) continue;
        d.absent[i] |= !at && (slot->kind & ATTN_OPTIONAL);
        if (d.absent[i]) d.call.at[i] = NULL, d.given[i] = (attn_tensor){0};
        if (at) memcpy(d.given[i].data, at, (size_t)d.call.count[i] * sizeof *at);
    }
    gallery_spread(&d);
    row->oracle->run(&d.call);
    gallery_tensors(&d, ATTN_DTYPE_F64, &rng, slots);
    assert_int_equal(attn_mech_run(NULL, row->mech, slots, d.call.params, NULL), ATTN_OK);
    gold_compare(&d, gold, slots);
    gallery_free(&d);
}

static void gold_of(const gallery_row *row)
{
    for (const gallery_gold *g = row->oracle->gold; g && g->call; g++) gold_run(row, g);
}

static void test_gold(void **state)
{
    (void)state;
    gallery_each(gold_of);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_gradients),
        cmocka_unit_test(test_gold),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
