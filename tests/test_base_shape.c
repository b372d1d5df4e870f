/* SPDX-License-Identifier: MIT
 * Shape strings: what is well formed, how letters bind, what a disagreement says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "base/base.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])
#define VIEW(...)    ATTN_TENSOR(NULL, F32, __VA_ARGS__)

static const struct {
    const char *shape;
    int rank;
} strings[] = {{"", 0},
               {"B", 1},
               {"B H T D", 4},
               {"*B H T S", 4},
               {"* B", 1},
               {"*", 0},
               {"  B   T ", 2},
               {"B+1", 1},
               {"H 2", 2},
               {"17 Z+12", 2},
               {"A B C D E F G H", 8},
               {"0", 1},
               {"140737488355328", 1},
               /* malformed */
               {"b", -1},
               {"BT", -1},
               {"B1", -1},
               {"B+", -1},
               {"B+T", -1},
               {"B +1", -1},
               {"B-1", -1},
               {"+1", -1},
               {"1B", 1},
               {"2R+1", 1},
               {"4D 2H", 2},
               {"0D", -1},
               {"2 D", 2},
               {"2R+", -1},
               {"R2", -1},
               {"B,T", -1},
               {"B\tT", -1},
               {"B *T", -1},
               {"**B", -1},
               {"B+1x", -1},
               {"-1", -1},
               {"A B C D E F G H I", -1},
               {"140737488355329", -1},
               {"99999999999999999999999999", -1},
               {NULL, -1}};

static void strings_good_and_bad(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(strings); i++)
        if (attn__shape_rank(strings[i].shape) != strings[i].rank)
            fail_msg("'%s' has rank %d", strings[i].shape, attn__shape_rank(strings[i].shape));
}

static void malformed_strings_are_refused(void **state)
{
    attn_error error = {0};
    attn__sizes sizes;
    attn_tensor t = VIEW(2);
    int rank = -5;
    int64_t dims[ATTN_MAX_RANK];
    (void)state;
    attn__sizes_init(&sizes);
    assert_int_equal(attn__shape_bind(&sizes, "q", "B?", &t, &error), ATTN_E_PARAM);
    assert_string_equal(error.name, "B?");
    assert_string_equal(error.where, "q");
    assert_int_equal(attn__shape_resolve(&sizes, "q", "?", &rank, dims, &error), ATTN_E_PARAM);
    assert_int_equal(rank, -5);
}

/* ---- binding, as a sequence of slots ---------------------------------------------------- */

typedef struct bind_step {
    const char *slot, *shape;
    int rank;
    int64_t dims[4];
} bind_step;

typedef struct bind_case {
    bind_step steps[3];
    attn_status last; /* what the last step says; those before it are fine */
    const char *where, *name;
    int64_t want, got;
} bind_case;

static const bind_case bind_cases[] = {
    {.steps = {{"q", "B T D", 3, {2, 3, 4}}, {"k", "B S D", 3, {2, 5, 4}}}},
    {.steps = {{"q", "B T D", 3, {2, 3, 4}}, {"k", "B S D", 3, {2, 5, 8}}},
     .last = ATTN_E_SHAPE,
     .where = "k",
     .name = "D of k and q",
     .want = 4,
     .got = 8},
    {.steps = {{"w", "D D", 2, {3, 4}}},
     .last = ATTN_E_SHAPE,
     .where = "w",
     .name = "D of w and w",
     .want = 3,
     .got = 4},
    {.steps = {{"q", "B T D", 2, {2, 3}}},
     .last = ATTN_E_RANK,
     .where = "q",
     .name = "B T D",
     .want = 3,
     .got = 2},
    {.steps = {{"q", "T D", 3, {2, 3, 4}}},
     .last = ATTN_E_RANK,
     .where = "q",
     .name = "T D",
     .want = 2,
     .got = 3},
    {.steps = {{"w", "2R+1 D", 2, {7, 4}}, {"x", "3D R", 2, {12, 3}}}},
    {.steps = {{"w", "2R+1", 1, {6}}}, .last = ATTN_E_SHAPE, .where = "w", .want = 2, .got = 6},
    {.steps = {{"x", "D", 1, {4}}, {"w", "3D", 1, {13}}},
     .last = ATTN_E_SHAPE,
     .where = "w",
     .name = "D of w and x",
     .want = 12,
     .got = 13},
    {.steps = {{"q", "B 2", 2, {7, 2}}}},
    {.steps = {{"q", "B 2", 2, {7, 3}}},
     .last = ATTN_E_SHAPE,
     .where = "q",
     .name = "dimension 1 of q",
     .want = 2,
     .got = 3},
    /* letter+number, both ways round */
    {.steps = {{"q", "B T", 2, {7, 2}}, {"cu", "B+1", 1, {8}}}},
    {.steps = {{"cu", "B+1", 1, {8}}, {"q", "B T", 2, {7, 2}}}},
    {.steps = {{"q", "B T", 2, {7, 2}}, {"cu", "B+1", 1, {7}}},
     .last = ATTN_E_SHAPE,
     .where = "cu",
     .name = "B of cu and q",
     .want = 8,
     .got = 7},
    {.steps = {{"cu", "B+1", 1, {0}}},
     .last = ATTN_E_SHAPE,
     .where = "cu",
     .name = "",
     .want = 1,
     .got = 0},
    {.steps = {{"cu", "B+1", 1, {1}}, {"q", "B", 1, {0}}}},
    /* broadcasting: full, 1 or missing, from the right */
    {.steps = {{"q", "B T S", 3, {2, 3, 4}}, {"m", "*B T S", 3, {2, 3, 4}}}},
    {.steps = {{"q", "B T S", 3, {2, 3, 4}}, {"m", "*B T S", 3, {1, 3, 1}}}},
    {.steps = {{"q", "B T S", 3, {2, 3, 4}}, {"m", "*B T S", 1, {4}}}},
    {.steps = {{"q", "B T S", 3, {2, 3, 4}}, {"m", "*B T S", 0, {0}}}},
    {.steps = {{"q", "B T S", 3, {2, 3, 4}}, {"m", "*B T S", 2, {4, 3}}},
     .last = ATTN_E_SHAPE,
     .where = "m",
     .name = "T of m and q",
     .want = 3,
     .got = 4},
    {.steps = {{"q", "B T S", 3, {2, 3, 4}}, {"m", "*T S", 3, {2, 3, 4}}},
     .last = ATTN_E_RANK,
     .where = "m",
     .name = "*T S",
     .want = 2,
     .got = 3},
    {.steps = {{"q", "B T S", 3, {0, 3, 4}}, {"m", "*B T S", 3, {2, 3, 4}}},
     .last = ATTN_E_SHAPE,
     .where = "m",
     .name = "B of m and q",
     .want = 0,
     .got = 2},
    /* a broadcast that comes first binds what it has in full, and leaves a 1 open */
    {.steps = {{"m", "*B T", 2, {1, 3}}, {"q", "B T", 2, {5, 3}}}},
    {.steps = {{"m", "*B T", 2, {1, 3}}, {"q", "B T", 2, {5, 4}}},
     .last = ATTN_E_SHAPE,
     .where = "q",
     .name = "T of q and m",
     .want = 3,
     .got = 4},
    {.steps = {{"q", "T", 1, {-1}}},
     .last = ATTN_E_SHAPE,
     .where = "q",
     .name = "",
     .want = 0,
     .got = -1},
};

static attn_status run_steps(const bind_case *c, attn_error *error)
{
    attn__sizes sizes;
    attn_status status = ATTN_OK;
    attn__sizes_init(&sizes);
    for (size_t i = 0; i < COUNT(c->steps) && c->steps[i].slot; i++) {
        const bind_step *step = &c->steps[i];
        attn_tensor t = attn_tensor_make(NULL, ATTN_DTYPE_F32, step->rank, step->dims);
        assert_int_equal(status, ATTN_OK);
        status = attn__shape_bind(&sizes, step->slot, step->shape, &t, error);
    }
    return status;
}

static void letters_bind(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(bind_cases); i++) {
        const bind_case *c = &bind_cases[i];
        attn_error error = {0};
        attn_status got = run_steps(c, &error);
        if (got != c->last) fail_msg("case %zu: %s", i, attn_status_name(got));
        assert_int_equal(run_steps(c, NULL), got);
        if (got == ATTN_OK) continue;
        assert_string_equal(error.where, c->where);
        if (c->name) assert_string_equal(error.name, c->name);
        assert_true(error.counted && error.want == c->want && error.got == c->got);
    }
}

static void the_message_is_complete(void **state)
{
    attn_error error = {0};
    char text[256];
    (void)state;
    run_steps(&bind_cases[1], &error);
    attn_error_text(&error, text, sizeof text);
    assert_string_equal(text, "k: size differs from the one another slot gave this letter: "
                              "D of k and q (expected 4, got 8)");
}

/* ---- resolving -------------------------------------------------------------------------- */

static void shapes_are_resolved(void **state)
{
    attn__sizes sizes;
    attn_error error = {0};
    attn_tensor q = VIEW(2, 3);
    int rank = -1;
    int64_t dims[ATTN_MAX_RANK] = {0};
    (void)state;
    attn__sizes_init(&sizes);
    assert_int_equal(attn__shape_bind(&sizes, "q", "B T", &q, NULL), ATTN_OK);
    assert_int_equal(attn__shape_resolve(&sizes, "o", "*T 7 B+4", &rank, dims, NULL), ATTN_OK);
    assert_int_equal(rank, 3);
    assert_memory_equal(dims, ((int64_t[]){3, 7, 6}), 3 * sizeof(int64_t));
    assert_int_equal(attn__shape_resolve(&sizes, "o", "", &rank, dims, NULL), ATTN_OK);
    assert_int_equal(rank, 0);
    assert_int_equal(attn__shape_resolve(&sizes, "o", "B E", &rank, dims, &error),
                     ATTN_E_SHAPE);
    assert_string_equal(error.where, "o");
    assert_string_equal(error.name, "E");
}

static void huge_sizes_are_refused(void **state)
{
    attn__sizes sizes;
    attn_error error = {0};
    attn_tensor q = {.dtype = ATTN_DTYPE_F32, .rank = 1, .shape = {INT64_MAX}};
    int rank;
    int64_t dims[ATTN_MAX_RANK];
    (void)state;
    attn__sizes_init(&sizes);
    assert_int_equal(attn__shape_bind(&sizes, "q", "B", &q, NULL), ATTN_OK);
    assert_int_equal(attn__shape_resolve(&sizes, "o", "B+1", &rank, dims, &error),
                     ATTN_E_OVERFLOW);
    assert_int_equal(attn__shape_bind(&sizes, "c", "B+1", &q, &error), ATTN_E_OVERFLOW);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(strings_good_and_bad), cmocka_unit_test(malformed_strings_are_refused),
        cmocka_unit_test(letters_bind),         cmocka_unit_test(the_message_is_complete),
        cmocka_unit_test(shapes_are_resolved),  cmocka_unit_test(huge_sizes_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
