/* SPDX-License-Identifier: MIT
 * Nodes: what the backward must know of an operation. */
#include "tape/graph.h"

#include <string.h>

static size_t node_bytes(int n_in, int n_out)
{
    return sizeof(attn__node) + (size_t)(n_in + n_out) * sizeof(attn__operand);
}

attn__node *attn__node_new(attn_tape *t, int n_in, int n_out)
{
    void *nodes = t->nodes;
    const int64_t least = attn__max(t->n_nodes + 1, 16);
    const attn_status s = attn__tape_grow(t, &nodes, &t->nodes_room, least, sizeof *t->nodes);
    t->nodes = nodes;
    attn__node *node = s == ATTN_OK ? attn__tape_new(t, node_bytes(n_in, n_out)) : NULL;
    if (!node) return NULL;
    memset(node, 0, node_bytes(n_in, n_out));
    node->n_in = n_in;
    node->n_out = n_out;
    for (int i = 0; i < n_in + n_out; i++) node->operand[i].id = -1;
    return node;
}

/* Its results learn where they come from. */
void attn__node_add(attn_tape *t, attn__node *node)
{
    for (int i = node->n_in; i < node->n_in + node->n_out; i++)
        if (node->operand[i].id >= 0) t->vars[node->operand[i].id].node = t->n_nodes;
    t->nodes[t->n_nodes++] = node;
}

void attn__node_free(attn_tape *t, attn__node *node)
{
    if (!node) return;
    for (int i = 0; i < node->n_in + node->n_out; i++)
        attn__block_release(t, &node->operand[i].memory);
    attn__block_release(t, &node->saved);
    attn__segment_free(t, node->segment);
    attn__tape_delete(t, node, node_bytes(node->n_in, node->n_out));
}
