/* SPDX-License-Identifier: MIT
 * The small parts of src/base: version, status and error, arithmetic on sizes, facts about
 * element types, random numbers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "base/base.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static void version_is_that_of_the_header(void **state)
{
    char text[32];
    (void)state;
    snprintf(text, sizeof text, "%d.%d.%d", ATTN_VERSION_MAJOR, ATTN_VERSION_MINOR,
             ATTN_VERSION_PATCH);
    assert_string_equal(attn_version(), text);
    assert_string_equal(attn_version(), ATTN_VERSION);
}

/* ---- status ----------------------------------------------------------------------------- */

/* Spelled out here once more, because programs store these numbers. */
static const struct {
    int number;
    const char *name;
} pinned[] = {{0, "OK"},        {1, "E_NULL"},       {2, "E_VERSION"},  {3, "E_ENUM"},
              {4, "E_RANK"},    {5, "E_DIM"},        {6, "E_OVERFLOW"}, {7, "E_SHAPE"},
              {8, "E_HEADS"},   {9, "E_DTYPE"},      {10, "E_ALIAS"},   {11, "E_ALIGN"},
              {12, "E_PARAM"},  {13, "E_CAUSAL"},    {14, "E_MASK"},    {15, "E_LENGTH"},
              {16, "E_CUSEQ"},  {17, "E_WORKSPACE"}, {18, "E_ISA"},     {19, "E_UNSUPPORTED"},
              {20, "E_MEMORY"}, {21, "E_HANDLE"},    {22, "E_NAME"},    {23, "E_IO"},
              {24, "E_FORMAT"}, {25, "E_TRUNC"},     {26, "E_TRAIL"},   {27, "E_LIMIT"},
              {28, "E_JSON"},   {29, "E_DUP"},       {30, "E_OFFSET"},  {31, "E_STATS"},
              {32, "E_FULL"},   {33, "E_POSITION"},  {34, "E_PAGE"}};

static void status_numbers_are_pinned(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(pinned); i++) {
        attn_status status = (attn_status)pinned[i].number;
        assert_string_equal(attn_status_name(status), pinned[i].name);
        assert_true(strlen(attn_status_text(status)) > 1);
    }
    assert_string_equal(attn_status_text(ATTN_E_SHAPE), "two tensors disagree about a size");
}

static void status_unknown_numbers_have_words(void **state)
{
    static const int unknown[] = {-1, 35, 36, 1000, INT32_MAX, INT32_MIN};
    (void)state;
    for (size_t i = 0; i < COUNT(unknown); i++) {
        assert_string_equal(attn_status_name((attn_status)unknown[i]), "E_?");
        assert_non_null(strstr(attn_status_text((attn_status)unknown[i]), "not know"));
    }
}

/* ---- error ------------------------------------------------------------------------------ */

static void error_fail_fills_everything(void **state)
{
    attn_error error;
    (void)state;
    memset(&error, 0xAB, sizeof error);
    assert_int_equal(attn__fail(&error, ATTN_E_DTYPE, "q", "wrong"), ATTN_E_DTYPE);
    assert_int_equal(error.status, ATTN_E_DTYPE);
    assert_string_equal(error.where, "q");
    assert_string_equal(error.what, "wrong");
    assert_string_equal(error.name, "");
    assert_false(error.counted);
    assert_int_equal(attn__fail_count(&error, ATTN_E_DIM, "k", "far", 3, -4), ATTN_E_DIM);
    assert_true(error.counted);
    assert_int_equal(error.want, 3);
    assert_int_equal(error.got, -4);
    assert_int_equal(attn__fail(&error, ATTN_E_IO, NULL, NULL), ATTN_E_IO);
    assert_string_equal(error.where, "");
    assert_string_equal(error.what, "");
    assert_false(error.counted);
}

static void error_may_be_null(void **state)
{
    (void)state;
    assert_int_equal(attn__fail(NULL, ATTN_E_DTYPE, "q", "wrong"), ATTN_E_DTYPE);
    assert_int_equal(attn__fail_count(NULL, ATTN_E_DIM, "q", "wrong", 1, 2), ATTN_E_DIM);
    assert_int_equal(attn__fail_name(NULL, ATTN_E_DUP, "q", "wrong", "x"), ATTN_E_DUP);
}

static void error_names_are_made_harmless(void **state)
{
    static const char long_name[] =
        "0123456789012345678901234567890123456789012345678901234567890123456789";
    attn_error error;
    char utf8[80];
    (void)state;
    attn__fail_name(&error, ATTN_E_NAME, "", "bad", "a\tb\033[31m\177\xC3\xA4");
    assert_string_equal(error.name, "a?b?[31m?\xC3\xA4");
    attn__fail_name(&error, ATTN_E_NAME, "", "bad", NULL);
    assert_string_equal(error.name, "");
    attn__fail_name(&error, ATTN_E_NAME, "", "bad", long_name);
    assert_int_equal(strlen(error.name), 63);
    assert_memory_equal(error.name, long_name, 63);
    for (size_t before = 58; before < 66; before++) { /* no character is cut in half */
        snprintf(utf8, sizeof utf8, "%.*s\xE2\x82\xAC!", (int)before, long_name);
        attn__fail_name(&error, ATTN_E_NAME, "", "bad", utf8);
        size_t kept = before + 4 <= 63 ? before + 4 : before + 3 <= 63 ? before + 3 : before;
        assert_int_equal(strlen(error.name), kept > 63 ? 63 : kept);
    }
}

typedef struct error_case {
    attn_error error;
    const char *text;
} error_case;

static const error_case error_cases[] = {
    {{.status = ATTN_E_SHAPE,
      .what = "head width must equal that of q",
      .where = "k",
      .counted = true,
      .want = 64,
      .got = 32},
     "k: head width must equal that of q (expected 64, got 32)"},
    {{.status = ATTN_E_DUP, .what = "a name stands twice", .where = "", .name = "w_q"},
     "a name stands twice: w_q"},
    {{.status = ATTN_E_MEMORY, .where = "plan"}, "plan: an allocation failed"},
    {{.status = ATTN_E_MEMORY}, "an allocation failed"},
    {{.status = ATTN_OK, .what = "left over"}, "ok"},
    {{.status = ATTN_E_DIM,
      .what = "x",
      .where = "y",
      .name = "z",
      .counted = true,
      .want = INT64_MIN,
      .got = INT64_MAX},
     "y: x: z (expected -9223372036854775808, got 9223372036854775807)"},
};

static void error_text_is_one_sentence(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(error_cases); i++) {
        char text[256];
        size_t n = attn_error_text(&error_cases[i].error, text, sizeof text);
        assert_string_equal(text, error_cases[i].text);
        assert_int_equal(n, strlen(text));
    }
}

static void error_text_keeps_to_its_room(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(error_cases); i++) {
        const char *full = error_cases[i].text;
        for (size_t n = 0; n <= strlen(full) + 2; n++) {
            char text[256];
            memset(text, '#', sizeof text);
            assert_int_equal(attn_error_text(&error_cases[i].error, text, n), strlen(full));
            assert_int_equal(text[n], '#');
            if (n) assert_int_equal(strlen(text), n - 1 < strlen(full) ? n - 1 : strlen(full));
            if (n) assert_memory_equal(text, full, strlen(text));
        }
        assert_int_equal(attn_error_text(&error_cases[i].error, NULL, 0), strlen(full));
    }
    assert_int_equal(attn_error_text(NULL, NULL, 9), 2);
}

/* ---- sizes ------------------------------------------------------------------------------ */

static void size_signed_results_fit_or_are_refused(void **state)
{
    int64_t out = 7;
    (void)state;
    assert_true(attn__mul(INT64_C(1) << 31, INT64_C(1) << 31, &out));
    assert_int_equal(out, INT64_C(1) << 62);
    assert_true(attn__mul(INT64_MIN, 1, &out));
    assert_true(out == INT64_MIN);
    assert_true(attn__add(INT64_MAX, 0, &out));
    assert_true(out == INT64_MAX);
    assert_false(attn__mul(INT64_C(1) << 32, INT64_C(1) << 31, &out));
    assert_false(attn__mul(INT64_MIN, -1, &out));
    assert_false(attn__add(INT64_MAX, 1, &out));
    assert_false(attn__add(INT64_MIN, -1, &out));
    assert_true(out == INT64_MAX);
}

static void size_unsigned_results_fit_or_are_refused(void **state)
{
    size_t out = 7;
    (void)state;
    assert_false(attn__mul_size(SIZE_MAX, 2, &out));
    assert_false(attn__add_size(SIZE_MAX, 1, &out));
    assert_int_equal(out, 7);
    assert_true(attn__mul_size(SIZE_MAX, 1, &out));
    assert_true(out == SIZE_MAX);
    assert_true(attn__add_size(SIZE_MAX - 1, 1, &out));
    assert_true(out == SIZE_MAX);
}

static void size_helpers(void **state)
{
    (void)state;
    assert_int_equal(attn__min(-3, 2), -3);
    assert_int_equal(attn__max(-3, 2), 2);
    assert_int_equal(attn__ceil_div(0, 8), 0);
    assert_int_equal(attn__ceil_div(8, 8), 1);
    assert_int_equal(attn__ceil_div(9, 8), 2);
}

/* ---- element types ---------------------------------------------------------------------- */

static const struct {
    attn_dtype dtype;
    const char *name;
    size_t size;
    char kind;
} dtypes[] = {{ATTN_DTYPE_NONE, "none", 0, 'n'}, {ATTN_DTYPE_F64, "f64", 8, 'f'},
              {ATTN_DTYPE_F32, "f32", 4, 'f'},   {ATTN_DTYPE_BF16, "bf16", 2, 'f'},
              {ATTN_DTYPE_F16, "f16", 2, 'f'},   {ATTN_DTYPE_BOOL, "bool", 1, 'b'},
              {ATTN_DTYPE_I64, "i64", 8, 'i'},   {ATTN_DTYPE_I32, "i32", 4, 'i'},
              {ATTN_DTYPE_I16, "i16", 2, 'i'},   {ATTN_DTYPE_I8, "i8", 1, 'i'},
              {ATTN_DTYPE_U8, "u8", 1, 'i'},     {ATTN_DTYPE_U16, "u16", 2, 'i'},
              {ATTN_DTYPE_U32, "u32", 4, 'i'},   {ATTN_DTYPE_U64, "u64", 8, 'i'}};

static void dtype_facts(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(dtypes); i++) {
        attn_dtype dtype = dtypes[i].dtype;
        assert_int_equal((int)dtype, (int)i);
        assert_string_equal(attn_dtype_name(dtype), dtypes[i].name);
        assert_int_equal(attn_dtype_size(dtype), dtypes[i].size);
        assert_int_equal(attn_dtype_find(dtypes[i].name), dtype);
        assert_int_equal(attn__dtype_is_float(dtype), dtypes[i].kind == 'f');
        assert_int_equal(attn__dtype_is_int(dtype), dtypes[i].kind == 'i');
    }
}

static void dtype_unknown_numbers_and_names(void **state)
{
    static const int unknown[] = {-1, 14, 255, INT32_MAX};
    static const char *const names[] = {"", "F32", "f3", "f322", "float", " f32", NULL};
    (void)state;
    for (size_t i = 0; i < COUNT(unknown); i++) {
        attn_dtype dtype = (attn_dtype)unknown[i];
        assert_string_equal(attn_dtype_name(dtype), "?");
        assert_int_equal(attn_dtype_size(dtype), 0);
        assert_false(attn__dtype_is_float(dtype) || attn__dtype_is_int(dtype));
    }
    for (size_t i = 0; i < COUNT(names); i++)
        assert_int_equal(attn_dtype_find(names[i]), ATTN_DTYPE_NONE);
}

/* ---- random numbers --------------------------------------------------------------------- */

/* The known answers published with the generator. */
static const struct {
    uint32_t counter[4], key[2], out[4];
} philox[] = {
    {{0, 0, 0, 0}, {0, 0}, {0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8}},
    {{0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF},
     {0xFFFFFFFF, 0xFFFFFFFF},
     {0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD}},
    {{0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344},
     {0xA4093822, 0x299F31D0},
     {0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1}},
};

static void philox_gives_the_published_words(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(philox); i++) {
        uint32_t out[4];
        attn__philox(philox[i].counter, philox[i].key, out);
        assert_memory_equal(out, philox[i].out, sizeof out);
    }
}

static void philox_may_work_in_place(void **state)
{
    uint32_t words[4] = {0, 0, 0, 0};
    (void)state;
    attn__philox(words, philox[0].key, words);
    assert_memory_equal(words, philox[0].out, sizeof words);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(version_is_that_of_the_header),
        cmocka_unit_test(status_numbers_are_pinned),
        cmocka_unit_test(status_unknown_numbers_have_words),
        cmocka_unit_test(error_fail_fills_everything),
        cmocka_unit_test(error_may_be_null),
        cmocka_unit_test(error_names_are_made_harmless),
        cmocka_unit_test(error_text_is_one_sentence),
        cmocka_unit_test(error_text_keeps_to_its_room),
        cmocka_unit_test(size_signed_results_fit_or_are_refused),
        cmocka_unit_test(size_unsigned_results_fit_or_are_refused),
        cmocka_unit_test(size_helpers),
        cmocka_unit_test(dtype_facts),
        cmocka_unit_test(dtype_unknown_numbers_and_names),
        cmocka_unit_test(philox_gives_the_published_words),
        cmocka_unit_test(philox_may_work_in_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
