/* SPDX-License-Identifier: MIT
 * Good files made bad: cut at every byte, every bit flipped, a byte more at the end. A cut or
 * longer file is an error, whatever the place. A flipped bit may go unnoticed where it only
 * changes a number; then everything the archive gives must be readable. Run with sanitizers. */
#define _POSIX_C_SOURCE 200809L
#include "test_io.h"

typedef struct damage_file {
    const char *name;
    attn_format format; /* AUTO: a model */
    uint8_t *bytes;
    size_t n;
} damage_file;

static attn_tensor sample(int i)
{
    static _Alignas(64) uint8_t data[256];
    for (size_t k = 0; k < sizeof data; k++) data[k] = (uint8_t)(k & 1);
    static const attn_dtype dtypes[] = {ATTN_DTYPE_F32, ATTN_DTYPE_BOOL, ATTN_DTYPE_I64};
    static const int64_t shape[] = {3, 2, 2};
    return attn_tensor_make(data, dtypes[i], i, shape);
}

static void make(void **state, const char *name, attn_format format, damage_file *f)
{
    char path[512];
    static const char *const names[] = {"a", "be", "c \xc3\xa4"};
    const attn_tensor tensors[] = {sample(0), sample(1), sample(2)};
    bool many = format == ATTN_FORMAT_NPZ || format == ATTN_FORMAT_SAFETENSORS;
    assert_int_equal(attn_archive_save(NULL, io_path(state, path, name), many ? 3 : 1, names,
                                       many ? tensors : &tensors[2], NULL, NULL),
                     ATTN_OK);
    *f = (damage_file){.name = name, .format = format};
    f->bytes = io_slurp(path, &f->n);
}

static attn_status read_model(const uint8_t *bytes, size_t n, attn_error *e)
{
    attn_onnx_node *node = NULL;
    attn_status status = attn_onnx_parse(&node, NULL, bytes, n, e);
    size_t length = 0;
    for (int i = 0; attn_onnx_input(node, i); i++) length += strlen(attn_onnx_input(node, i));
    for (int i = 0; attn_onnx_output(node, i); i++) length += strlen(attn_onnx_output(node, i));
    length += strlen(attn_onnx_op(node));
    attn_onnx_int(node, "i", (int64_t)length);
    attn_onnx_destroy(node);
    return status;
}

/* Reads n bytes from memory of exactly that size. */
static attn_status read_exact(const damage_file *f, const uint8_t *bytes, size_t n)
{
    attn_error e = {0};
    attn_archive *a = NULL;
    uint8_t *exact = malloc(n ? n : 1);
    assert_non_null(exact);
    memcpy(exact, bytes, n);
    attn_status status = f->format == ATTN_FORMAT_AUTO
                             ? read_model(exact, n, &e)
                             : attn_archive_parse(&a, NULL, exact, n, f->format, &e);
    free(exact);
    io_touch(a);
    attn_archive_destroy(a);
    assert_int_equal(e.status, status);
    assert_true(status == ATTN_OK || (e.what && e.what[0]));
    return status;
}

static void check_cuts(const damage_file *f)
{
    assert_int_equal(read_exact(f, f->bytes, f->n), ATTN_OK);
    for (size_t n = 0; n < f->n; n++)
        if (read_exact(f, f->bytes, n) == ATTN_OK) fail_msg("%s cut to %zu", f->name, n);
}

static void check_longer(const damage_file *f)
{
    uint8_t *longer = malloc(f->n + 1);
    assert_non_null(longer);
    memcpy(longer, f->bytes, f->n);
    for (int c = 0; c < 256; c++) {
        longer[f->n] = (uint8_t)c;
        if (read_exact(f, longer, f->n + 1) == ATTN_OK) fail_msg("%s with byte %d", f->name, c);
    }
    free(longer);
}

static void check_flips(const damage_file *f)
{
    size_t refused = 0;
    for (size_t bit = 0; bit < 8 * f->n; bit++) {
        f->bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        refused += read_exact(f, f->bytes, f->n) != ATTN_OK;
        f->bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    assert_true(refused > 0);
    assert_int_equal(read_exact(f, f->bytes, f->n), ATTN_OK);
}

static void check(damage_file *f)
{
    check_cuts(f);
    check_longer(f);
    check_flips(f);
    free(f->bytes);
}

static void check_format(void **state, const char *name, attn_format format)
{
    damage_file f;
    make(state, name, format, &f);
    check(&f);
}

static void test_npy(void **state)
{
    check_format(state, "a.npy", ATTN_FORMAT_NPY);
}
static void test_npz(void **state)
{
    check_format(state, "a.npz", ATTN_FORMAT_NPZ);
}
static void test_pb(void **state)
{
    check_format(state, "a.pb", ATTN_FORMAT_PB);
}

static void test_safetensors(void **state)
{
    check_format(state, "a.safetensors", ATTN_FORMAT_SAFETENSORS);
}

static void test_model(void **state)
{
    char path[512];
    damage_file f = {.name = "good_model.onnx"};
    (void)state;
    f.bytes = io_slurp(io_hostile(path, f.name), &f.n);
    check(&f);
}

/* In npz everything but times, attributes and versions is said twice or summed. */
static void test_npz_data_is_summed(void **state)
{
    damage_file f;
    make(state, "a.npz", ATTN_FORMAT_NPZ, &f);
    for (size_t i = 40; i < 60; i++) {
        f.bytes[i] ^= 0x10;
        assert_int_not_equal(read_exact(&f, f.bytes, f.n), ATTN_OK);
        f.bytes[i] ^= 0x10;
    }
    free(f.bytes);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, io_setup, io_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_npy), CASE(test_npz),   CASE(test_safetensors),
        CASE(test_pb),  CASE(test_model), CASE(test_npz_data_is_summed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
