/* SPDX-License-Identifier: MIT
 * The node of an ONNX operator test: a small model of our own, and every operator test
 * directory of ../shared when it is there. */
#define _POSIX_C_SOURCE 200809L
#include "test_io.h"

static attn_onnx_node *load_good(void)
{
    char path[512];
    attn_onnx_node *node = NULL;
    assert_int_equal(attn_onnx_load(&node, NULL, io_hostile(path, "good_model.onnx"), NULL), 0);
    return node;
}

static void test_names(void **state)
{
    attn_onnx_node *node = load_good();
    (void)state;
    assert_string_equal(attn_onnx_op(node), "Attention");
    assert_int_equal(attn_onnx_opset(node), 23);
    assert_string_equal(attn_onnx_input(node, 0), "Q");
    assert_string_equal(attn_onnx_input(node, 1), "");
    assert_string_equal(attn_onnx_input(node, 2), "V");
    assert_null(attn_onnx_input(node, 3));
    assert_null(attn_onnx_input(node, -1));
    assert_string_equal(attn_onnx_output(node, 0), "Y");
    assert_null(attn_onnx_output(node, 1));
    attn_onnx_destroy(node);
}

static void test_attributes(void **state)
{
    attn_onnx_node *node = load_good();
    (void)state;
    assert_int_equal(attn_onnx_int(node, "causal", 9), -2);
    assert_true(attn_onnx_float(node, "scale", 9) == 0.5);
    /* absent, or of another kind: the fallback */
    assert_int_equal(attn_onnx_int(node, "none", 9), 9);
    assert_int_equal(attn_onnx_int(node, "scale", 9), 9);
    assert_int_equal(attn_onnx_int(node, "mode", 9), 9);
    assert_int_equal(attn_onnx_int(node, "bare", 9), 9);
    assert_true(attn_onnx_float(node, "causal", 9) == 9);
    assert_string_equal(attn_onnx_text(node, "mode", "none"), "text");
    assert_string_equal(attn_onnx_text(node, "causal", "none"), "none");
    assert_string_equal(attn_onnx_text(NULL, "mode", "none"), "none");
    /* but known to be there */
    assert_true(attn_onnx_has(node, "mode"));
    assert_true(attn_onnx_has(node, "bare"));
    assert_false(attn_onnx_has(node, "none"));
    attn_onnx_destroy(node);
}

static void test_nothing(void **state)
{
    attn_onnx_node *node = NULL;
    attn_error e = {0};
    (void)state;
    assert_int_equal(attn_onnx_parse(&node, NULL, NULL, 1, &e), ATTN_E_NULL);
    assert_int_equal(attn_onnx_parse(NULL, NULL, "", 0, &e), ATTN_E_NULL);
    assert_int_equal(attn_onnx_parse(&node, NULL, NULL, 0, &e), ATTN_E_FORMAT);
    assert_int_equal(attn_onnx_load(&node, NULL, NULL, &e), ATTN_E_NULL);
    assert_int_equal(attn_onnx_load(&node, NULL, "/no/such/file", &e), ATTN_E_IO);
    assert_null(node);
    assert_string_equal(attn_onnx_op(NULL), "");
    assert_null(attn_onnx_input(NULL, 0));
    assert_false(attn_onnx_has(NULL, "x"));
}

/* ---- the operator tests of the ONNX project ---------------------------------------------- */

static void conformance_path(char path[1024], const char *name, const char *file)
{
    const char *root = getenv("ATTN_SOURCE");
    snprintf(path, 1024, "%s/../shared/conformance/onnx/%s/%s", root ? root : ".", name, file);
}

/* The tensor in test_data_set_0/<kind>_<i>.pb is called as the node calls its input or output.
 */
static void check_tensor(const char *name, const char *kind, int i, const char *want)
{
    char path[1024], file[64];
    attn_error e = {0};
    attn_archive *a = NULL;
    snprintf(file, sizeof file, "test_data_set_0/%s_%d.pb", kind, i);
    conformance_path(path, name, file);
    if (attn_archive_load(&a, NULL, path, ATTN_FORMAT_AUTO, &e))
        fail_msg("%s %s: %s: %s", name, file, e.where, e.what);
    assert_int_equal(attn_archive_count(a), 1);
    assert_string_equal(attn_archive_name(a, 0), want);
    io_touch(a);
    attn_archive_destroy(a);
}

static void check_model(const char *name)
{
    char path[1024];
    attn_error e = {0};
    attn_onnx_node *node = NULL;
    const char *want;
    int n_files = 0;
    conformance_path(path, name, "model.onnx");
    if (attn_onnx_load(&node, NULL, path, &e)) fail_msg("%s: %s: %s", name, e.where, e.what);
    assert_true(attn_onnx_op(node)[0] && attn_onnx_opset(node) > 0);
    for (int i = 0; (want = attn_onnx_input(node, i)); i++)
        if (want[0]) check_tensor(name, "input", n_files++, want);
    n_files = 0;
    for (int i = 0; (want = attn_onnx_output(node, i)); i++)
        if (want[0]) check_tensor(name, "output", n_files++, want);
    attn_onnx_destroy(node);
}

static void test_operator_directories(void **state)
{
    char path[1024];
    int n = 0;
    (void)state;
    conformance_path(path, "", "");
    DIR *folder = opendir(path);
    if (!folder) {
        print_message("skipped: no ONNX operator tests in %s\n", path);
        skip();
    }
    for (struct dirent *entry; folder && (entry = readdir(folder));) {
        if (strncmp(entry->d_name, "test_", 5) != 0) continue;
        check_model(entry->d_name);
        n++;
    }
    if (folder) closedir(folder);
    assert_true(n > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_attributes),
        cmocka_unit_test(test_nothing),
        cmocka_unit_test(test_operator_directories),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
