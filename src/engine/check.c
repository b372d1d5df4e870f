/* SPDX-License-Identifier: MIT
 * The check: the only place that says no. It fills in the defaults of the spec, has the shapes
 * bound (check_shape.c), the contents looked at (check_data.c) and the outputs compared with
 * everything else (alias.c). What it lets through cannot fail any more. */
#include <float.h>
#include <math.h>

#include "engine/args.h"
#include "engine/norm.h"

attn_status attn__rules_check(const attn__rule *rules, size_t n, attn_error *error)
{
    for (size_t i = 0; i < n; i++)
        if (!rules[i].ok)
            return attn__fail(error, rules[i].status, rules[i].where, rules[i].what);
    return ATTN_OK;
}

#define CHECK_ALL(rules, error)                                                                \
    attn__rules_check(rules, sizeof(rules) / sizeof((rules)[0]), error)

static attn_status check_enums(const attn_spec *s, attn_error *error)
{
    const attn__rule rules[] = {
        {(unsigned)s->align <= ATTN_ALIGN_OFFSET, ATTN_E_ENUM, "align", "not an attn_align"},
        {(unsigned)s->head_map <= ATTN_HEADS_TILED, ATTN_E_ENUM, "head_map",
         "not an attn_head_map"},
        {(unsigned)s->rope.kind <= ATTN_ROPE_INTERLEAVED, ATTN_E_ENUM, "rope.kind",
         "not an attn_rope_kind"},
        {(unsigned)s->rel.kind <= ATTN_REL_OFFSET, ATTN_E_ENUM, "rel.kind",
         "not an attn_rel_kind"},
        {(unsigned)s->scores_stage <= ATTN_SCORES_MASKED, ATTN_E_ENUM, "scores_stage",
         "not an attn_scores_stage"},
        {(unsigned)s->score <= ATTN_SCORE_ADDITIVE, ATTN_E_ENUM, "score",
         "not an attn_score_kind"},
        {(unsigned)s->normaliser <= ATTN_NORM_TOP_K, ATTN_E_ENUM, "normaliser",
         "not an attn_norm_kind"},
        {(unsigned)s->precision <= ATTN_PRECISION_HALF, ATTN_E_ENUM, "precision",
         "not an attn_precision"},
    };
    return CHECK_ALL(rules, error);
}

static attn_status check_numbers(const attn_spec *s, attn_error *error)
{
    const int64_t far = ATTN__FAR;
    const attn_window *w = &s->window;
    const attn__rule rules[] = {
        {isfinite(s->scale), ATTN_E_PARAM, "scale", "must be finite"},
        {isfinite(s->softcap) && s->softcap >= 0, ATTN_E_PARAM, "softcap",
         "must be finite and not negative"},
        {s->dropout >= 0 && s->dropout < 1, ATTN_E_PARAM, "dropout", "must lie in [0, 1)"},
        {!w->on || (w->left >= -1 && w->left <= far), ATTN_E_PARAM, "window.left",
         "must be -1 (unbounded) or a distance up to 2^47"},
        {!w->on || (w->right >= -1 && w->right <= far), ATTN_E_PARAM, "window.right",
         "must be -1 (unbounded) or a distance up to 2^47"},
        {s->chunk >= 0 && s->chunk <= far, ATTN_E_PARAM, "chunk",
         "must not be negative nor beyond 2^47"},
        {s->prefix >= 0 && s->prefix <= far, ATTN_E_PARAM, "prefix",
         "must not be negative nor beyond 2^47"},
        {s->offset >= -far && s->offset <= far, ATTN_E_PARAM, "offset", "is too large"},
        {s->block_q >= 0 && s->block_k >= 0 && s->block_q <= far && s->block_k <= far,
         ATTN_E_PARAM, "block_q", "block sizes must not be negative nor huge"},
        {s->rel.max_distance >= 0 && s->rel.max_distance <= 1 << 24, ATTN_E_PARAM,
         "rel.max_distance", "must not be negative nor beyond 2^24"},
        {s->rope.base >= 0 && s->rope.base <= ATTN__ROPE_BASE_MAX, ATTN_E_PARAM, "rope.base",
         "must be positive and at most 2^1000"},
        {s->rope.dims >= 0 && s->rope.dims % 2 == 0, ATTN_E_PARAM, "rope.dims",
         "must be even and not negative"},
        {!s->classify || s->tile, ATTN_E_PARAM, "classify", "needs a tile callback"},
        {!s->tile_slope || s->tile, ATTN_E_PARAM, "tile_slope", "needs a tile callback"},
        {s->center_width >= 0 && s->center_width <= (double)far, ATTN_E_PARAM, "center_width",
         "must be 0 (all keys) or a distance up to 2^47"},
        {s->center_sigma == 0 || (s->center_sigma >= 0x1p-500 && s->center_sigma <= 0x1p500),
         ATTN_E_PARAM, "center_sigma", "must be 0 (none) or between 2^-500 and 2^500"},
    };
    return CHECK_ALL(rules, error);
}

static attn_status check_spec(attn__problem *p, const attn_spec *spec, attn_error *error)
{
    if (spec && spec->size != sizeof *spec)
        return attn__fail_count(error, ATTN_E_VERSION, "spec",
                                "size must be that of attn_spec: use ATTN_SPEC()",
                                (int64_t)sizeof *spec, (int64_t)spec->size);
    p->spec = spec ? *spec : (attn_spec){.size = sizeof *spec};
    ATTN_TRY(check_enums(&p->spec, error));
    return check_numbers(&p->spec, error);
}

/* Tensors that come in pairs, or belong to a field of the spec. */
static attn_status check_belongings(const attn__problem *p, attn_error *error)
{
    const attn_args *a = &p->at;
    const attn_spec *s = &p->spec;
    const bool rope = s->rope.kind != ATTN_ROPE_NONE;
    const attn__rule rules[] = {
        {attn__present(&a->q_seg) == attn__present(&a->k_seg), ATTN_E_PARAM, "q_seg",
         "q_seg and k_seg come together"},
        {attn__present(&a->rope_cos) == attn__present(&a->rope_sin), ATTN_E_PARAM, "rope_cos",
         "rope_cos and rope_sin come together"},
        {rope || (!attn__present(&a->rope_cos) && !attn__present(&a->q_pos) &&
                  !attn__present(&a->k_pos)),
         ATTN_E_PARAM, "rope.kind", "positions and angle tables need a rope kind"},
        {(s->rel.kind != ATTN_REL_NONE) == attn__present(&a->rel_table), ATTN_E_PARAM,
         "rel_table", "rel.kind and rel_table come together"},
        {rope || !s->keys_turned, ATTN_E_PARAM, "rope.kind", "keys_turned needs a rope kind"},
        {!s->keys_turned || !attn__present(&a->k_pos), ATTN_E_PARAM, "k_pos",
         "is for keys still to be turned"},
        {!attn__present(&a->block_mask) || (s->block_q > 0 && s->block_k > 0), ATTN_E_PARAM,
         "block_mask", "needs block_q and block_k"},
        {!attn__present(&a->offset) || s->align == ATTN_ALIGN_OFFSET, ATTN_E_PARAM, "offset",
         "needs ATTN_ALIGN_OFFSET"},
        {!(attn__present(&a->cu_q) && (attn__present(&a->q_start) || attn__present(&a->q_len))),
         ATTN_E_PARAM, "cu_q", "packed queries take no q_start or q_len"},
        {!(attn__present(&a->cu_k) && (attn__present(&a->k_start) || attn__present(&a->k_len))),
         ATTN_E_PARAM, "cu_k", "packed keys take no k_start or k_len"},
    };
    return CHECK_ALL(rules, error);
}

/* What belongs to one kind of score, and the centre of a query to its two fields. */
static attn_status check_score(const attn__problem *p, attn_error *error)
{
    const attn_args *a = &p->at;
    const attn_spec *s = &p->spec;
    const bool centred = s->center_width > 0 || s->center_sigma > 0;
    const attn__rule rules[] = {
        {s->score == ATTN_SCORE_DOT || !attn__present(&a->rel_k), ATTN_E_PARAM, "rel_k",
         "is a product with q and goes with ATTN_SCORE_DOT alone"},
        {s->score == ATTN_SCORE_ADDITIVE || !attn__present(&a->score_w), ATTN_E_PARAM,
         "score_w", "holds the weights of ATTN_SCORE_ADDITIVE and goes with it alone"},
        {centred == attn__present(&a->center), ATTN_E_PARAM, "center",
         "center and center_width or center_sigma come together"},
    };
    return CHECK_ALL(rules, error);
}

/* Each of the three calls for itself: what it needs, and that something is asked of it. */

static attn_status check_forward(const attn__problem *p, attn_error *error)
{
    const attn_args *a = &p->at;
    const bool asked = attn__present(&a->out) || attn__present(&a->lse) ||
                       attn__present(&a->weights) || attn__present(&a->scores);
    return asked ? ATTN_OK
                 : attn__fail(error, ATTN_E_NULL, "out", "at least one output is needed");
}

static bool check_asked(const attn__problem *p)
{
    for (int i = 0; i < ATTN__N_ARGS; i++)
        if (attn__arg_output(&attn__arg_list[i], p->call) &&
            attn__present(attn__arg_in(&p->at, &attn__arg_list[i])))
            return true;
    return false;
}

static attn_status check_backward(const attn__problem *p, attn_error *error)
{
    const attn_args *a = &p->at;
    const attn_dtype least = p->real == ATTN_DTYPE_F64 ? ATTN_DTYPE_F64 : ATTN_DTYPE_F32;
    const bool own = attn__norm_of(p)->op >= 0; /* weights that need neither */
    const attn__rule rules[] = {
        {attn__present(&a->d_out) || attn__present(&a->d_lse), ATTN_E_NULL, "d_out",
         "the gradient of out or of lse is needed"},
        {check_asked(p), ATTN_E_NULL, "d_q", "at least one gradient is to be asked for"},
        {attn__present(&a->lse) || own, ATTN_E_STATS, "lse",
         "is needed as attn_forward left it"},
        {attn__present(&a->out) || !attn__present(&a->d_out) || own, ATTN_E_STATS, "out",
         "is needed as attn_forward left it"},
        {own || attn_dtype_size(a->lse.dtype) >= attn_dtype_size(least), ATTN_E_STATS, "lse",
         least == ATTN_DTYPE_F64 ? "must be f64 in an f64 call: its rounding is in every weight"
                                 : "must be f32 or f64: its rounding is in every weight"},
        {!p->spec.tile || p->spec.tile_slope, ATTN_E_PARAM, "tile_slope",
         "a tile callback needs its slope (attn_tile_adds, if it only adds or masks)"},
    };
    return CHECK_ALL(rules, error);
}

static attn_status check_jvp(const attn__problem *p, attn_error *error)
{
    const attn_args *a = &p->at;
    const attn__rule rules[] = {
        {attn__present(&a->t_out) || attn__present(&a->t_lse), ATTN_E_NULL, "t_out",
         "the tangent of out or of lse is to be asked for"},
        {!p->spec.tile || p->spec.tile_slope, ATTN_E_PARAM, "tile_slope",
         "a tile callback needs its slope (attn_tile_adds, if it only adds or masks)"},
    };
    return CHECK_ALL(rules, error);
}

static attn_status check_call(const attn__problem *p, attn_error *error)
{
    static attn_status (*const checks[])(const attn__problem *, attn_error *) = {
        check_forward, check_backward, check_jvp};
    return checks[p->call](p, error);
}

static attn_status check_rope(attn__problem *p, attn_error *error)
{
    attn_rope_spec *rope = &p->spec.rope;
    if (rope->kind == ATTN_ROPE_NONE) return ATTN_OK;
    p->R = rope->dims ? rope->dims : p->D;
    p->turns_keys = p->R > 0 && !p->spec.keys_turned;
    if (p->R > p->D || p->R % 2)
        return attn__fail_count(error, ATTN_E_PARAM, "rope.dims",
                                "must be even and at most the key width", p->D, p->R);
    if (rope->base == 0) rope->base = 10000;
    const attn_tensor *tables[] = {&p->at.rope_cos, &p->at.rope_sin};
    for (int i = 0; i < 2; i++)
        if (attn__present(tables[i]) && tables[i]->shape[1] != p->R / 2)
            return attn__fail_count(error, ATTN_E_SHAPE, i ? "rope_sin" : "rope_cos",
                                    "one angle for each pair", p->R / 2, tables[i]->shape[1]);
    return ATTN_OK;
}

static attn_status check_rel(attn__problem *p, attn_error *error)
{
    attn_rel_spec *rel = &p->spec.rel;
    if (rel->kind == ATTN_REL_BUCKET) {
        if (rel->max_distance == 0) rel->max_distance = 128;
        int64_t sides = rel->causal_buckets ? 1 : 2, exact = p->rel_n / sides / 2;
        if (p->rel_n > 256 || exact < 1 || p->rel_n % (2 * sides))
            return attn__fail_count(error, ATTN_E_SHAPE, "rel_table",
                                    "buckets must be 2 or 4 times a whole number, at most 256",
                                    32, p->rel_n);
        if (rel->max_distance <= exact)
            return attn__fail(error, ATTN_E_PARAM, "rel.max_distance",
                              "must be beyond the exact buckets");
    } else if (rel->kind == ATTN_REL_GRID) {
        int64_t cells, y = 2 * rel->height - 1, x = 2 * rel->width - 1;
        if (rel->height < 1 || rel->width < 1 || rel->height > 1 << 24 || rel->width > 1 << 24)
            return attn__fail(error, ATTN_E_PARAM, "rel.height", "a grid needs both its sides");
        if (!attn__mul(y, x, &cells) || cells != p->rel_n)
            return attn__fail_count(error, ATTN_E_SHAPE, "rel_table",
                                    "a grid needs (2 height - 1)(2 width - 1) entries", y * x,
                                    p->rel_n);
    } else if (rel->kind == ATTN_REL_OFFSET && p->rel_n % 2 == 0) {
        return attn__fail_count(error, ATTN_E_SHAPE, "rel_table",
                                "2 R + 1 entries: an odd number", p->rel_n + 1, p->rel_n);
    }
    return ATTN_OK;
}

/* Finite parameters must stay finite in the arithmetic of the call. */
static attn_status check_range(const attn__problem *p, attn_error *error)
{
    const double most = p->real == ATTN_DTYPE_F32 ? (double)FLT_MAX : DBL_MAX;
    const attn__rule rules[] = {
        {fabs(p->spec.scale) <= most / 2, ATTN_E_PARAM, "scale", "is too large for f32"},
        {p->spec.softcap <= most / 2, ATTN_E_PARAM, "softcap", "is too large for f32"},
    };
    return CHECK_ALL(rules, error);
}

/* Products of sizes that the plan takes, which no tensor with an element has to reach. */
static attn_status check_sizes(const attn__problem *p, attn_error *error)
{
    int64_t x;
    const bool fits = attn__mul(p->N, p->H, &x) && attn__mul(x, p->T, &x) &&
                      attn__add(x, x, &x) && attn__add(p->N, p->T, &x) &&
                      attn__mul(x, p->H, &x) && attn__mul(p->shaw_n, attn__max(p->D, p->E), &x);
    return fits ? ATTN_OK
                : attn__fail(error, ATTN_E_OVERFLOW, "args", "sizes do not fit in 64 bits");
}

attn_status attn__problem_check(attn__problem *p, attn__call_kind call, const attn_spec *spec,
                                const attn_args *args, bool with_data, attn_error *error)
{
    *p = (attn__problem){.call = call, .with_data = with_data};
    ATTN_TRY(check_spec(p, spec, error));
    ATTN_TRY(attn__shapes_check(p, args, error));
    ATTN_TRY(check_belongings(p, error));
    ATTN_TRY(check_score(p, error));
    ATTN_TRY(attn__norm_check(p, error));
    ATTN_TRY(check_call(p, error));
    ATTN_TRY(check_rope(p, error));
    ATTN_TRY(check_rel(p, error));
    ATTN_TRY(check_sizes(p, error));
    const attn_spec *s = &p->spec;
    p->positional = s->causal || s->window.on || s->chunk || s->rel.kind != ATTN_REL_NONE ||
                    p->shaw_n || attn__present(&p->at.alibi) ||
                    (p->R && !(attn__present(&p->at.q_pos)));
    if (p->spec.scale == 0)
        p->spec.scale =
            s->score == ATTN_SCORE_ADDITIVE || p->D == 0 ? 1 : 1 / sqrt((double)p->D);
    ATTN_TRY(check_range(p, error));
    if (!with_data) return ATTN_OK;
    ATTN_TRY(attn__alias_check(p, error));
    return attn__data_check(p, error);
}
