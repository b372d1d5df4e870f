# SPDX-License-Identifier: MIT
# libattn_compare.so, through which bench/compare.py calls libattn, and the kernels alone; only
# `make bench-compare` and `make bench-kernels` build them.

add_library(attn_compare SHARED EXCLUDE_FROM_ALL ${BENCH_SOURCES})
attn_target(attn_compare)
target_link_libraries(attn_compare PRIVATE attn)

add_executable(attn_kernels EXCLUDE_FROM_ALL ${BENCH_KERNELS_SOURCES})
attn_target(attn_kernels)
target_include_directories(attn_kernels PRIVATE ${PROJECT_SOURCE_DIR}/src)
target_link_libraries(attn_kernels PRIVATE attn_static)
