/* SPDX-License-Identifier: MIT
 * Reads an ONNX ModelProto whose graph is one node, as operator tests have it: which operator,
 * of which opset, what its inputs and outputs are called and its attributes. Weights inside the
 * model, more nodes and functions of the model's own are refused. Three levels are opened
 * (model, graph, node), never more. */
#include "io/io.h"

#include <string.h>

static const char where[] = "onnx model";

enum { ONNX_MAX_NAMES = 256, ONNX_MAX_ATTRIBUTES = 256, ONNX_MAX_OPSETS = 64 };

typedef struct onnx_attribute {
    const char *name;
    int64_t type; /* attn_onnx_kind, or another number of onnx */
    int64_t i;
    double f;
    const char *text; /* NULL: none, or bytes that are no text */
} onnx_attribute;

typedef struct onnx_names {
    const char **name;
    int n;
} onnx_names;

struct attn_onnx_node {
    attn__arena arena;
    const char *op, *domain;
    int64_t opset;
    onnx_names inputs, outputs;
    onnx_attribute *attributes;
    int n_attributes;
};

typedef struct onnx_reader {
    attn_onnx_node *node;
    attn_error *error;
    int n_nodes, n_graphs;
    attn__span graph, body; /* the bytes of the graph and of the node */
} onnx_reader;

typedef attn_status (*onnx_take)(onnx_reader *r, const attn__field *field, void *user);

static attn_status onnx_fail(const onnx_reader *r, attn_status status, const char *what)
{
    return attn__fail(r->error, status, where, what);
}

/* ---- walking ----------------------------------------------------------------------------- */

typedef struct onnx_rule {
    uint32_t number;
    onnx_take take;
} onnx_rule;

/* Calls the rule of each field of a message; fields without a rule are passed over. Rules end
 * with a zero. */
static attn_status onnx_walk(onnx_reader *r, attn__span in, const onnx_rule *rules, void *user)
{
    for (;;) {
        attn__field field;
        ATTN_TRY(attn__pb_next(&in, &field, where, r->error));
        if (field.number == 0) return ATTN_OK;
        for (const onnx_rule *rule = rules; rule->number; rule++)
            if (rule->number == field.number) ATTN_TRY(rule->take(r, &field, user));
    }
}

static attn_status onnx_message(onnx_reader *r, const attn__field *field, attn__span *out)
{
    ATTN_TRY(attn__pb_expect(field, ATTN__WIRE_BYTES, where, r->error));
    *out = field->bytes;
    return ATTN_OK;
}

static attn_status onnx_take_name(onnx_reader *r, const attn__field *field, void *user)
{
    return attn__pb_name(&r->node->arena, field, user, where, r->error);
}

static attn_status onnx_take_int(onnx_reader *r, const attn__field *field, void *user)
{
    ATTN_TRY(attn__pb_expect(field, ATTN__WIRE_VARINT, where, r->error));
    memcpy(user, &field->value, sizeof field->value);
    return ATTN_OK;
}

/* ---- attributes -------------------------------------------------------------------------- */

static attn_status onnx_attribute_name(onnx_reader *r, const attn__field *field, void *user)
{
    return onnx_take_name(r, field, &((onnx_attribute *)user)->name);
}

static attn_status onnx_attribute_float(onnx_reader *r, const attn__field *field, void *user)
{
    const uint32_t bits = (uint32_t)field->value;
    float f;
    ATTN_TRY(attn__pb_expect(field, ATTN__WIRE_32, where, r->error));
    memcpy(&f, &bits, sizeof f);
    ((onnx_attribute *)user)->f = (double)f;
    return ATTN_OK;
}

static attn_status onnx_attribute_int(onnx_reader *r, const attn__field *field, void *user)
{
    return onnx_take_int(r, field, &((onnx_attribute *)user)->i);
}

static attn_status onnx_attribute_text(onnx_reader *r, const attn__field *field, void *user)
{
    const char **text = &((onnx_attribute *)user)->text;
    ATTN_TRY(attn__pb_expect(field, ATTN__WIRE_BYTES, where, r->error));
    const size_t n = (size_t)(field->bytes.end - field->bytes.p);
    if (n > 0 && memchr(field->bytes.p, 0, n)) return ATTN_OK; /* is no text */
    *text = attn__arena_text(&r->node->arena, field->bytes.p, n);
    return *text ? ATTN_OK : onnx_fail(r, ATTN_E_MEMORY, "an allocation failed");
}

static attn_status onnx_attribute_type(onnx_reader *r, const attn__field *field, void *user)
{
    return onnx_take_int(r, field, &((onnx_attribute *)user)->type);
}

static attn_status onnx_take_attribute(onnx_reader *r, const attn__field *field, void *user)
{
    static const onnx_rule rules[] = {{1, onnx_attribute_name},  {2, onnx_attribute_float},
                                      {3, onnx_attribute_int},   {4, onnx_attribute_text},
                                      {20, onnx_attribute_type}, {0, NULL}};
    attn__span body;
    attn_onnx_node *node = r->node;
    onnx_attribute *a = &node->attributes[node->n_attributes];
    (void)user;
    ATTN_TRY(onnx_message(r, field, &body));
    *a = (onnx_attribute){.name = ""};
    ATTN_TRY(onnx_walk(r, body, rules, a));
    if (!a->name[0]) return onnx_fail(r, ATTN_E_NAME, "an attribute has no name");
    if (attn_onnx_has(node, a->name))
        return attn__fail_name(r->error, ATTN_E_DUP, where, "an attribute stands twice",
                               a->name);
    node->n_attributes++;
    return ATTN_OK;
}

/* ---- the node ---------------------------------------------------------------------------- */

static attn_status onnx_add_name(onnx_reader *r, const attn__field *field, onnx_names *names)
{
    return onnx_take_name(r, field, &names->name[names->n++]);
}

static attn_status onnx_take_input(onnx_reader *r, const attn__field *field, void *user)
{
    (void)user;
    return onnx_add_name(r, field, &r->node->inputs);
}

static attn_status onnx_take_output(onnx_reader *r, const attn__field *field, void *user)
{
    (void)user;
    return onnx_add_name(r, field, &r->node->outputs);
}

static attn_status onnx_take_op(onnx_reader *r, const attn__field *field, void *user)
{
    (void)user;
    return onnx_take_name(r, field, &r->node->op);
}

static attn_status onnx_take_domain(onnx_reader *r, const attn__field *field, void *user)
{
    (void)user;
    return onnx_take_name(r, field, &r->node->domain);
}

static attn_status onnx_count(onnx_reader *r, const attn__field *field, void *user)
{
    int *counts = user; /* by field number */
    (void)r;
    counts[field->number]++;
    return ATTN_OK;
}

/* Room for what the node holds, known by counting first. */
static attn_status onnx_make_room(onnx_reader *r)
{
    static const onnx_rule rules[] = {{1, onnx_count}, {2, onnx_count}, {4, onnx_count},
                                      {5, onnx_count}, {7, onnx_count}, {0, NULL}};
    attn_onnx_node *node = r->node;
    int counts[8] = {0};
    ATTN_TRY(onnx_walk(r, r->body, rules, counts));
    if (counts[1] > ONNX_MAX_NAMES || counts[2] > ONNX_MAX_NAMES ||
        counts[5] > ONNX_MAX_ATTRIBUTES)
        return onnx_fail(r, ATTN_E_LIMIT, "too many inputs, outputs or attributes");
    if (counts[4] > 1 || counts[7] > 1)
        return onnx_fail(r, ATTN_E_DUP, "the operator is named twice");
    node->inputs.name = attn__arena_new(&node->arena, (size_t)counts[1] * sizeof(char *));
    node->outputs.name = attn__arena_new(&node->arena, (size_t)counts[2] * sizeof(char *));
    node->attributes =
        attn__arena_new(&node->arena, (size_t)counts[5] * sizeof *node->attributes);
    if (!node->inputs.name || !node->outputs.name || !node->attributes)
        return onnx_fail(r, ATTN_E_MEMORY, "node");
    return ATTN_OK;
}

static attn_status onnx_read_node(onnx_reader *r)
{
    static const onnx_rule rules[] = {{1, onnx_take_input},  {2, onnx_take_output},
                                      {4, onnx_take_op},     {5, onnx_take_attribute},
                                      {7, onnx_take_domain}, {0, NULL}};
    ATTN_TRY(onnx_make_room(r));
    ATTN_TRY(onnx_walk(r, r->body, rules, NULL));
    return r->node->op[0] ? ATTN_OK : onnx_fail(r, ATTN_E_FORMAT, "the node names no operator");
}

/* ---- graph and model --------------------------------------------------------------------- */

static attn_status onnx_take_node(onnx_reader *r, const attn__field *field, void *user)
{
    (void)user;
    r->n_nodes++;
    return onnx_message(r, field, &r->body);
}

static attn_status onnx_take_graph(onnx_reader *r, const attn__field *field, void *user)
{
    (void)user;
    r->n_graphs++;
    return onnx_message(r, field, &r->graph);
}

static attn_status onnx_refuse(onnx_reader *r, const attn__field *field, void *user)
{
    (void)field;
    (void)user;
    return onnx_fail(r, ATTN_E_UNSUPPORTED, "weights or functions inside a model are refused");
}

static const char *onnx_plain_domain(const char *domain)
{
    return strcmp(domain, "ai.onnx") == 0 ? "" : domain;
}

typedef struct onnx_opset {
    const char *domain;
    int64_t version;
    int n, seen; /* imports of all domains and of the node's */
} onnx_opset;

static attn_status onnx_opset_domain(onnx_reader *r, const attn__field *field, void *user)
{
    onnx_opset *opset = user;
    return onnx_take_name(r, field, &opset->domain);
}

static attn_status onnx_opset_version(onnx_reader *r, const attn__field *field, void *user)
{
    onnx_opset *opset = user;
    return onnx_take_int(r, field, &opset->version);
}

static attn_status onnx_take_opset(onnx_reader *r, const attn__field *field, void *user)
{
    static const onnx_rule rules[] = {
        {1, onnx_opset_domain}, {2, onnx_opset_version}, {0, NULL}};
    onnx_opset *opset = user;
    attn__span body;
    if (opset->n++ == ONNX_MAX_OPSETS) return onnx_fail(r, ATTN_E_LIMIT, "too many opsets");
    ATTN_TRY(onnx_message(r, field, &body));
    opset->domain = "";
    opset->version = 0;
    ATTN_TRY(onnx_walk(r, body, rules, opset));
    if (strcmp(onnx_plain_domain(opset->domain), onnx_plain_domain(r->node->domain)) != 0)
        return ATTN_OK;
    if (opset->seen++) return onnx_fail(r, ATTN_E_DUP, "an opset stands twice");
    r->node->opset = opset->version;
    return opset->version > 0 ? ATTN_OK
                              : onnx_fail(r, ATTN_E_FORMAT, "an opset has no version");
}

static attn_status onnx_read(onnx_reader *r, attn__span model)
{
    static const onnx_rule outer[] = {{7, onnx_take_graph}, {25, onnx_refuse}, {0, NULL}};
    static const onnx_rule graph[] = {
        {1, onnx_take_node}, {5, onnx_refuse}, {15, onnx_refuse}, {0, NULL}};
    static const onnx_rule opsets[] = {{8, onnx_take_opset}, {0, NULL}};
    onnx_opset opset = {0};
    ATTN_TRY(onnx_walk(r, model, outer, NULL));
    if (r->n_graphs != 1)
        return attn__fail_count(r->error, ATTN_E_FORMAT, where, "has not one graph", 1,
                                r->n_graphs);
    ATTN_TRY(onnx_walk(r, r->graph, graph, NULL));
    if (r->n_nodes != 1)
        return attn__fail_count(r->error, ATTN_E_UNSUPPORTED, where,
                                "the graph has not exactly one node", 1, r->n_nodes);
    ATTN_TRY(onnx_read_node(r));
    ATTN_TRY(onnx_walk(r, model, opsets, &opset));
    if (!opset.seen) return onnx_fail(r, ATTN_E_FORMAT, "no opset of the operator's domain");
    return ATTN_OK;
}

/* ---- public ------------------------------------------------------------------------------ */

attn_status attn_onnx_parse(attn_onnx_node **out, attn_ctx *ctx, const void *bytes, size_t n,
                            attn_error *error)
{
    if (!out || (!bytes && n))
        return attn__fail(error, ATTN_E_NULL, out ? "bytes" : "node", "is NULL");
    *out = NULL;
    ATTN_TRY(attn__ctx_check(ctx, error));
    attn_onnx_node *node = attn__new(ctx, sizeof *node);
    if (!node) return attn__fail(error, ATTN_E_MEMORY, where, "node");
    *node = (attn_onnx_node){.arena = {.ctx = ctx}, .op = "", .domain = ""};
    onnx_reader r = {.node = node, .error = error};
    const uint8_t *p = n ? bytes : (const uint8_t *)"";
    attn_status status = onnx_read(&r, (attn__span){p, p + n});
    if (status == ATTN_OK)
        *out = node;
    else
        attn_onnx_destroy(node);
    return status;
}

attn_status attn_onnx_load(attn_onnx_node **out, attn_ctx *ctx, const char *path,
                           attn_error *error)
{
    uint8_t *bytes;
    size_t n, capacity;
    if (!out || !path) return attn__fail(error, ATTN_E_NULL, out ? "path" : "node", "is NULL");
    *out = NULL;
    ATTN_TRY(attn__ctx_check(ctx, error));
    ATTN_TRY(attn__file_read(ctx, path, &bytes, &n, &capacity, error));
    attn_status status = attn_onnx_parse(out, ctx, bytes, n, error);
    attn__delete(ctx, bytes, capacity);
    return status;
}

void attn_onnx_destroy(attn_onnx_node *node)
{
    if (!node) return;
    const attn_ctx *ctx = node->arena.ctx;
    attn__arena_free(&node->arena);
    attn__delete(ctx, node, sizeof *node);
}

const char *attn_onnx_op(const attn_onnx_node *node)
{
    return node ? node->op : "";
}

int64_t attn_onnx_opset(const attn_onnx_node *node)
{
    return node ? node->opset : 0;
}

static const char *onnx_name_at(const onnx_names *names, int i)
{
    return i >= 0 && i < names->n ? names->name[i] : NULL;
}

const char *attn_onnx_input(const attn_onnx_node *node, int i)
{
    return node ? onnx_name_at(&node->inputs, i) : NULL;
}

const char *attn_onnx_output(const attn_onnx_node *node, int i)
{
    return node ? onnx_name_at(&node->outputs, i) : NULL;
}

static const onnx_attribute *onnx_find(const attn_onnx_node *node, const char *name)
{
    for (int i = 0; node && name && i < node->n_attributes; i++)
        if (strcmp(node->attributes[i].name, name) == 0) return &node->attributes[i];
    return NULL;
}

int64_t attn_onnx_int(const attn_onnx_node *node, const char *name, int64_t fallback)
{
    const onnx_attribute *a = onnx_find(node, name);
    return a && a->type == ATTN_ONNX_INT ? a->i : fallback;
}

double attn_onnx_float(const attn_onnx_node *node, const char *name, double fallback)
{
    const onnx_attribute *a = onnx_find(node, name);
    return a && a->type == ATTN_ONNX_FLOAT ? a->f : fallback;
}

const char *attn_onnx_text(const attn_onnx_node *node, const char *name, const char *fallback)
{
    const onnx_attribute *a = onnx_find(node, name);
    return a && a->type == ATTN_ONNX_TEXT && a->text ? a->text : fallback;
}

bool attn_onnx_has(const attn_onnx_node *node, const char *name)
{
    return onnx_find(node, name) != NULL;
}
