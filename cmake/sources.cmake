# SPDX-License-Identifier: MIT
# Every C file of the project, by room. A file that is not listed here is not built
# (tools/check_sources.py compares these lists with the tree).

set(BASE_SOURCES
    src/base/copy.c
    src/base/cpu.c
    src/base/ctx.c
    src/base/dtype.c
    src/base/element.c
    src/base/error.c
    src/base/half.c
    src/base/overlap.c
    src/base/pool.c
    src/base/quota.c
    src/base/random.c
    src/base/shape.c
    src/base/size.c
    src/base/tensor.c
    src/base/version.c)

set(KERNEL_SOURCES
    src/kernel/fpenv.c
    src/kernel/math.c
    src/kernel/pick.c)

# The kernel tables this kind of machine can have, weakest first.
set(ATTN_ISAS scalar)
if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64)$" AND CMAKE_SIZEOF_VOID_P EQUAL 8)
    list(APPEND ATTN_ISAS avx2 avx512 avx512vnni)
elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "^(aarch64|arm64)$")
    list(APPEND ATTN_ISAS sve128 neon sve256 sve512)
endif()
set(KERNEL_scalar_SOURCES
    src/kernel/isa/scalar_f32.c
    src/kernel/isa/scalar_f64.c)
set(KERNEL_avx2_SOURCES
    src/kernel/isa/avx2_f32.c
    src/kernel/isa/avx2_f64.c)
set(KERNEL_avx512_SOURCES
    src/kernel/isa/avx512_f32.c
    src/kernel/isa/avx512_f64.c)
set(KERNEL_avx512vnni_SOURCES
    src/kernel/isa/avx512vnni.c)
set(KERNEL_neon_SOURCES
    src/kernel/isa/neon_f32.c
    src/kernel/isa/neon_f64.c)
set(KERNEL_sve128_SOURCES
    src/kernel/isa/sve128_f32.c
    src/kernel/isa/sve128_f64.c)
set(KERNEL_sve256_SOURCES
    src/kernel/isa/sve256_f32.c
    src/kernel/isa/sve256_f64.c)
set(KERNEL_sve512_SOURCES
    src/kernel/isa/sve512_f32.c
    src/kernel/isa/sve512_f64.c)
foreach(isa IN LISTS ATTN_ISAS)
    list(APPEND KERNEL_SOURCES ${KERNEL_${isa}_SOURCES})
endforeach()

set(ENGINE_SOURCES
    src/engine/alias.c
    src/engine/back_keys.c
    src/engine/back_lanes.c
    src/engine/back_look.c
    src/engine/back_norm.c
    src/engine/back_plan.c
    src/engine/back_run.c
    src/engine/back_score.c
    src/engine/back_step.c
    src/engine/back_sums.c
    src/engine/back_tile.c
    src/engine/cache_append.c
    src/engine/cache_check.c
    src/engine/cache_code.c
    src/engine/cache_create.c
    src/engine/cache_entry.c
    src/engine/cache_forget.c
    src/engine/cache_look.c
    src/engine/cache_page.c
    src/engine/cache_read.c
    src/engine/cache_restore.c
    src/engine/cache_rows.c
    src/engine/cache_turn.c
    src/engine/cascade.c
    src/engine/check.c
    src/engine/check_data.c
    src/engine/check_norm.c
    src/engine/check_shape.c
    src/engine/check_source.c
    src/engine/check_tensor.c
    src/engine/describe.c
    src/engine/few.c
    src/engine/half_mode.c
    src/engine/half_rows.c
    src/engine/jvp.c
    src/engine/late.c
    src/engine/masks.c
    src/engine/merge.c
    src/engine/norm.c
    src/engine/norm_entmax.c
    src/engine/norm_jvp.c
    src/engine/norm_top.c
    src/engine/output.c
    src/engine/panel.c
    src/engine/panel_close.c
    src/engine/plan.c
    src/engine/rel.c
    src/engine/rope.c
    src/engine/rotate.c
    src/engine/run.c
    src/engine/scan_back.c
    src/engine/scan_check.c
    src/engine/scan_plan.c
    src/engine/scan_rows.c
    src/engine/scan_run.c
    src/engine/scan_shape.c
    src/engine/scan_walk.c
    src/engine/score.c
    src/engine/seq.c
    src/engine/some.c
    src/engine/source.c
    src/engine/stage.c
    src/engine/terms.c
    src/engine/terms_grad.c
    src/engine/tile.c
    src/engine/tile_scores.c
    src/engine/warm.c)

set(TAPE_SOURCES
    src/tape/apply.c
    src/tape/backward.c
    src/tape/call.c
    src/tape/call_data.c
    src/tape/checkpoint.c
    src/tape/each.c
    src/tape/fields.c
    src/tape/fold.c
    src/tape/matmul.c
    src/tape/matmul_blas.c
    src/tape/matmul_run.c
    src/tape/memory.c
    src/tape/node.c
    src/tape/op_additive.c
    src/tape/op_attention.c
    src/tape/op_binary.c
    src/tape/op_chance.c
    src/tape/op_conv.c
    src/tape/op_core.c
    src/tape/op_ctc.c
    src/tape/op_entropy.c
    src/tape/op_index.c
    src/tape/op_linear.c
    src/tape/op_loss.c
    src/tape/op_monotonic.c
    src/tape/op_move.c
    src/tape/op_norm.c
    src/tape/op_order.c
    src/tape/op_pool.c
    src/tape/op_recurrence.c
    src/tape/op_recurrent.c
    src/tape/op_reduce.c
    src/tape/op_resize.c
    src/tape/op_scan.c
    src/tape/op_unary.c
    src/tape/op_view.c
    src/tape/ops.c
    src/tape/ops_f32.c
    src/tape/ops_f64.c
    src/tape/picture.c
    src/tape/rows.c
    src/tape/tape.c
    src/tape/taps.c
    src/tape/var.c
    src/tape/view.c
    src/tape/walk.c)

set(MECH_SOURCES
    src/mech/alignment/align.c
    src/mech/build.c
    src/mech/contents.c
    src/mech/lift.c
    src/mech/param.c
    src/mech/piece_additive.c
    src/mech/piece_blocks.c
    src/mech/piece_classes.c
    src/mech/piece_coattend.c
    src/mech/piece_copy.c
    src/mech/piece_coverage.c
    src/mech/piece_flags.c
    src/mech/piece_gate.c
    src/mech/piece_graph.c
    src/mech/piece_groups.c
    src/mech/piece_heads.c
    src/mech/piece_memory.c
    src/mech/piece_merge.c
    src/mech/piece_monotonic.c
    src/mech/piece_neighbours.c
    src/mech/piece_pattern.c
    src/mech/piece_picture.c
    src/mech/piece_pool.c
    src/mech/piece_sample.c
    src/mech/piece_scan.c
    src/mech/piece_scores.c
    src/mech/piece_series.c
    src/mech/piece_table.c
    src/mech/piece_tri.c
    src/mech/piece_unit.c
    src/mech/piece_wave.c
    src/mech/piece_window.c
    src/mech/registry.c)
# A mechanism is a line of mechs.def: its file and its oracle follow from it.
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS src/mech/mechs.def)
file(STRINGS src/mech/mechs.def ATTN_MECHS REGEX "^MECH\\(")
set(MECH_ORACLE_SOURCES "")
foreach(line IN LISTS ATTN_MECHS)
    string(REGEX REPLACE "^MECH\\(([a-z0-9_]+), *([a-z0-9_]+)\\).*" "\\1/\\2" mech "${line}")
    cmake_path(GET mech FILENAME name)
    list(APPEND MECH_SOURCES src/mech/${mech}.c)
    list(APPEND MECH_ORACLE_SOURCES tests/oracle/mech/${name}.c)
endforeach()

set(EXPLAIN_SOURCES
    src/explain/links.c
    src/explain/measure.c)

set(IO_SOURCES
    src/io/archive.c
    src/io/arena.c
    src/io/bytes.c
    src/io/crc.c
    src/io/file_read.c
    src/io/file_write.c
    src/io/format.c
    src/io/inflate.c
    src/io/json.c
    src/io/npy.c
    src/io/npy_write.c
    src/io/npz.c
    src/io/npz_write.c
    src/io/onnx.c
    src/io/pb.c
    src/io/protobuf.c
    src/io/safetensors.c
    src/io/safetensors_write.c
    src/io/save.c
    src/io/sink.c
    src/io/zip.c)

set(CLI_SOURCES
    cli/array.c
    cli/bench_attention.c
    cli/bench_cache.c
    cli/bench_gallery.c
    cli/bench_job.c
    cli/bench_product.c
    cli/bench_report.c
    cli/bench_rows.c
    cli/bench_scan.c
    cli/bench_words.c
    cli/cmd_bench.c
    cli/cmd_completion.c
    cli/cmd_compute.c
    cli/cmd_conformance.c
    cli/cmd_demo.c
    cli/cmd_describe.c
    cli/cmd_help.c
    cli/cmd_info.c
    cli/cmd_list.c
    cli/cmd_measure.c
    cli/cmd_verify.c
    cli/cmd_version.c
    cli/context.c
    cli/deflate.c
    cli/entry.c
    cli/heatmap.c
    cli/help.c
    cli/input.c
    cli/json.c
    cli/main.c
    cli/man.c
    cli/measure.c
    cli/measure_read.c
    cli/nearest.c
    cli/onnx_attention.c
    cli/onnx_case.c
    cli/onnx_rotary.c
    cli/onnx_scan.c
    cli/option.c
    cli/output.c
    cli/reference.c
    cli/report.c
    cli/shape.c
    cli/verify_cache.c
    cli/verify_gold.c
    cli/verify_grad.c
    cli/verify_promise.c
    cli/verify_recorded.c)

# What bench/compare.py calls libattn through.
set(BENCH_SOURCES
    bench/compare_attn.c)

# The kernels alone.
set(BENCH_KERNELS_SOURCES
    tests/time_kernels.c)

set(ORACLE_SOURCES
    tests/oracle/oracle_call.c
    tests/oracle/oracle_head.c
    tests/oracle/oracle_line.c
    tests/oracle/oracle_mask.c
    tests/oracle/oracle_naive.c
    tests/oracle/oracle_naive_grad.c
    tests/oracle/oracle_norm.c
    tests/oracle/oracle_number.c
    tests/oracle/oracle_philox.c
    tests/oracle/oracle_position.c
    tests/oracle/oracle_scan.c
    tests/oracle/oracle_score.c
    tests/oracle/softmax.c
    tests/oracle/softmax_grad.c
    tests/oracle/softmax_jvp.c)

# The operations of the tape by plain loops, a file a family: parts of
# test_tape_bits and test_tape_ops.
set(TAPE_ORACLE_SOURCES
    tests/oracle/tape_additive.c
    tests/oracle/tape_attention.c
    tests/oracle/tape_binary.c
    tests/oracle/tape_chance.c
    tests/oracle/tape_conv.c
    tests/oracle/tape_core.c
    tests/oracle/tape_ctc.c
    tests/oracle/tape_entropy.c
    tests/oracle/tape_index.c
    tests/oracle/tape_linear.c
    tests/oracle/tape_loss.c
    tests/oracle/tape_monotonic.c
    tests/oracle/tape_move.c
    tests/oracle/tape_norm.c
    tests/oracle/tape_order.c
    tests/oracle/tape_pool.c
    tests/oracle/tape_recurrence.c
    tests/oracle/tape_recurrent.c
    tests/oracle/tape_reduce.c
    tests/oracle/tape_resize.c
    tests/oracle/tape_scan.c
    tests/oracle/tape_unary.c
    tests/oracle/tape_view.c)

# What several test programs share.
set(TEST_SUPPORT_SOURCES
    tests/support/bits.c
    tests/support/callback.c
    tests/support/case.c
    tests/support/compare.c
    tests/support/compare_grad.c
    tests/support/contexts.c
    tests/support/draw_operand.c
    tests/support/draw_position.c
    tests/support/draw_score.c
    tests/support/draw_shape.c
    tests/support/env.c
    tests/support/grad_case.c
    tests/support/memory.c
    tests/support/norm_case.c
    tests/support/outputs.c
    tests/support/random.c
    tests/support/tensor.c
    tests/support/views.c)

# What the programs that walk the gallery share.
set(GALLERY_SUPPORT_SOURCES
    tests/support/gallery.c)

# tests/<name>.c, a program each.
set(TEST_PROGRAMS
    test_alignment
    test_alloc
    test_bad_input
    test_base
    test_base_copy
    test_base_ctx
    test_base_element
    test_base_half
    test_base_shape
    test_base_tensor
    test_big
    test_bits
    test_bits_parts
    test_cache
    test_cache_attention
    test_cache_bad
    test_cache_decode
    test_cache_model
    test_cache_promise
    test_cache_recipes
    test_cache_refused
    test_cache_restore
    test_cache_spec
    test_cache_steps
    test_cascade
    test_concurrent
    test_edges
    test_fenv
    test_gallery
    test_gallery_bad
    test_gallery_channel
    test_gallery_chaos
    test_gallery_context
    test_gallery_feature
    test_gallery_hidden
    test_gallery_lowrank
    test_gallery_memory
    test_gallery_monotonic
    test_gallery_padding
    test_gallery_parts
    test_gallery_pattern
    test_gallery_position
    test_gallery_promise
    test_gallery_query
    test_gallery_sampling
    test_gallery_sparse
    test_gallery_spatial
    test_gallery_task
    test_gallery_values
    test_gold
    test_gold_score
    test_grad_bad
    test_grad_bits
    test_grad_edges
    test_grad_grid
    test_grid
    test_guard
    test_guard_grad
    test_guard_norm
    test_guard_operands
    test_guard_pages
    test_half
    test_half_bits
    test_half_calls
    test_half_hostile
    test_io_damage
    test_io_format
    test_io_hostile
    test_io_memory
    test_io_npz
    test_io_onnx
    test_io_roundtrip
    test_io_save
    test_jvp
    test_kernel_backward
    test_kernel_few
    test_kernel_gemm
    test_kernel_half
    test_kernel_half_exp
    test_kernel_map
    test_kernel_norm
    test_kernel_product
    test_kernel_rows
    test_kernel_scan
    test_kernel_score
    test_kernel_softmax
    test_kernel_state
    test_kernel_table
    test_kernel_turn
    test_manifest
    test_math
    test_matmul
    test_matmul_safety
    test_measure
    test_mech
    test_mech_grad
    test_mech_linear
    test_mech_run
    test_merge_rope
    test_norm
    test_norm_bits
    test_norm_edges
    test_norm_grad_bits
    test_norm_grid
    test_oracle_grad
    test_pages
    test_plan
    test_pool
    test_pool_fork
    test_regression_cache
    test_regression_grad
    test_regression_grad_layout
    test_regression_layout
    test_regression_mask
    test_regression_number
    test_regression_pages
    test_regression_position
    test_rope_bits
    test_scan
    test_scan_bad
    test_scan_bits
    test_score_identity
    test_special
    test_special_hide
    test_special_score
    test_tape
    test_tape_bits
    test_tape_checkpoint
    test_tape_elem
    test_tape_error
    test_tape_long
    test_tape_loss
    test_tape_move
    test_tape_norm
    test_tape_ops
    test_tape_picture
    test_tape_product
    test_vec)

# The vocabulary of each instruction set as a table: parts of test_vec, no programs.
set(VEC_scalar_SOURCES tests/vec_scalar.c)
set(VEC_avx2_SOURCES tests/vec_avx2.c)
set(VEC_avx512_SOURCES tests/vec_avx512.c)
set(VEC_neon_SOURCES tests/vec_neon.c)
set(VEC_sve128_SOURCES tests/vec_sve128.c)
set(VEC_sve256_SOURCES tests/vec_sve256.c)
set(VEC_sve512_SOURCES tests/vec_sve512.c)

# Programs that a script among the tests runs.
set(TEST_HELPERS
    count_calls
    io_copy
    oracle_dump)

# Python 3 without packages; a missing one that is needed makes a test skip itself.
set(TEST_SCRIPTS
    tests/bench_compare_test.py
    tests/bench_page_test.py
    tests/cli_gallery_test.py
    tests/cli_grad_test.py
    tests/cli_machine_test.py
    tests/cli_onnx_test.py
    tests/cli_test.py
    tests/docs_test.py
    tests/io_roundtrip.py
    tests/measure_test.py
    tests/test_instructions.py
    tests/test_oracle.py)

# fuzz/<name>.c
set(FUZZ_TARGETS
    fuzz_cache
    fuzz_npy
    fuzz_npz
    fuzz_onnx
    fuzz_safetensors)

# examples/<name>.c, a program each.
set(EXAMPLES
    backward
    callback
    decode_cache
    decode_step
    forward
    jvp
    linear_decode
    packed
    plan
    train_copy)
