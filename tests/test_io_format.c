/* SPDX-License-Identifier: MIT
 * The bytes and values of npy, safetensors and TensorProto files, the JSON reader alone, and
 * errors that name the tensor. */
#define _POSIX_C_SOURCE 200809L
#include "io/io.h"
#include "test_io.h"

/* Loads a file of tests/hostile that is good, and compares its tensor at i. */
static void expect_tensor(const char *file, int64_t i, attn_tensor want)
{
    char path[512];
    attn_error e = {0};
    attn_archive *a = NULL;
    if (attn_archive_load(&a, NULL, io_hostile(path, file), ATTN_FORMAT_AUTO, &e))
        fail_msg("%s: %s: %s", file, e.where, e.what);
    attn_tensor got = attn_archive_tensor(a, i);
    if (!io_same(&want, &got)) fail_msg("%s differs", file);
    attn_archive_destroy(a);
}

/* ---- npy --------------------------------------------------------------------------------- */

static void test_npy_values(void **state)
{
    float rows[] = {0, 1, 2, 3, 4, 5}, columns[] = {0, 3, 1, 4, 2, 5};
    double zero = 0;
    attn_tensor want = ATTN_TENSOR(rows, F32, 2, 3);
    static const char *const same[] = {"good_versions_2.npy", "good_versions_3.npy",
                                       "good_big_endian.npy", "good_order.npy",
                                       "good_unpadded.npy"};
    (void)state;
    for (size_t i = 0; i < sizeof same / sizeof *same; i++) expect_tensor(same[i], 0, want);
    expect_tensor("good_fortran.npy", 0, ATTN_TENSOR(columns, F32, 3, 2));
    expect_tensor("good_scalar.npy", 0, attn_tensor_make(&zero, ATTN_DTYPE_F64, 0, NULL));
    expect_tensor("good_zero.npy", 0, ATTN_TENSOR(NULL, F64, 0, ATTN__FAR));
}

static void test_npy_fortran_is_a_view(void **state)
{
    char path[512];
    attn_archive *a = NULL;
    (void)state;
    assert_int_equal(attn_archive_load(&a, NULL, io_hostile(path, "good_fortran.npy"),
                                       ATTN_FORMAT_NPY, NULL),
                     ATTN_OK);
    attn_tensor t = attn_archive_tensor(a, 0);
    assert_int_equal(t.stride[0], 1);
    assert_int_equal(t.stride[1], 3);
    attn_archive_destroy(a);
}

static void test_npy_bytes(void **state)
{
    char path[512];
    size_t n;
    static const char header[] =
        "\x93NUMPY\x01\x00\x76\x00{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }";
    static const struct {
        int rank;
        const char *text;
    } shapes[] = {{0, "'shape': (), }"}, {1, "'shape': (2,), }"}, {3, "'shape': (2, 3, 1), }"}};
    float rows[] = {0, 1, 2, 3, 4, 5};
    attn_tensor t = ATTN_TENSOR(rows, F32, 2, 3);
    assert_int_equal(
        attn_archive_save(NULL, io_path(state, path, "a.npy"), 1, NULL, &t, NULL, NULL), 0);
    uint8_t *bytes = io_slurp(path, &n);
    assert_int_equal(n, 128 + 24);
    assert_memory_equal(bytes, header, sizeof header - 1);
    for (size_t i = sizeof header - 1; i < 127; i++) assert_int_equal(bytes[i], ' ');
    assert_int_equal(bytes[127], '\n');
    assert_memory_equal(bytes + 128, rows, 24);
    free(bytes);
    for (size_t i = 0; i < 3; i++) {
        uint8_t room[ATTN__NPY_HEADER_ROOM + 1] = {0};
        t = attn_tensor_make(rows, ATTN_DTYPE_F32, shapes[i].rank, (const int64_t[]){2, 3, 1});
        assert_int_equal(attn__npy_header(room, &t) % 64, 0);
        assert_non_null(strstr((const char *)room + 10, shapes[i].text));
    }
}

/* The longest header there can be leaves room. */
static void test_npy_header_room(void **state)
{
    uint8_t room[ATTN__NPY_HEADER_ROOM];
    attn_tensor t = {.dtype = ATTN_DTYPE_BOOL, .rank = 8};
    (void)state;
    for (int d = 0; d < 8; d++) t.shape[d] = ATTN__FAR;
    size_t n = attn__npy_header(room, &t);
    assert_true(n > 0 && n + 64 <= sizeof room);
}

/* ---- safetensors ------------------------------------------------------------------------- */

static void test_safetensors_values(void **state)
{
    float rows[] = {0, 1, 2, 3, 4, 5};
    uint8_t seven = 7;
    int16_t one = 1;
    attn_archive *a = NULL;
    char path[512];
    (void)state;
    expect_tensor("good_plain.safetensors", 0, ATTN_TENSOR(rows, F32, 2, 3));
    expect_tensor("good_plain.safetensors", 1, ATTN_TENSOR(&seven, U8, 1));
    expect_tensor("good_plain.safetensors", 2, ATTN_TENSOR(NULL, F64, 0, 4));
    expect_tensor("good_escapes.safetensors", 0,
                  attn_tensor_make(&one, ATTN_DTYPE_I16, 0, NULL));
    assert_int_equal(
        attn_archive_load(&a, NULL, io_hostile(path, "good_escapes.safetensors"), 0, NULL),
        ATTN_OK);
    assert_string_equal(attn_archive_name(a, 0), "\xc3\xa4\xf0\x9f\x99\x82/\"");
    attn_archive_destroy(a);
}

static void test_safetensors_bytes(void **state)
{
    char path[512];
    size_t n;
    static const char text[] =
        "{\"b\":{\"dtype\":\"F64\",\"shape\":[],\"data_offsets\":[0,8]},"
        "\"a\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[8,11]}}";
    double half = 0.5;
    uint8_t three[] = {1, 2, 3};
    const char *const names[] = {"a", "b"};
    const attn_tensor tensors[] = {ATTN_TENSOR(three, U8, 3),
                                   attn_tensor_make(&half, ATTN_DTYPE_F64, 0, NULL)};
    assert_int_equal(attn_archive_save(NULL, io_path(state, path, "a.safetensors"), 2, names,
                                       tensors, NULL, NULL),
                     ATTN_OK);
    uint8_t *bytes = io_slurp(path, &n);
    size_t header = (size_t)attn__load64(bytes);
    assert_int_equal(header % 8, 0);
    assert_true(header >= sizeof text - 1 && header < sizeof text + 7);
    assert_memory_equal(bytes + 8, text, sizeof text - 1);
    for (size_t i = sizeof text - 1; i < header; i++) assert_int_equal(bytes[8 + i], ' ');
    assert_int_equal(n, 8 + header + 11);
    assert_memory_equal(bytes + 8 + header, &half, 8);
    assert_memory_equal(bytes + 8 + header + 8, three, 3);
    free(bytes);
}

/* ---- json -------------------------------------------------------------------------------- */

typedef struct json_case {
    const char *text;
    const char *kinds; /* one letter a token; '!' bad, '.' end */
} json_case;

static const char letters[] = "!.{}[]ksin10z"; /* ORDER attn__json_kind */

static const json_case json_cases[] = {
    {"{}", "{}."},
    {" [ ] ", "[]."},
    {"[1,-1,1.5,1e3,9223372036854775807,9223372036854775808]", "[innnin]."},
    {"[0,-0,0.0,0E+0,10]", "[innni]."},
    {"[true,false,null]", "[10z]."},
    {"{\"a\":1,\"b\":[{}]}", "{kik[{}]}."},
    {"[[[[]]]]", "[[[[]]]]."},
    {"[[[[[]]]]]", "[[[[!"},
    {"\"x\"", "s."},
    {"\"\\u0041\\n\\ud83d\\ude42\"", "s."},
    {"", "!"},
    {"[", "[!"},
    {"[1", "[i!"},
    {"[1,]", "[i!"},
    {"[,1]", "[!"},
    {"[1 2]", "[i!"},
    {"{\"a\"}", "{!"},
    {"{\"a\":}", "{k!"},
    {"{\"a\":1,}", "{ki!"},
    {"{,}", "{!"},
    {"{a:1}", "{!"},
    {"[}", "[!"},
    {"{]", "{!"},
    {"[]]", "[]!"},
    {"{} {}", "{}!"},
    {"[01]", "[!"},
    {"[1.]", "[!"},
    {"[.5]", "[!"},
    {"[+1]", "[!"},
    {"[1e]", "[!"},
    {"[0x1]", "[i!"},
    {"[NaN]", "[!"},
    {"[Infinity]", "[!"},
    {"[tru]", "[!"},
    {"[truex]", "[1!"},
    {"'x'", "!"},
    {"\"x", "!"},
    {"\"\\", "!"},
    {"\"\\u12\"", "!"},
    {"\"\\u12g4\"", "!"},
    {"\"\\ud800\\u0041\"", "!"},
    {"\"\\udc00\"", "!"},
    {"\"\\x\"", "!"},
    {"\"\t\"", "!"},
    {"\"\xed\xa0\x80\"", "!"},
    {"\"\xf5\x80\x80\x80\"", "!"},
    {"\"\xe2\x82\"", "!"},
    {"// c\n{}", "!"},
};

static void test_json(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof json_cases / sizeof *json_cases; i++) {
        const json_case *c = &json_cases[i];
        size_t n = strlen(c->text);
        uint8_t *exact = malloc(n ? n : 1);
        attn__json json;
        assert_non_null(exact);
        memcpy(exact, c->text, n);
        attn__json_init(&json, exact, n);
        for (const char *want = c->kinds; *want; want++) {
            char got = letters[attn__json_next(&json)];
            if (got != *want) fail_msg("%s: at %s came %c", c->text, want, got);
            if (got == '!') assert_true(json.what[0]);
        }
        char last = letters[attn__json_next(&json)]; /* asking again gives the same */
        assert_int_equal(last, c->kinds[strlen(c->kinds) - 1]);
        free(exact);
    }
}

static void test_json_decode(void **state)
{
    static const char text[] =
        "\"a\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\\u20AC\\ud83d\\ude42\\u0000z\"";
    static const char want[] = "a\"\\/\b\f\n\r\t\xc3\xa9\xe2\x82\xac\xf0\x9f\x99\x82\0z";
    char out[64];
    attn__json json;
    (void)state;
    attn__json_init(&json, (const uint8_t *)text, sizeof text - 1);
    assert_int_equal(attn__json_next(&json), ATTN__JSON_STRING);
    assert_int_equal(attn__json_decode(&json, out, sizeof out), sizeof want - 1);
    assert_memory_equal(out, want, sizeof want - 1);
    memset(out, 'x', sizeof out);
    assert_int_equal(attn__json_decode(&json, out, 4), sizeof want - 1);
    assert_memory_equal(out, "a\"\\/xx", 6);
}

/* ---- pb ---------------------------------------------------------------------------------- */

static void test_pb_values(void **state)
{
    float rows[] = {0, 1, 2, 3, 4, 5};
    int8_t bytes[] = {-1, -128, 127};
    uint16_t half[] = {0x3F80, 0xC000};
    uint8_t flags[] = {1, 0};
    int64_t wide[] = {INT64_MIN, 5};
    uint64_t most = UINT64_MAX;
    double d = 0.5;
    (void)state;
    expect_tensor("good_raw.pb", 0, ATTN_TENSOR(rows, F32, 2, 3));
    expect_tensor("good_floats.pb", 0, ATTN_TENSOR(rows, F32, 2, 3));
    expect_tensor("good_int8.pb", 0, ATTN_TENSOR(bytes, I8, 3));
    expect_tensor("good_bf16.pb", 0, ATTN_TENSOR(half, BF16, 2));
    expect_tensor("good_bool.pb", 0, ATTN_TENSOR(flags, BOOL, 2));
    expect_tensor("good_int64.pb", 0, ATTN_TENSOR(wide, I64, 2));
    expect_tensor("good_uint64.pb", 0, ATTN_TENSOR(&most, U64, 1));
    expect_tensor("good_double.pb", 0, attn_tensor_make(&d, ATTN_DTYPE_F64, 0, NULL));
    expect_tensor("good_zero.pb", 0, ATTN_TENSOR(NULL, F32, 0, 4));
}

/* ---- errors ------------------------------------------------------------------------------ */

static void test_errors_name_the_tensor(void **state)
{
    static const struct {
        const char *file, *name, *where;
    } wants[] = {{"st_dim_float.safetensors", "a", "safetensors header"},
                 {"st_bool_2.safetensors", "a", "archive"},
                 {"st_offset_hole.safetensors", "b", "safetensors header"},
                 {"zip_sum.npz", "a", "zip member"},
                 {"zip_pickle.npz", "a", "npy header"},
                 {"zip_encrypted.npz", "a.npy", "zip member"},
                 {"deflate_distance.npz", "a", "deflate"}};
    char path[512];
    (void)state;
    for (size_t i = 0; i < sizeof wants / sizeof *wants; i++) {
        attn_error e = {0};
        attn_archive *a = NULL;
        assert_int_not_equal(
            attn_archive_load(&a, NULL, io_hostile(path, wants[i].file), 0, &e), 0);
        assert_string_equal(e.name, wants[i].name);
        assert_string_equal(e.where, wants[i].where);
    }
}

static void test_bf16_npy_says_what_to_do(void **state)
{
    char path[512];
    attn_error e = {0};
    attn_archive *a = NULL;
    (void)state;
    assert_int_equal(attn_archive_load(&a, NULL, io_hostile(path, "bf16.npy"), 0, &e),
                     ATTN_E_DTYPE);
    assert_non_null(strstr(e.what, "safetensors"));
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, io_setup, io_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_npy_values),
        CASE(test_npy_fortran_is_a_view),
        CASE(test_npy_bytes),
        CASE(test_npy_header_room),
        CASE(test_safetensors_values),
        CASE(test_safetensors_bytes),
        CASE(test_json),
        CASE(test_json_decode),
        CASE(test_pb_values),
        CASE(test_errors_name_the_tensor),
        CASE(test_bf16_npy_says_what_to_do),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
