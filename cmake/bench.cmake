# SPDX-License-Identifier: MIT
# libattn_compare.so, through which bench/compare.py calls libattn; only `make bench-compare`
# builds it.

add_library(attn_compare SHARED EXCLUDE_FROM_ALL ${BENCH_SOURCES})
attn_target(attn_compare)
target_link_libraries(attn_compare PRIVATE attn)
