/* SPDX-License-Identifier: MIT
 * The smallest program of a user: asks for the version, attends once, compares with the result
 * worked out by hand. The two keys score the same, so each value weighs one half. Built by
 * every project beside this file. */
#include <attn.h>
#include <stdio.h>
#include <string.h>

int main(void)
{
    float q[] = {1, 1}, k[] = {2, 0, 0, 2}, v[] = {1, 2, 3, 4}, out[] = {0, 0};
    attn_error error;
    attn_status status = attn_forward(NULL, NULL,
                                      &ATTN_ARGS(.q = ATTN_TENSOR(q, F32, 1, 1, 1, 2),
                                                 .k = ATTN_TENSOR(k, F32, 1, 1, 2, 2),
                                                 .v = ATTN_TENSOR(v, F32, 1, 1, 2, 2),
                                                 .out = ATTN_TENSOR(out, F32, 1, 1, 1, 2)),
                                      &error);
    if (status != ATTN_OK) {
        char text[200];
        attn_error_text(&error, text, sizeof text);
        fprintf(stderr, "attn_forward: %s\n", text);
        return 1;
    }
    printf("attn %s: %g %g\n", attn_version(), (double)out[0], (double)out[1]);
    return strcmp(attn_version(), ATTN_VERSION) != 0 || out[0] != 2 || out[1] != 3;
}
