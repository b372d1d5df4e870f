/* SPDX-License-Identifier: MIT
 * Bytes as an ONNX TensorProto and as a model of one node. */
#include "fuzz_io.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    attn_error e = {0};
    attn_onnx_node *node = NULL;
    const char *name;
    attn_status status = attn_onnx_parse(&node, NULL, bytes, n, &e);
    fuzz_require(e.status == status && (status == ATTN_OK) == (node != NULL), "one answer");
    for (int i = 0; (name = attn_onnx_input(node, i)); i++) (void)attn_onnx_has(node, name);
    for (int i = 0; (name = attn_onnx_output(node, i)); i++) {
        fuzz_require(attn_onnx_int(node, name, 1) == 1 || attn_onnx_has(node, name),
                     "fallback");
        fuzz_require(attn_onnx_float(node, name, 1) == 1 || attn_onnx_has(node, name),
                     "fallback");
    }
    fuzz_require(!node || (attn_onnx_op(node)[0] && attn_onnx_opset(node) > 0), "a whole node");
    attn_onnx_destroy(node);
    return fuzz_archive(bytes, n, ATTN_FORMAT_PB);
}
