/* SPDX-License-Identifier: MIT
 * Decoding as a server does it, over a paged cache. A prompt joins in one piece and its answer
 * token by token; a fork becomes a second beam, which shares the pages of their common past;
 * guessed tokens are looked at together and rolled back; the cache goes through a file. Every
 * row that comes out has the bits of its row in one call over all tokens. */
#include <attn.h>
#include <stdio.h>
#include <string.h>

enum { BEAMS = 2, H = 4, G = 2, D = 16, PAGE = 16 };
enum { PROMPT = 100, FORK = 150, GUESS = 4, SAVED = 200, TOKENS = 260 };
static const char path[] = "decode_cache.safetensors";
static const attn_spec spec = {.size = sizeof spec,
                               .causal = true,
                               .align = ATTN_ALIGN_BOTTOM_RIGHT,
                               .rope = {.kind = ATTN_ROPE_HALF},
                               .keys_turned = true};
static float q[BEAMS * H * TOKENS * D], k[BEAMS * G * TOKENS * D], v[BEAMS * G * TOKENS * D];
static float whole[BEAMS * H * TOKENS * D], rows[BEAMS * H * PROMPT * D];

/* The second beam says what the first one says, until they part. */
static void fill(float *x, int heads, int seed)
{
    for (int i = 0; i < BEAMS * heads * TOKENS * D; i++) {
        const int beam = i / (heads * TOKENS * D), token = i / D % TOKENS;
        const int apart = token < FORK ? 0 : beam * 29;
        const int within = i % (heads * TOKENS * D);
        x[i] = (float)((within * 37 + seed * 11 + apart) % 101) / 50 - 1;
    }
}

/* Tokens from .. to of the first beams. */
static attn_tensor part(float *x, int heads, int beams, int64_t from, int64_t to)
{
    const attn_tensor all = ATTN_TENSOR(x, F32, BEAMS, heads, TOKENS, D);
    return attn_tensor_slice(attn_tensor_slice(all, 0, 0, beams), 2, from, to);
}

static attn_status prefill(attn_error *error)
{
    return attn_forward(
        NULL, &ATTN_SPEC(.causal = true, .rope = spec.rope),
        &ATTN_ARGS(.q = part(q, H, BEAMS, 0, TOKENS), .k = part(k, G, BEAMS, 0, TOKENS),
                   .v = part(v, G, BEAMS, 0, TOKENS), .out = part(whole, H, BEAMS, 0, TOKENS)),
        error);
}

/* Tokens join the cache, keys turned on the way in, and then see what it holds. */
static attn_status step(attn_cache *cache, int beams, int64_t from, int64_t to,
                        attn_error *error)
{
    const attn_cache_new tokens =
        ATTN_CACHE_NEW(.k = part(k, G, beams, from, to), .v = part(v, G, beams, from, to),
                       .rope = spec.rope);
    const attn_args args = ATTN_ARGS(.q = part(q, H, beams, from, to), .cache = cache,
                                     .out = ATTN_TENSOR(rows, F32, beams, H, to - from, D));
    const attn_status status = attn_cache_append(cache, &tokens, error);
    return status == ATTN_OK ? attn_forward(NULL, &spec, &args, error) : status;
}

/* Rows of the last step that are not those of the prefill. */
static int differing(int beams, int64_t from, int64_t to)
{
    const int64_t n = to - from;
    int count = 0;
    for (int64_t x = 0; x < beams * H; x++)
        for (int64_t i = 0; i < n; i++)
            count += memcmp(rows + (x * n + i) * D, whole + (x * TOKENS + from + i) * D,
                            D * sizeof *rows) != 0;
    return count;
}

/* Steps of n tokens; returns how many rows differ, -1 on failure. */
static int decode(attn_cache *cache, int beams, int64_t from, int64_t to, int64_t n,
                  attn_error *error)
{
    int count = 0;
    for (int64_t t = from; t < to; t += n) {
        if (step(cache, beams, t, t + n, error) != ATTN_OK) return -1;
        count += differing(beams, t, t + n);
    }
    return count;
}

/* Both beams try tokens that will not be theirs, and forget them. */
static int guess(attn_cache *cache, attn_error *error)
{
    if (step(cache, BEAMS, TOKENS - GUESS, TOKENS, error) != ATTN_OK) return -1;
    for (int b = 0; b < BEAMS; b++)
        if (attn_cache_truncate(cache, b, attn_cache_length(cache, b) - GUESS, error) !=
            ATTN_OK)
            return -1;
    return 0;
}

/* The cache as a file and back. */
static int through_file(attn_cache **cache, attn_error *error)
{
    enum { MOST = 32 };
    const char *names[MOST];
    attn_tensor tensors[MOST];
    attn_archive *archive = NULL;
    int64_t n = 0;
    while (n < MOST && (names[n] = attn_cache_entry(*cache, n, &tensors[n]))) n++;
    if (attn_archive_save(NULL, path, n, names, tensors, NULL, error) != ATTN_OK) return -1;
    attn_cache_destroy(*cache);
    *cache = NULL;
    if (attn_archive_load(&archive, NULL, path, ATTN_FORMAT_AUTO, error) != ATTN_OK) return -1;
    for (n = 0; n < MOST && n < attn_archive_count(archive); n++) {
        names[n] = attn_archive_name(archive, n);
        tensors[n] = attn_archive_tensor(archive, n);
    }
    const attn_status status =
        attn_cache_restore(cache, NULL, 1 << 24, n, names, tensors, error);
    attn_archive_destroy(archive);
    return status == ATTN_OK && remove(path) == 0 ? 0 : -1;
}

static int serve(attn_cache **cache, attn_error *error)
{
    attn_cache_info info;
    const int prompt = decode(*cache, 1, 0, PROMPT, PROMPT, error);
    const int answer = prompt < 0 ? -1 : decode(*cache, 1, PROMPT, FORK, 1, error);
    if (answer < 0 || attn_cache_fork(*cache, 0, 1, error) != ATTN_OK) return -1;
    attn_cache_describe(*cache, &info);
    printf("forked: %d tokens in %d pages, %d of them shared\n", 2 * FORK,
           (int)(info.spec.pages - info.pages_free), (int)info.pages_shared);
    if (guess(*cache, error) < 0) return -1;
    const int beams = decode(*cache, BEAMS, FORK, SAVED, 1, error);
    if (beams < 0 || through_file(cache, error) < 0) return -1;
    const int rest = decode(*cache, BEAMS, SAVED, TOKENS, 2, error);
    return rest < 0 ? -1 : prompt + answer + beams + rest;
}

int main(void)
{
    attn_cache *cache = NULL;
    attn_error error = {.status = ATTN_OK};
    char text[160];
    fill(q, H, 1), fill(k, G, 2), fill(v, G, 3);
    const attn_cache_spec pages =
        ATTN_CACHE(.kind = ATTN_CACHE_PAGED, .sequences = BEAMS, .heads = G, .key_width = D,
                   .value_width = D, .page = PAGE, .pages = 64);
    int count = -1;
    if (prefill(&error) == ATTN_OK &&
        attn_cache_create(&cache, NULL, &pages, &error) == ATTN_OK)
        count = serve(&cache, &error);
    attn_cache_destroy(cache);
    attn_error_text(&error, text, sizeof text);
    if (count < 0) fprintf(stderr, "%s\n", text);
    if (count >= 0)
        printf("%d beams, %d tokens: %d rows differ from the prefill\n", BEAMS, TOKENS, count);
    return count != 0;
}
