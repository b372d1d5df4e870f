/* SPDX-License-Identifier: MIT
 * The tables themselves: complete, named, and picked as isa.def orders them; and the probe. */
#include "kernel_case.h"

typedef struct isa_row {
    const char *name;
    uint32_t bit;
} isa_row;

static const isa_row isa_rows[] = {
#define ISA(name, bit, needs) {#name, ATTN_ISA_##name},
#include "attn/isa.def"
#undef ISA
};
enum { ISA_ROWS = sizeof isa_rows / sizeof isa_rows[0] };

static const attn_dtype arithmetics[] = {ATTN_DTYPE_F32, ATTN_DTYPE_F64};

static void table_complete(const attn__kernels *k)
{
    assert_null(k->widen[ATTN_DTYPE_NONE]);
    assert_null(k->narrow[ATTN_DTYPE_NONE]);
    for (int dtype = ATTN_DTYPE_F64; dtype < ATTN__N_FLOATS; dtype++)
        assert_true(k->widen[dtype] && k->narrow[dtype]);
    assert_true(k->pack && k->scores && k->scores_max && k->scale && k->add && k->cap);
    assert_true(k->row_max && k->exp_sum && k->drop && k->weigh && k->fold && k->finish);
    assert_true(k->probe && k->probe_read);
    assert_true(k->grade && k->spread && k->bend && k->times && k->tilt);
    assert_true(k->dot && k->gather && k->settle && k->finite && k->tidy);
    assert_true(k->gemm && k->gemm_rows > 0 && k->gemm_cols % k->step == 0);
    assert_true(k->forbid && k->count_above && k->entmax_total && k->entmax_sums);
    for (int op = 0; op < ATTN__N_NORMS; op++) assert_true(k->norm[op] && k->norm_grade[op]);
    for (int map = 0; map < ATTN__N_MAPS; map++) assert_non_null(k->map[map]);
}

/* Every built table, asked for by its bit alone. */
static void tables_are_complete(void **state)
{
    (void)state;
    assert_true(attn__kernels_built() & ATTN_ISA_scalar);
    for (int a = 0; a < 2; a++)
        for (int i = 0; i < ISA_ROWS; i++) {
            const attn__kernels *k = attn__kernels_pick(arithmetics[a], isa_rows[i].bit);
            bool built = (attn__kernels_built() & isa_rows[i].bit) != 0;
            assert_int_equal(k != NULL, built);
            if (!built) continue;
            assert_string_equal(k->name, isa_rows[i].name);
            assert_int_equal(k->isa, isa_rows[i].bit);
            assert_int_equal(k->dtype, arithmetics[a]);
            assert_int_equal(ATTN__PANEL % k->step, 0);
            table_complete(k);
        }
}

static void strongest_is_picked(void **state)
{
    (void)state;
    for (int a = 0; a < 2; a++)
        for (uint32_t mask = 0; mask < (uint32_t)1 << ISA_ROWS; mask++) {
            const char *want = NULL;
            for (int i = 0; i < ISA_ROWS; i++)
                if (isa_rows[i].bit & mask & attn__kernels_built()) want = isa_rows[i].name;
            const attn__kernels *k = attn__kernels_pick(arithmetics[a], mask);
            assert_int_equal(k != NULL, want != NULL);
            if (k) assert_string_equal(k->name, want);
        }
}

static void probe_counts(kernel_case *c)
{
    double sink = -1, none = c->k->probe(0, &sink), one = c->k->probe(1, &sink);
    assert_true(none == 0);
    assert_true(one >= 2 * c->k->step);
    assert_true(c->k->probe(100, &sink) == 100 * one);
    assert_true(isfinite(sink) && sink > 0);
}

static void probe_counts_flops(void **state)
{
    (void)state;
    kernel_tables(probe_counts);
}

/* Every number once, whatever the cut; whole numbers have exact sums in any order. */
static void probe_reads(kernel_case *c)
{
    static const int streams[] = {1, 2, 3, 4};
    static const int64_t counts[] = {1, 7, 64, 127, 128, 1000, 4099};
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        const int64_t n = counts[i];
        double sink = -1, want = 0;
        const matrix x = matrix_make(c, 0, 1, n, n);
        for (int64_t j = 0; j < n; j++) {
            matrix_put(&x, 0, j, (double)(j % 5));
            want += (double)(j % 5);
        }
        for (size_t s = 0; s < sizeof streams / sizeof streams[0]; s++) {
            c->k->probe_read(n, x.p, streams[s], s % 2 ? 512 : 0, &sink);
            assert_true(sink == want);
        }
    }
}

static void probe_reads_everything(void **state)
{
    (void)state;
    kernel_tables(probe_reads);
}

static void probes_refuse(void **state)
{
    (void)state;
    const float x[3] = {1, 2, 3};
    assert_true(attn_probe_read(NULL, x, 3, 1, 0) == 6);
    assert_true(isnan(attn_probe_read(NULL, x, 0, 1, 0)));
    assert_true(isnan(attn_probe_read(NULL, NULL, 3, 1, 0)));
    assert_true(isnan(attn_probe_read(NULL, x, 3, 0, 0)));
    assert_true(isnan(attn_probe_read(NULL, x, 3, 1, -1)));
    assert_true(attn_probe_fma(NULL, 0) == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tables_are_complete), cmocka_unit_test(strongest_is_picked),
        cmocka_unit_test(probe_counts_flops),  cmocka_unit_test(probe_reads_everything),
        cmocka_unit_test(probes_refuse),
    };
    return cmocka_run_group_tests_name("kernel_table", tests, memory_begin, memory_end);
}
