/* SPDX-License-Identifier: MIT
 * Contexts are made once and shared by all cases of a program, as a program that uses the
 * library would do. */
#include "support/support.h"

#include <stdlib.h>

void test_contexts_init(test_contexts *contexts)
{
    *contexts = (test_contexts){0};
    for (int i = 0; attn_isa_name(i); i++)
        if (attn_isa_usable(NULL, i)) contexts->usable[contexts->n_usable++] = i;
}

attn_ctx *test_contexts_get(test_contexts *contexts, int isa, int threads)
{
    attn_ctx **ctx = &contexts->ctx[isa][threads];
    attn_error error = {0};
    attn_config config = ATTN_CONFIG(.threads = threads, .isa_mask = attn_isa_bit(isa));
    if (!*ctx && attn_ctx_create(ctx, &config, &error) != ATTN_OK) {
        fprintf(stderr, "no context for table %d: %s\n", isa, attn_status_name(error.status));
        exit(1);
    }
    return *ctx;
}

void test_contexts_free(test_contexts *contexts)
{
    for (int isa = 0; isa < TEST_MAX_ISAS; isa++)
        for (int t = 0; t <= TEST_MAX_THREADS; t++) attn_ctx_destroy(contexts->ctx[isa][t]);
    *contexts = (test_contexts){0};
}
