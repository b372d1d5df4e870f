/* SPDX-License-Identifier: MIT
 * Bytes as a file of npz. */
#include "fuzz_io.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    return fuzz_archive(bytes, n, ATTN_FORMAT_NPZ);
}
