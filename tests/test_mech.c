/* SPDX-License-Identifier: MIT
 * The gallery's desk: lookup, parameters from text, shapes with and without heads and batch. */
#include "mech/mech.h"

#include "attn/attention.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <math.h>
#include <string.h>
#include <cmocka.h>

/* ---- tables -------------------------------------------------------------------------- */

static void test_every_table_is_sound(void **state)
{
    (void)state;
    assert_true(attn_mech_count() > 0);
    assert_null(attn_mech_at(-1));
    assert_null(attn_mech_at(attn_mech_count()));
    for (int i = 0; i < attn_mech_count(); i++) {
        const attn_mech *m = attn_mech_at(i);
        assert_ptr_equal(attn_mech_find(m->name), m);
        assert_true(m->family && m->about && m->formula && m->cost && m->source);
        assert_true(m->sizes && m->grows && m->params);
        assert_true((m->run != NULL) != (m->build != NULL));
        int n = 0;
        for (; m->slots[n].name; n++) {
            assert_int_equal(attn_mech_slot(m, m->slots[n].name), n);
            assert_true(attn__shape_rank(m->slots[n].shape) > 0);
            assert_true((m->slots[n].kind & 7) != 0);
            assert_non_null(m->slots[n].about);
        }
        assert_true(n > 0 && n < ATTN_MAX_SLOTS);
    }
}

static void test_families_and_aliases(void **state)
{
    (void)state;
    for (int i = 0; i < attn_mech_count(); i++) {
        const attn_family *family;
        int f = 0;
        while ((family = attn_family_at(f++)) != NULL)
            if (strcmp(family->name, attn_mech_at(i)->family) == 0) break;
        assert_non_null(family);
    }
    for (int i = 0; attn_alias_at(i); i++) {
        const attn_alias *alias = attn_alias_at(i);
        const attn_mech *m = attn_mech_find(alias->name);
        assert_non_null(m);
        assert_string_equal(m->name, alias->of);
        assert_true(strlen(alias->why) > 20);
        attn_value params[ATTN_MAX_PARAMS];
        assert_int_equal(attn_mech_defaults_of(alias->name, params, NULL), ATTN_OK);
    }
    assert_null(attn_family_at(-1));
    assert_null(attn_alias_at(-1));
}

static void test_aliases_with_other_defaults(void **state)
{
    static const struct {
        const char *name, *param;
        int64_t is;
    } rows[] = {{"masked", "causal", 1},
                {"self", "causal", 0},
                {"mqa", "kv_heads", 1},
                {"gqa", "kv_heads", 2},
                {"position_attention", "scaled", 0},
                {"non_local", "scaled", 1}};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        attn_value params[ATTN_MAX_PARAMS];
        assert_int_equal(attn_mech_defaults_of(rows[i].name, params, NULL), ATTN_OK);
        const int p = attn_mech_param(attn_mech_find(rows[i].name), rows[i].param);
        assert_true(p >= 0);
        assert_int_equal(params[p].i, rows[i].is);
    }
    attn_value params[ATTN_MAX_PARAMS];
    attn_error error = {0};
    assert_int_equal(attn_mech_defaults_of("masqued", params, &error), ATTN_E_NAME);
    assert_string_equal(error.name, "masqued");
    assert_int_equal(attn_mech_defaults_of(NULL, params, &error), ATTN_E_NULL);
    assert_int_equal(attn_mech_defaults_of("self", NULL, &error), ATTN_E_NULL);
}

static void test_every_default_reads_back(void **state)
{
    (void)state;
    for (int i = 0; i < attn_mech_count(); i++) {
        const attn_mech *m = attn_mech_at(i);
        attn_value filled[ATTN_MAX_PARAMS], set[ATTN_MAX_PARAMS];
        memset(filled, 0xff, sizeof filled);
        memset(set, 0, sizeof set);
        attn_mech_defaults(m, filled);
        for (int p = 0; m->params[p].name; p++) {
            assert_int_equal(attn_mech_param(m, m->params[p].name), p);
            assert_int_equal(
                attn_mech_set(m, set, m->params[p].name, m->params[p].fallback, NULL), ATTN_OK);
            assert_true(filled[p].f == set[p].f && filled[p].i == set[p].i);
        }
    }
}

static void test_unknown_names(void **state)
{
    (void)state;
    const attn_mech *m = attn_mech_find("softmax");
    attn_value params[ATTN_MAX_PARAMS];
    attn_error error;
    attn_mech_defaults(m, params);
    assert_null(attn_mech_find("softmaxx"));
    assert_null(attn_mech_find(""));
    assert_null(attn_mech_find(NULL));
    assert_int_equal(attn_mech_slot(m, "nope"), -1);
    assert_int_equal(attn_mech_param(m, "nope"), -1);
    assert_int_equal(attn_mech_set(m, params, "nope", "1", &error), ATTN_E_NAME);
    assert_string_equal(error.name, "nope");
    assert_int_equal(attn_mech_set(m, params, NULL, "1", &error), ATTN_E_NULL);
}

/* ---- parameters ---------------------------------------------------------------------- */

typedef struct param_case {
    const char *name, *text;
    attn_status status;
    double f;
    int64_t i;
} param_case;

static const param_case param_cases[] = {
    {"scale", "0.125", ATTN_OK, 0.125, 0},
    {"scale", "-1e-3", ATTN_OK, -1e-3, 0},
    {"scale", "1e999", ATTN_E_PARAM, 0, 0},
    {"scale", "", ATTN_E_PARAM, 0, 0},
    {"scale", " 1", ATTN_E_PARAM, 0, 0},
    {"scale", "1 ", ATTN_E_PARAM, 0, 0},
    {"scale", "1x", ATTN_E_PARAM, 0, 0},
    {"chunk", "17", ATTN_OK, 0, 17},
    {"chunk", "-9223372036854775808", ATTN_OK, 0, INT64_MIN},
    {"chunk", "9223372036854775808", ATTN_E_PARAM, 0, 0},
    {"chunk", "1.0", ATTN_E_PARAM, 0, 0},
    {"chunk", "", ATTN_E_PARAM, 0, 0},
    {"chunk", "0x10", ATTN_E_PARAM, 0, 0},
    {"causal", "true", ATTN_OK, 0, 1},
    {"causal", "yes", ATTN_OK, 0, 1},
    {"causal", "1", ATTN_OK, 0, 1},
    {"causal", "no", ATTN_OK, 0, 0},
    {"causal", "TRUE", ATTN_E_PARAM, 0, 0},
    {"causal", "2", ATTN_E_PARAM, 0, 0},
    {"align", "bottom_right", ATTN_OK, 0, ATTN_ALIGN_BOTTOM_RIGHT},
    {"align", "offset", ATTN_OK, 0, ATTN_ALIGN_OFFSET},
    {"align", "bottom", ATTN_E_PARAM, 0, 0},
    {"align", "", ATTN_E_PARAM, 0, 0},
    {"align", "unset|top_left", ATTN_E_PARAM, 0, 0},
    {"scores_stage", "masked", ATTN_OK, 0, ATTN_SCORES_MASKED},
    {"rel", "grid", ATTN_OK, 0, ATTN_REL_GRID},
    {"head_map", "tiled", ATTN_OK, 0, ATTN_HEADS_TILED},
    {"rope", "interleaved", ATTN_OK, 0, ATTN_ROPE_INTERLEAVED},
};

static void test_parameters_from_text(void **state)
{
    (void)state;
    const attn_mech *m = attn_mech_find("softmax");
    for (size_t c = 0; c < sizeof param_cases / sizeof param_cases[0]; c++) {
        const param_case *t = &param_cases[c];
        attn_value before[ATTN_MAX_PARAMS], params[ATTN_MAX_PARAMS];
        attn_error error = {0};
        attn_mech_defaults(m, before);
        attn_mech_defaults(m, params);
        int p = attn_mech_param(m, t->name);
        print_message("%s=%s\n", t->name, t->text);
        assert_int_equal(attn_mech_set(m, params, t->name, t->text, &error), t->status);
        if (t->status == ATTN_OK) {
            assert_true(params[p].f == t->f && params[p].i == t->i);
            continue;
        }
        assert_string_equal(error.where, t->name);
        assert_true(params[p].f == before[p].f && params[p].i == before[p].i);
    }
}

/* ---- shapes -------------------------------------------------------------------------- */

static void test_lift_and_drop(void **state)
{
    (void)state;
    static const struct {
        const char *shape;
        int rank, missing;
        int first; /* what the first slot leaves out in such a call */
        int64_t dims[4], full[4];
    } cases[] = {
        {"B H T D", 4, 0, 0, {2, 3, 5, 7}, {2, 3, 5, 7}},
        {"B H T D", 3, 1, 1, {2, 5, 7}, {2, 1, 5, 7}},
        {"B G S E", 2, 2, 2, {5, 7}, {1, 1, 5, 7}},
        {"B H T", 2, 1, 1, {2, 5}, {2, 1, 5}},
        {"B H T", 1, 2, 2, {5}, {1, 1, 5}},
        {"B T", 2, 0, 1, {2, 5}, {2, 5}},
        {"B T", 1, -1, 2, {5}, {5}},
        {"H R D", 3, 0, 2, {3, 5, 7}, {3, 5, 7}},
        {"H R D", 2, -1, 0, {5, 7}, {5, 7}},
        {"*B H", 1, -1, 0, {5}, {5}},
        {"B H T D", 1, -1, 0, {5}, {5}},
    };
    for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
        float x[256];
        attn_tensor t = attn_tensor_make(x, ATTN_DTYPE_F32, cases[c].rank, cases[c].dims);
        assert_int_equal(attn__mech_missing(cases[c].shape, t.rank), cases[c].missing);
        attn_tensor full = attn__mech_lift(cases[c].shape, t);
        assert_memory_equal(full.shape, cases[c].full, (size_t)full.rank * sizeof(int64_t));
        assert_int_equal(attn_tensor_count(full), attn_tensor_count(t));
        int64_t dims[ATTN_MAX_RANK];
        memcpy(dims, full.shape, sizeof dims);
        int rank = attn__mech_drop(cases[c].shape, cases[c].first, full.rank, dims);
        assert_int_equal(rank, t.rank);
        assert_memory_equal(dims, t.shape, (size_t)rank * sizeof(int64_t));
    }
}

static void test_output_shapes_follow_q(void **state)
{
    (void)state;
    const attn_mech *m = attn_mech_find("softmax");
    static const struct {
        int rank;
        int64_t q[4], k[4], v[4];
        int out_rank;
        int64_t out[4], lse[4], weights[4];
    } cases[] = {
        {4, {2, 6, 5, 8}, {2, 3, 9, 8}, {2, 3, 9, 4}, 4, {2, 6, 5, 4}, {2, 6, 5}, {2, 6, 5, 9}},
        {3, {2, 5, 8}, {2, 9, 8}, {2, 9, 4}, 3, {2, 5, 4}, {2, 5}, {2, 5, 9}},
        {2, {5, 8}, {9, 8}, {9, 4}, 2, {5, 4}, {5}, {5, 9}},
    };
    for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
        attn_tensor slots[ATTN_MAX_SLOTS] = {0};
        slots[0] = attn_tensor_make(NULL, ATTN_DTYPE_F32, cases[c].rank, cases[c].q);
        slots[1] = attn_tensor_make(NULL, ATTN_DTYPE_F32, cases[c].rank, cases[c].k);
        slots[2] = attn_tensor_make(NULL, ATTN_DTYPE_F32, cases[c].rank, cases[c].v);
        const char *names[] = {"out", "lse", "weights"};
        const int64_t *want[] = {cases[c].out, cases[c].lse, cases[c].weights};
        for (int i = 0; i < 3; i++) {
            int rank, less = i == 1;
            int64_t shape[ATTN_MAX_RANK];
            assert_int_equal(attn_mech_shape(m, slots, NULL, attn_mech_slot(m, names[i]), &rank,
                                             shape, NULL),
                             ATTN_OK);
            assert_int_equal(rank, cases[c].out_rank - less);
            assert_memory_equal(shape, want[i], (size_t)rank * sizeof(int64_t));
        }
    }
}

/* Packed: B of q is 1, masks and weights count sequences and their own rows. */
static void test_packed_sequences_have_their_own_letters(void **state)
{
    (void)state;
    const attn_mech *m = attn_mech_find("softmax");
    int32_t cu[4] = {0, 2, 3, 7};
    attn_tensor slots[ATTN_MAX_SLOTS] = {ATTN_TENSOR(NULL, F32, 1, 2, 7, 8),
                                         ATTN_TENSOR(NULL, F32, 3, 2, 9, 8),
                                         ATTN_TENSOR(NULL, F32, 3, 2, 9, 5)};
    int cu_q = attn_mech_slot(m, "cu_q"), mask = attn_mech_slot(m, "mask"), rank;
    int64_t shape[ATTN_MAX_RANK];
    attn_error error;
    assert_int_equal(attn_mech_shape(m, slots, NULL, 3, &rank, shape, &error), ATTN_E_SHAPE);
    slots[cu_q] = ATTN_TENSOR(cu, I32, 4);
    static const int64_t out[] = {1, 2, 7, 5}, free_weights[] = {3, 2, 7, 9};
    assert_int_equal(attn_mech_shape(m, slots, NULL, 3, &rank, shape, &error), ATTN_OK);
    assert_memory_equal(shape, out, sizeof out);
    int weights = attn_mech_slot(m, "weights");
    assert_int_equal(attn_mech_shape(m, slots, NULL, weights, &rank, shape, &error), ATTN_OK);
    assert_memory_equal(shape, free_weights, sizeof free_weights);
    slots[mask] = ATTN_TENSOR(NULL, BOOL, 3, 1, 4, 9);
    assert_int_equal(attn_mech_shape(m, slots, NULL, weights, &rank, shape, &error), ATTN_OK);
    static const int64_t by_mask[] = {3, 2, 4, 9};
    assert_memory_equal(shape, by_mask, sizeof by_mask);
    slots[attn_mech_slot(m, "k_len")] = ATTN_TENSOR(NULL, I64, 2);
    assert_int_equal(attn_mech_shape(m, slots, NULL, 3, &rank, shape, &error), ATTN_E_SHAPE);
}

static void test_a_clash_names_letter_and_slots(void **state)
{
    (void)state;
    const attn_mech *m = attn_mech_find("softmax");
    attn_tensor slots[ATTN_MAX_SLOTS] = {ATTN_TENSOR(NULL, F32, 1, 2, 5, 8),
                                         ATTN_TENSOR(NULL, F32, 1, 2, 9, 7)};
    int rank;
    int64_t shape[ATTN_MAX_RANK];
    attn_error error;
    char text[256];
    assert_int_equal(attn_mech_shape(m, slots, NULL, 3, &rank, shape, &error), ATTN_E_SHAPE);
    attn_error_text(&error, text, sizeof text);
    assert_non_null(strstr(text, "D"));
    assert_non_null(strstr(text, "q"));
    assert_non_null(strstr(text, "k"));
    assert_int_equal(error.want, 8);
    assert_int_equal(error.got, 7);
    slots[1] = (attn_tensor){0};
    assert_int_equal(attn_mech_shape(m, slots, NULL, 3, &rank, shape, &error), ATTN_E_SHAPE);
    assert_int_equal(attn_mech_shape(m, slots, NULL, 63, &rank, shape, &error), ATTN_E_NAME);
    assert_int_equal(attn_mech_shape(m, slots, NULL, -1, &rank, shape, &error), ATTN_E_NAME);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_every_table_is_sound),
    cmocka_unit_test(test_families_and_aliases),
    cmocka_unit_test(test_aliases_with_other_defaults),
    cmocka_unit_test(test_every_default_reads_back),
    cmocka_unit_test(test_unknown_names),
    cmocka_unit_test(test_parameters_from_text),
    cmocka_unit_test(test_lift_and_drop),
    cmocka_unit_test(test_output_shapes_follow_q),
    cmocka_unit_test(test_packed_sequences_have_their_own_letters),
    cmocka_unit_test(test_a_clash_names_letter_and_slots),
};

int main(void)
{
    return cmocka_run_group_tests(tests, NULL, NULL);
}
