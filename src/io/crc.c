/* SPDX-License-Identifier: MIT
 * CRC-32 as zip has it (reflected polynomial 0xEDB88320), eight bytes a step. The tables are
 * made where they are used, 8 KiB a file: no global state, nothing to generate. */
#include "io/io.h"

void attn__crc_init(attn__crc *crc)
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t c = i;
        for (int bit = 0; bit < 8; bit++) c = c >> 1 ^ (c & 1 ? 0xEDB88320u : 0);
        crc->table[0][i] = c;
    }
    /* Table k moves a byte past k more bytes of zeros. */
    for (int k = 1; k < 8; k++)
        for (uint32_t i = 0; i < 256; i++) {
            uint32_t c = crc->table[k - 1][i];
            crc->table[k][i] = c >> 8 ^ crc->table[0][c & 255];
        }
}

uint32_t attn__crc_run(const attn__crc *crc, uint32_t value, const uint8_t *p, size_t n)
{
    uint32_t c = ~value;
    for (; n >= 8; n -= 8, p += 8) {
        uint32_t a = c ^ attn__load32(p), b = attn__load32(p + 4);
        c = crc->table[7][a & 255] ^ crc->table[6][a >> 8 & 255] ^
            crc->table[5][a >> 16 & 255] ^ crc->table[4][a >> 24] ^ crc->table[3][b & 255] ^
            crc->table[2][b >> 8 & 255] ^ crc->table[1][b >> 16 & 255] ^ crc->table[0][b >> 24];
    }
    for (; n; n--, p++) c = c >> 8 ^ crc->table[0][(c ^ *p) & 255];
    return ~c;
}
